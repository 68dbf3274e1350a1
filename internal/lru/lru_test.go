package lru

// This file holds the bound, who leaves first, and that many may use a cache at once.

import (
	"sync"
	"sync/atomic"
	"testing"
)

func TestLeastRecentlyUsedLeavesFirst(t *testing.T) {
	var left atomic.Int64
	c := New(1600, func(key, value int) {
		if key != value {
			t.Errorf("%d left as %d", key, value)
		}
		left.Add(1)
	})
	c.Add(0, 0)
	for i := 1; i < 100_000; i++ {
		c.Add(i, i)
		if v, ok := c.Get(0); !ok || v != 0 {
			t.Fatalf("what is in use was gone after %d", i)
		}
	}
	if n := c.Len(); n != 1600 || left.Load() != 100_000-1600 {
		t.Errorf("%d are kept, %d have left", n, left.Load())
	}
	if _, ok := c.Get(99_999); !ok {
		t.Error("the last one is gone")
	}
	c.Remove(99_999)
	if _, ok := c.Get(99_999); ok || c.Len() != 1599 {
		t.Error("it wasn't removed")
	}
}

func TestNewValueTakesThePlaceOfTheOldOne(t *testing.T) {
	var left []int
	c := New(16, func(_ string, value int) { left = append(left, value) })
	c.Add("a", 1)
	c.Add("a", 2)
	if v, ok := c.Get("a"); !ok || v != 2 || c.Len() != 1 || len(left) != 1 || left[0] != 1 {
		t.Errorf("%d, %t; %d are kept, %v have left", v, ok, c.Len(), left)
	}
	if v := c.GetOrAdd("a", 3); v != 2 {
		t.Errorf("%d", v)
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
			t.Fatal("two values of one key")
		}
	}
}
