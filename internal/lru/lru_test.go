package lru

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestLeastRecentlyUsedLeavesFirst(t *testing.T) {
	var left atomic.Int64
	c := New(1600, func(key, value int) {
		if key != value {
			t.Errorf("key %d was evicted with value %d", key, value)
		}
		left.Add(1)
	})
	c.Add(0, 0)
	for i := 1; i < 100_000; i++ {
		c.Add(i, i)
		if v, ok := c.Get(0); !ok || v != 0 {
			t.Fatalf("the entry in use was evicted after adding %d", i)
		}
	}
	if n := c.Len(); n != 1600 || left.Load() != 100_000-1600 {
		t.Errorf("%d entries are kept, %d were evicted", n, left.Load())
	}
	if _, ok := c.Get(99_999); !ok {
		t.Error("the newest entry is gone")
	}
	c.Remove(99_999)
	if _, ok := c.Get(99_999); ok || c.Len() != 1599 {
		t.Error("the entry wasn't removed")
	}
}

func TestNewValueTakesThePlaceOfTheOldOne(t *testing.T) {
	var left []int
	c := New(16, func(_ string, value int) { left = append(left, value) })
	c.Add("a", 1)
	c.Add("a", 2)
	if v, ok := c.Get("a"); !ok || v != 2 || c.Len() != 1 || len(left) != 1 || left[0] != 1 {
		t.Errorf("Get: %d, %t; %d entries are kept, %v were replaced", v, ok, c.Len(), left)
	}
	if v := c.GetOrAdd("a", 3); v != 2 {
		t.Errorf("GetOrAdd: %d", v)
	}
}

func TestAllWhoComeAtOnceGetOneValue(t *testing.T) {
	c := New[string, *int](10, nil)
	var got [100]*int
	var all sync.WaitGroup
	for i := range got {
		all.Go(func() { got[i] = c.GetOrAdd("a", new(int)) })
	}
	all.Wait()
	for i := range got {
		if got[i] != got[0] {
			t.Fatal("two values for one key")
		}
	}
}
