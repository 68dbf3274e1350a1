package tokencache

// Flights on one replica: all callers share one, it goes on without them, and it always ends.

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestThousandCallersAreOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options{}), newKey(t, "s")
		iss := &issuer{life: time.Hour, gate: make(chan struct{})}
		var callers sync.WaitGroup
		tokens := make(chan *Token, 1000)
		for range 1000 {
			callers.Go(func() {
				token, layer, err := c.Token(t.Context(), k, iss.fetch)
				if err != nil || layer != Fetched {
					t.Errorf("%q, %v", layer, err)
				}
				tokens <- token
			})
		}
		synctest.Wait()
		if len(tokens) > 0 {
			t.Error("somebody was answered before the fetch was")
		}
		close(iss.gate)
		callers.Wait()
		close(tokens)
		first := <-tokens
		for token := range tokens {
			if token != first {
				t.Fatal("not all got the same token")
			}
		}
		calledTimes(t, iss, 1)
	})
}

func TestKeysDoNotWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options{})
		slow, quick := &issuer{life: time.Hour, takes: 4 * time.Second}, &issuer{life: time.Hour}
		var callers sync.WaitGroup
		callers.Go(func() { takeFrom(t, Fetched, c, newKey(t, "s", "slow"), slow.fetch) })
		synctest.Wait()
		before := time.Now()
		takeFrom(t, Fetched, c, newKey(t, "s", "quick"), quick.fetch)
		if waited := time.Since(before); waited > 0 {
			t.Errorf("waited %v for another key's fetch", waited)
		}
		callers.Wait()
	})
}

func TestCallerThatLeavesFailsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options{}), newKey(t, "s")
		iss := &issuer{life: time.Hour, takes: 3 * time.Second}
		leaving, leave := context.WithCancel(t.Context())
		var callers sync.WaitGroup
		callers.Go(func() { // this caller starts the flight
			if _, _, err := c.Token(leaving, k, iss.fetch); !errors.Is(err, context.Canceled) {
				t.Errorf("who left got %v", err)
			}
		})
		synctest.Wait()
		callers.Go(func() {
			if _, layer, err := c.Token(t.Context(), k, iss.fetch); err != nil || layer != Fetched {
				t.Errorf("who stayed got %q, %v", layer, err)
			}
		})
		synctest.Wait()
		leave()
		callers.Wait()
		calledTimes(t, iss, 1)
	})
}

func TestResultLandsAlsoWhenAllCallersHaveLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options{}), newKey(t, "s")
		iss := &issuer{life: time.Hour, takes: 4 * time.Second}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		before := time.Now()
		if _, _, err := c.Token(ctx, k, iss.fetch); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want the context's", err)
		}
		if waited := time.Since(before); waited != time.Second {
			t.Errorf("waited %v, want the second that its context allows", waited)
		}
		time.Sleep(4 * time.Second)
		takeFrom(t, Memory, c, k, iss.fetch)
		calledTimes(t, iss, 1)
	})
}

func TestFetchIsBoundedByFetchTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options{FetchTimeout: 2 * time.Second}), newKey(t, "s")
		iss := &issuer{life: time.Hour, gate: make(chan struct{})}
		before := time.Now()
		u := denied(t, Transient, c, k, iss.fetch)
		if waited := time.Since(before); waited != 2*time.Second || !errors.Is(u, context.DeadlineExceeded) {
			t.Errorf("waited %v for %v", waited, u)
		}
	})
}

func TestFetchThatHearsNoContextHoldsCallersNoLongerThanTheirPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options{FetchTimeout: 2 * time.Second}), newKey(t, "s")
		stuck := make(chan struct{})
		before := time.Now()
		denied(t, Transient, c, k, func(context.Context) (Issued, error) {
			<-stuck
			return Issued{}, errors.New("at last")
		})
		if waited := time.Since(before); waited > 5*time.Second {
			t.Errorf("waited %v", waited)
		}
		close(stuck) // Close waits for the fetch
	})
}

func TestPanicInFetchIsAnErrorLikeAnyOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options{}), newKey(t, "s")
		u := denied(t, Transient, c, k, func(context.Context) (Issued, error) { panic("nobody expects this") })
		if !errors.Is(u, errPanic) {
			t.Errorf("error %v, want errPanic within", u)
		}
		denied(t, Transient, c, newKey(t, "s", "nil fetch"), nil)
		time.Sleep(time.Minute) // silence: the next caller starts anew
		takeFrom(t, Fetched, c, k, (&issuer{life: time.Hour}).fetch)
	})
}

func TestCloseEndsWaitingAndBackgroundWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCache(t, Options{})
		held, waiting, failing := newKey(t, "s", "held"), newKey(t, "s", "waiting"), newKey(t, "s", "failing")
		good, slow, bad := &issuer{life: time.Hour}, &issuer{life: time.Hour, gate: make(chan struct{})}, &issuer{err: failure(Transient)}
		token := takeFrom(t, Fetched, c, held, good.fetch)
		denied(t, Transient, c, failing, bad.fetch)
		var callers sync.WaitGroup
		for range 10 {
			callers.Go(func() {
				if _, _, err := c.Token(t.Context(), waiting, slow.fetch); !errors.Is(err, ErrClosed) {
					t.Errorf("who waited got %v, want ErrClosed", err)
				}
			})
		}
		synctest.Wait()
		c.Close()
		callers.Wait()
		if again := takeFrom(t, Memory, c, held, good.fetch); again != token {
			t.Error("another token came from memory")
		}
		if _, _, err := c.Token(t.Context(), newKey(t, "s", "new"), good.fetch); !errors.Is(err, ErrClosed) {
			t.Errorf("a lookup after Close got %v, want ErrClosed", err)
		}
		time.Sleep(24 * time.Hour)
		calledTimes(t, good, 1)
		calledTimes(t, slow, 1)
		calledTimes(t, bad, 1)
		c.Close() // once more does no harm
	})
}

func TestCloseWaitsForAFetchThatHearsNoContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options{}), newKey(t, "s")
		stuck, ended := make(chan struct{}), false
		var callers sync.WaitGroup
		callers.Go(func() {
			_, _, _ = c.Token(t.Context(), k, func(context.Context) (Issued, error) {
				<-stuck
				ended = true
				return Issued{}, errors.New("at last")
			})
		})
		synctest.Wait()
		time.AfterFunc(time.Minute, func() { close(stuck) })
		c.Close()
		if !ended {
			t.Error("Close returned while a fetch was running")
		}
		callers.Wait()
	})
}

func TestWithoutRedisARejectedTokenIsReplacedByANewerGeneration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: time.Hour}
		last := uint64(0)
		for range 5 { // all in the same millisecond
			token := takeFrom(t, Fetched, c, k, iss.fetch)
			if token.Generation() <= last {
				t.Fatalf("generation %d after %d", token.Generation(), last)
			}
			last = token.Generation()
			if err := c.Reject(t.Context(), k, token, nil); err != nil {
				t.Fatal(err)
			}
		}
	})
}
