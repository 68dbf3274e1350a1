package tokencache

// Refresh before expiry: when it begins, that nobody waits for it, what it does while the issuer fails, and when it stops.

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// askUntil looks k up every step until end. Memory must answer each lookup, without waiting.
func askUntil(t *testing.T, c *Cache, k Key, iss *issuer, step time.Duration, end time.Time) {
	t.Helper()
	for now := time.Now(); now.Before(end); now = time.Now() {
		takeFrom(t, Memory, c, k, iss.fetch)
		if waited := time.Since(now); waited > 0 {
			t.Fatalf("a lookup waited %v", waited)
		}
		time.Sleep(step)
	}
}

// gaps returns the time from each fetch that began within [from, to) to the one before it.
func gaps(iss *issuer, from, to time.Time) []time.Duration {
	var all []time.Duration
	times := iss.fetches()
	for i := 1; i < len(times); i++ {
		if !times[i].Before(from) && times[i].Before(to) {
			all = append(all, times[i].Sub(times[i-1]))
		}
	}
	return all
}

func TestRefreshBeginsAtTheAdvisoryMomentWithJitter(t *testing.T) {
	for _, tt := range []struct{ life, earliest, latest time.Duration }{ // before expiry
		// A seventh of the life ± 20 %, less the margin: expiry is early by a second, or a tenth of the life.
		{1000 * time.Second, 172*time.Second - time.Second, 114*time.Second - time.Second},
		{10 * time.Hour, 6*time.Minute - time.Second, 4*time.Minute - time.Second}, // at most 5 min
		{time.Second, 72 * time.Millisecond, 14 * time.Millisecond},
	} {
		t.Run(tt.life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				moments := make(map[time.Duration]bool)
				for range 50 {
					c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: tt.life}
					first := takeFrom(t, Fetched, c, k, iss.fetch)
					askUntil(t, c, k, iss, tt.life/100, first.Expiry())
					c.Close()
					left := first.Expiry().Sub(iss.fetches()[1])
					if left > tt.earliest || left < tt.latest {
						t.Errorf("refresh began %v before expiry, want %v to %v", left, tt.earliest, tt.latest)
					}
					moments[left] = true
				}
				if len(moments) < 25 {
					t.Errorf("50 replicas woke at only %d different moments", len(moments))
				}
			})
		})
	}
}

func TestNoLookupWaitsForARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options{}), newKey(t, "s")
		iss := &issuer{life: time.Minute, takes: 4 * time.Second}
		last, start := takeFrom(t, Fetched, c, k, iss.fetch), time.Now()
		seen := 1
		for time.Since(start) < 10*time.Minute {
			now := time.Now()
			token := takeFrom(t, Memory, c, k, iss.fetch)
			if waited := time.Since(now); waited > 0 {
				t.Fatalf("a lookup waited %v", waited)
			}
			if token != last {
				if token.Generation() <= last.Generation() || !token.Expiry().After(last.Expiry()) {
					t.Fatalf("generation %d, expiry %v after generation %d, expiry %v",
						token.Generation(), token.Expiry(), last.Generation(), last.Expiry())
				}
				last, seen = token, seen+1
			}
			time.Sleep(10 * time.Millisecond)
		}
		// Each is replaced 6.8 to 10.3 s before the end of its minute.
		if n := iss.calls(); n < 11 || n > 13 || seen < n-1 {
			t.Errorf("%d fetches and %d tokens in 10 min of lives of 1 min, want 11 to 13 of each", n, seen)
		}
	})
}

func TestFailingRefreshIsTriedHarderInTheMandatoryWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const mandatoryWindow = 30 * time.Second
		for range 20 {
			c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: 1000 * time.Second}
			expiry := takeFrom(t, Fetched, c, k, iss.fetch).Expiry()
			iss.fail(failure(Transient))
			askUntil(t, c, k, iss, time.Second, expiry)
			c.Close()
			window := expiry.Add(-mandatoryWindow)
			early, late := gaps(iss, expiry.Add(-110*time.Second), window), gaps(iss, window.Add(time.Second), expiry)
			for _, gap := range early {
				if gap < 250*time.Millisecond || gap > 10*time.Second {
					t.Errorf("backoff of %v before the mandatory window", gap)
				}
			}
			for _, gap := range late {
				if gap < 250*time.Millisecond || gap > time.Second {
					t.Errorf("backoff of %v within the mandatory window", gap)
				}
			}
			if len(late) < 29 {
				t.Errorf("%d attempts in the last 29 s", len(late))
			}
			if len(early) > 60 {
				t.Errorf("%d attempts in the 2 min before", len(early))
			}
		}
	})
}

func TestBackoffBetweenRefreshesGrowsAndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rounds = 100
		var sum [8]time.Duration
		for range rounds {
			c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: 10 * time.Hour}
			expiry := takeFrom(t, Fetched, c, k, iss.fetch).Expiry()
			iss.fail(failure(Transient))
			time.Sleep(time.Until(expiry) - 8*time.Minute)
			askUntil(t, c, k, iss, time.Second, expiry.Add(-2*time.Minute))
			c.Close()
			times := iss.fetches()[1:]
			for i := range sum {
				gap := times[i+1].Sub(times[i])
				if most := min(10*time.Second, 500*time.Millisecond<<i); gap < 250*time.Millisecond || gap > most {
					t.Errorf("backoff %d is %v, want 250ms to %v", i+1, gap, most)
				}
				sum[i] += gap
			}
		}
		for i := 1; i < 5; i++ {
			if sum[i] <= sum[i-1] {
				t.Errorf("backoff %d is %v in the mean, the one before it %v", i+1, sum[i]/rounds, sum[i-1]/rounds)
			}
		}
	})
}

