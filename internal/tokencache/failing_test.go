package tokencache

// What callers get while the issuer fails, and how soon they get tokens again.

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// hammer looks k up every step, for the given time. Each lookup must fail at once, with class.
func hammer(t *testing.T, class Class, c *Cache, k Key, iss *issuer, step, during time.Duration) {
	t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); {
		before := time.Now()
		denied(t, class, c, k, iss.fetch)
		if waited := time.Since(before); waited > 0 {
			t.Fatalf("a lookup waited %v for a failure that was known", waited)
		}
		time.Sleep(step)
	}
}

func TestRememberedFailureIsAnsweredAtOnceWhileAttemptsGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options{}), newKey(t, "s")
		iss := &issuer{takes: 3 * time.Second, err: failure(Transient)}
		before := time.Now()
		denied(t, Transient, c, k, iss.fetch)
		if waited := time.Since(before); waited != 3*time.Second {
			t.Errorf("the first caller waited %v, want the fetch's 3 s", waited)
		}
		hammer(t, Transient, c, k, iss, 10*time.Millisecond, time.Minute)
		if n := iss.calls(); n < 13 || n > 20 { // each 3 s and a backoff of 0.25 s to 1.5 s
			t.Errorf("%d fetches in a minute", n)
		}
	})
}

func TestAttemptsEndWhenNobodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: time.Hour, err: failure(Transient)}
		denied(t, Transient, c, k, iss.fetch)
		hammer(t, Transient, c, k, iss, 10*time.Millisecond, 10*time.Second)
		asked := iss.calls()
		time.Sleep(24 * time.Hour)
		if n := iss.calls(); n > asked+1 {
			t.Errorf("%d attempts after the last lookup", n-asked)
		}
		if s := c.Status()[0]; s.State != StateEmpty || s.LastError != "" {
			t.Errorf("status %+v", s)
		}
	})
}

func TestAfterSilenceTheNextCallerGetsARealFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: time.Hour, err: failure(Denied)}
		denied(t, Denied, c, k, iss.fetch)
		time.Sleep(10 * time.Minute)
		iss.fail(nil)
		takeFrom(t, Fetched, c, k, iss.fetch)
	})
}

func TestBackoffByClass(t *testing.T) {
	for _, tt := range []struct {
		name        string
		err         error
		class       Class
		least, most time.Duration
	}{
		{"transient", failure(Transient), Transient, 250 * time.Millisecond, 10 * time.Second},
		{"no class", errors.New("connection refused"), Transient, 250 * time.Millisecond, 10 * time.Second},
		{"garbage", failure(Garbage), Garbage, 250 * time.Millisecond, 10 * time.Second},
		{"throttled", failure(Throttled), Throttled, 250 * time.Millisecond, 10 * time.Second},
		{"refused", failure(Denied), Denied, time.Second, time.Minute},
		{"throttled for 7 s", &FetchError{Class: Throttled, RetryAfter: 7 * time.Second, Err: errors.New("slow down")},
			Throttled, 7 * time.Second, 10 * time.Second},
		{"refused for 2 min", &FetchError{Class: Denied, RetryAfter: 2 * time.Minute, Err: errors.New("slow down")},
			Denied, 2 * time.Minute, 2 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{err: tt.err}
				start := time.Now()
				denied(t, tt.class, c, k, iss.fetch)
				hammer(t, tt.class, c, k, iss, 100*time.Millisecond, 30*time.Minute)
				all := gaps(iss, start, time.Now())
				if len(all) < 14 {
					t.Errorf("%d attempts in half an hour", len(all))
				}
				for i, gap := range all {
					if gap < tt.least || gap > tt.most {
						t.Errorf("backoff %d is %v, want %v to %v", i+1, gap, tt.least, tt.most)
					}
				}
			})
		})
	}
}

