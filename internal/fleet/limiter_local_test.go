package fleet

// Rate limits that one replica counts in memory.

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestBurstAndRefillOfOneReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLocalLimiter("member", Limit{3, 6 * time.Second})
		checkRate(t, l.Take, time.Sleep)
	})
}

// Refused requests don't delay later ones, even if many come at the same moment.
func TestRefusedCrowdCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLocalLimiter("member", Limit{10, 10 * time.Second})
		crowd := func() int64 {
			var admitted atomic.Int64
			var wg sync.WaitGroup
			for range 1000 {
				wg.Go(func() {
					err := l.Take("a")
					if over, ok := errors.AsType[*LimitError](err); ok && over.RetryAfter > time.Second {
						t.Errorf("wait %v", over.RetryAfter)
					} else if err == nil {
						admitted.Add(1)
					}
				})
			}
			wg.Wait()
			return admitted.Load()
		}
		if got := crowd(); got != 10 {
			t.Errorf("%d of a crowd were admitted, want the burst of 10", got)
		}
		for range 5 {
			time.Sleep(time.Second)
			if got := crowd(); got != 1 {
				t.Errorf("%d were admitted a second later, want 1", got)
			}
		}
	})
}

func TestMillionKeysAreBounded(t *testing.T) {
	t.Parallel()
	l := NewLocalLimiter("account", Limit{1, time.Hour})
	for i := range 1_000_000 {
		if err := l.Take(strconv.Itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	if kept := l.keys.Len(); kept != maxLimited {
		t.Errorf("%d keys are kept, want %d", kept, maxLimited)
	}
	if err := l.Take("999999"); err == nil {
		t.Error("a fresh key was evicted")
	}
}

// A member who has logged in twice has two tokens, and one limit.
func TestAllSharesOfAKeyHaveOneCount(t *testing.T) {
	l := NewLocalLimiter("member", Limit{2, time.Hour})
	var first, second Share
	for i, take := range []func() error{
		func() error { return l.TakeShare("a", &first) },
		func() error { return l.TakeShare("a", &second) },
		func() error { return l.TakeShare("a", &first) },
		func() error { return l.TakeShare("a", &second) },
		func() error { return l.Take("a") },
	} {
		if err := take(); (err == nil) != (i < 2) {
			t.Errorf("request %d: %v", i, err)
		}
	}
}

// A share whose key was evicted must use the key's new count, not go on with the old one.
func TestShareOfAnEvictedKeyTakesUpItsNewCount(t *testing.T) {
	l := NewLocalLimiter("member", Limit{2, time.Hour})
	var first Share
	if err := l.TakeShare("a", &first); err != nil {
		t.Fatal(err)
	}
	evictedBucket := first.bucket.Load()
	l.keys.Remove("a")
	for i := range 3 {
		if err := l.Take("a"); (err == nil) != (i < 2) {
			t.Errorf("request %d: %v", i, err)
		}
	}
	if err := l.TakeShare("a", &first); err == nil || first.bucket.Load() == evictedBucket {
		t.Errorf("by its share it has another count: %v", err)
	}
}