func TestBackoffNeverSleepsThroughTheMandatoryWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 300 {
			c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: time.Minute}
			expiry := takeFrom(t, Fetched, c, k, iss.fetch).Expiry()
			iss.fail(failure(Transient))
			askUntil(t, c, k, iss, time.Second, expiry)
			iss.fail(nil)
			c.Close()
			if n := len(gaps(iss, expiry.Add(-6*time.Second), expiry)); n < 4 {
				t.Fatalf("%d attempts in the last 6 of 60 s", n)
			}
		}
	})
}

func TestKeyThatNobodyUsesLapses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: 100 * time.Second}
		takeFrom(t, Fetched, c, k, iss.fetch)
		time.Sleep(24 * time.Hour)
		calledTimes(t, iss, 2) // asked for within the first life, not within the second
		if s := c.Status(); s[0].State != StateEmpty {
			t.Errorf("state %s, want %s", s[0].State, StateEmpty)
		}
		takeFrom(t, Fetched, c, k, iss.fetch)
		calledTimes(t, iss, 3)
	})
}

func TestKeyThatIsUsedAgainBeforeItLapsesIsRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: 100 * time.Second}
		takeFrom(t, Fetched, c, k, iss.fetch)
		time.Sleep(90 * time.Second) // refreshed
		c.mu.RLock()
		expiry := c.entries[k.id].token.Load().expiry
		c.mu.RUnlock()
		time.Sleep(time.Until(expiry) - 5*time.Second) // not refreshed: the last lookup is a life ago
		calledTimes(t, iss, 2)
		askUntil(t, c, k, iss, 100*time.Millisecond, expiry.Add(10*time.Second))
		calledTimes(t, iss, 3)
	})
}

func TestTokenThatIsNoNewerIsNoRefreshAndDoesNotLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options{}), newKey(t, "s")
		iss := &issuer{life: 1000 * time.Second, same: true}
		first := takeFrom(t, Fetched, c, k, iss.fetch)
		for time.Until(first.Expiry()) > time.Second { // after that, repetitions extend it
			if token := takeFrom(t, Memory, c, k, iss.fetch); token != first {
				t.Fatal("the same token was taken for a new one")
			}
			time.Sleep(100 * time.Millisecond)
		}
		all := gaps(iss, first.Expiry().Add(-230*time.Second), first.Expiry())
		for _, gap := range all {
			if gap < 250*time.Millisecond {
				t.Errorf("asked again after %v", gap)
			}
		}
		if len(all) > 200 {
			t.Errorf("%d fetches in one window", len(all))
		}
	})
}

func TestTokenThatEndsEarlierThanTheOneInUseIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options{}), newKey(t, "s")
		long, short := &issuer{life: time.Hour}, &issuer{life: time.Second}
		first := takeFrom(t, Fetched, c, k, long.fetch)
		c.mu.RLock()
		e := c.entries[k.id]
		c.mu.RUnlock()
		e.remember(short.fetch)
		askUntil(t, c, k, short, time.Second, first.Expiry().Add(-3*time.Minute))
		if token := takeFrom(t, Memory, c, k, nil); token != first {
			t.Error("a token was replaced by one that ends earlier")
		}
		if short.calls() == 0 {
			t.Error("no refresh was tried")
		}
	})
}

func TestRefreshThatFailsLeavesTheTokenInUse(t *testing.T) {
	for _, class := range []Class{Transient, Throttled, Garbage, Denied} {
		t.Run(string(class), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: time.Hour}
				expiry := takeFrom(t, Fetched, c, k, iss.fetch).Expiry()
				iss.fail(failure(class))
				askUntil(t, c, k, iss, time.Second, expiry.Add(-time.Second))
				if s := c.Status()[0]; s.State != StateDue || s.LastError != string(class) {
					t.Errorf("status %+v", s)
				}
				if iss.calls() < 3 {
					t.Errorf("%d fetches", iss.calls())
				}
			})
		})
	}
}

// Issue 16: a repeated token counted as a failure. That was remembered beyond the expiry, so once in every life lookups failed.
func TestIssuerThatRepeatsATokenUntilItExpires(t *testing.T) {
	for _, life := range []time.Duration{time.Second, 10 * time.Second, time.Hour} {
		t.Run(life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, k := newCache(t, Options{}), newKey(t, "s")
				iss := &issuer{life: life, until: true, takes: life / 1000}
				began := time.Now()
				for time.Since(began) < 10*life {
					token, _ := take(t, c, k, iss.fetch) // no lookup fails
					good := fmt.Sprintf("access-token-%d", 1+int((time.Since(began)-life/1000)/life))
					late := time.Since(began) % life
					if token.Value() != good && late > margin(life) {
						t.Fatalf("%v after the end of its life, %s is in use", late, token.Value())
					}
					if s := c.Status()[0]; s.LastError != "" {
						t.Fatalf("after %v: %s", time.Since(began), s.LastError)
					}
					time.Sleep(life / 200)
				}
				if n := iss.calls(); n > 10*20 {
					t.Errorf("%d fetches in ten lives", n)
				}
			})
		})
	}
}