func TestRefusedKeyIsAskedEverMoreRarely(t *testing.T) {
	for _, step := range []time.Duration{100 * time.Millisecond, 2500 * time.Millisecond, 10 * time.Second} {
		t.Run("a lookup every "+step.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const rounds = 20
				fetches := 0
				for range rounds {
					c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{err: failure(Denied)}
					for start := time.Now(); time.Since(start) < 10*time.Minute; time.Sleep(step) {
						denied(t, Denied, c, k, iss.fetch)
					}
					c.Close()
					fetches += iss.calls()
				}
				// Five while the backoff grows, then on average one in 30 s.
				if mean := fetches / rounds; mean > 30 {
					t.Errorf("%d fetches in 10 min in the mean", mean)
				}
			})
		})
	}
}

func TestBackoffStartsAgainAfterSuccessAndAfterLongSilence(t *testing.T) {
	for name, interlude := range map[string]func(*testing.T, *Cache, Key, *issuer){
		"success": func(t *testing.T, c *Cache, k Key, iss *issuer) {
			iss.fail(nil)
			time.Sleep(61 * time.Second)
			token, _ := take(t, c, k, iss.fetch)
			if err := c.Reject(t.Context(), k, token, nil); err != nil {
				t.Fatal(err)
			}
		},
		"silence": func(*testing.T, *Cache, Key, *issuer) { time.Sleep(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for range 20 {
					c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: time.Hour, err: failure(Denied)}
					denied(t, Denied, c, k, iss.fetch)
					hammer(t, Denied, c, k, iss, 100*time.Millisecond, 10*time.Minute)
					interlude(t, c, k, iss)
					iss.fail(failure(Denied))
					again := time.Now()
					u := denied(t, Denied, c, k, iss.fetch)
					if u.RetryAfter > 2*time.Second {
						t.Errorf("the first backoff after it is %v, want at most 2 s", u.RetryAfter)
					}
					hammer(t, Denied, c, k, iss, 100*time.Millisecond, 3*time.Second)
					if len(gaps(iss, again, time.Now())) == 0 {
						t.Error("no attempt within 3 s")
					}
					c.Close()
				}
			})
		})
	}
}

func TestCallersAreServedWithinTwoSecondsOfTheIssuersReturn(t *testing.T) {
	for name, outage := range map[string]time.Duration{"short": time.Second, "long": time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for range 60 {
					c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: time.Hour, err: failure(Transient)}
					denied(t, Transient, c, k, iss.fetch)
					hammer(t, Transient, c, k, iss, 50*time.Millisecond, outage)
					iss.fail(nil)
					within(t, 2*time.Second, c, k, iss)
					c.Close()
				}
			})
		})
	}
}

func TestCallersAreServedSoonAfterAnOutageThatOutlivedTheToken(t *testing.T) {
	for _, life := range []time.Duration{6 * time.Second, time.Minute, 10 * time.Minute} {
		t.Run(life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for range 200 {
					c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: life}
					expiry := takeFrom(t, Fetched, c, k, iss.fetch).Expiry()
					iss.fail(failure(Transient))
					askUntil(t, c, k, iss, life/200, expiry)
					denied(t, Transient, c, k, iss.fetch)
					iss.fail(nil)
					within(t, 2*time.Second, c, k, iss)
					c.Close()
				}
			})
		})
	}
}

// within asks every 50 ms until there is a token. It fails the test if that takes longer than most.
func within(t *testing.T, most time.Duration, c *Cache, k Key, iss *issuer) {
	t.Helper()
	back := time.Now()
	for {
		if _, _, err := c.Token(t.Context(), k, iss.fetch); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if waited := time.Since(back); waited > most {
		t.Errorf("no token until %v after the issuer's return, want %v at most", waited, most)
	}
}

func TestFailureTellsWhenAskingAgainMayHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options{}), newKey(t, "s")
		iss := &issuer{err: &FetchError{Class: Throttled, RetryAfter: 30 * time.Second, Err: errors.New("slow down")}}
		if u := denied(t, Throttled, c, k, iss.fetch); u.RetryAfter != 30*time.Second {
			t.Errorf("RetryAfter %v, want 30 s", u.RetryAfter)
		}
		time.Sleep(20 * time.Second)
		if u := denied(t, Throttled, c, k, iss.fetch); u.RetryAfter != 10*time.Second {
			t.Errorf("20 s later RetryAfter %v, want 10 s", u.RetryAfter)
		}
		time.Sleep(9900 * time.Millisecond)
		if u := denied(t, Throttled, c, k, iss.fetch); u.RetryAfter != time.Second { // a Retry-After of 0 wouldn't help
			t.Errorf("shortly before the end RetryAfter %v, want 1 s", u.RetryAfter)
		}
		calledTimes(t, iss, 1)
	})
}

// An operator who has fixed the cause shouldn't have to wait for a backoff of up to a minute.
func TestAnOperatorNeedNotWaitForTheEndOfABackoff(t *testing.T) {
	t.Parallel()
	c := newFleet(t, 1, sharedRedis(t), Options{})[0]
	k, iss := newKey(t, "s"), &issuer{life: time.Hour, err: failure(Denied)}
	for range 5 { // the fifth wait is drawn from 1 s to 32 s
		denied(t, Denied, c, k, iss.fetch)
		asked := iss.calls()
		c.TryNow()
		eventually(t, "a try", func() bool { return iss.calls() > asked })
	}
	eventually(t, "the failure is remembered", func() bool { return c.Status()[0].NextTry > 0 })
	iss.fail(nil)
	c.TryNow()
	eventually(t, "the token", func() bool { return c.Status()[0].State == StateFresh })
	if s := c.Status()[0]; s.NextTry != 0 {
		t.Errorf("%+v", s)
	}
	tried := iss.calls()
	c.TryNow() // nothing fails
	takeFrom(t, Memory, c, k, iss.fetch)
	if n := iss.calls(); n != tried {
		t.Errorf("%d tries although nothing failed", n-tried)
	}
}

// A try that was under way when the operator asked may have begun before the cause was gone.
func TestAnOperatorsTryFollowsTheOneUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options{}), newKey(t, "s")
		iss := &issuer{life: time.Hour, takes: 5 * time.Second, err: failure(Denied)}
		denied(t, Denied, c, k, iss.fetch)
		for range 5 { // each failure makes the wait longer, up to a minute
			tried := iss.calls()
			c.TryNow()
			hammer(t, Denied, c, k, iss, 100*time.Millisecond, time.Second)
			calledTimes(t, iss, tried+1)
			c.TryNow()
			c.TryNow()
			hammer(t, Denied, c, k, iss, 100*time.Millisecond, 5*time.Second)
			calledTimes(t, iss, tried+2)
			hammer(t, Denied, c, k, iss, 100*time.Millisecond, 4500*time.Millisecond) // the second has failed half a second ago
			calledTimes(t, iss, tried+2)
		}
	})
}

// SIGHUP usually goes to all replicas. One of them hears that the issuer wants time; the others read its note.
func TestAnIssuerThatAskedOneReplicaForTimeKeepsIt(t *testing.T) {
	t.Parallel()
	fleet := newFleet(t, 2, sharedRedis(t), Options{})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour, err: failure(Denied)}
	for _, c := range fleet {
		denied(t, Denied, c, k, iss.fetch)
	}
	iss.fail(&FetchError{Class: Throttled, RetryAfter: time.Minute, Err: errors.New("slow down")})
	for _, c := range fleet {
		c.TryNow()
		eventually(t, "the issuer's wait is known", func() bool { return c.Status()[0].NextTry > 30*time.Second })
	}
	calledTimes(t, iss, 2) // the first failure, and one try
}

func TestAnIssuerThatAskedForTimeKeepsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options{}), newKey(t, "s")
		iss := &issuer{life: time.Hour, err: &FetchError{Class: Throttled, RetryAfter: time.Minute, Err: errors.New("slow down")}}
		denied(t, Throttled, c, k, iss.fetch)
		c.TryNow()
		synctest.Wait()
		if n := iss.calls(); n != 1 {
			t.Errorf("%d calls within the minute that the issuer asked for", n)
		}
		if s := c.Status()[0]; s.NextTry != time.Minute {
			t.Errorf("%+v", s)
		}
	})
}
