package tokencache

// Replicas on one real Redis make one fetch for all, and learn from each other.

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"roomgate/internal/fleet"
)

func TestFleetFetchesOnce(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 3, sharedRedis(t), Options{})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour, takes: 200 * time.Millisecond}
	var callers sync.WaitGroup
	values := make(chan string, 900)
	for _, c := range replicas {
		for range 300 {
			callers.Go(func() {
				token, _, err := c.Token(t.Context(), k, iss.fetch)
				if err != nil {
					t.Errorf("lookup failed: %v", err)
					return
				}
				values <- token.Value()
			})
		}
	}
	callers.Wait()
	close(values)
	for value := range values {
		if value != "access-token-1" {
			t.Fatalf("somebody got %s", value)
		}
	}
	calledTimes(t, iss, 1)
}

func TestSecondReplicaTakesTheTokenFromRedis(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	first := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	second := takeFrom(t, Redis, replicas[1], k, iss.fetch)
	if second.Value() != first.Value() || second.Generation() != first.Generation() {
		t.Error("the second replica has another token")
	}
	// The margin of a second covers the time that the way through Redis took.
	if late := second.Expiry().Sub(first.Expiry()); late > time.Second {
		t.Errorf("the second replica would use it %v longer than the first", late)
	}
	takeFrom(t, Memory, replicas[1], k, iss.fetch)
	calledTimes(t, iss, 1)
}

func TestKeysNeverMeetEachOthersTokens(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	keys := []Key{
		newKey(t, "secret", "https://issuer", "access", "first", "60"),
		newKey(t, "secret", "https://issuer", "access", "second", "60"),
		newKey(t, "secret", "https://issuer", "access", "first", "30"),
		newKey(t, "secret", "https://issuer", "other access", "first", "60"),
		newKey(t, "secret", "https://other", "access", "first", "60"),
		newKey(t, "rotated", "https://issuer", "access", "first", "60"),
		newKey(t, "secret", "https://issueraccess", "first", "60"),
		newKey(t, "secret"),
		newKey(t, "secret", ""),
	}
	iss := &issuer{life: time.Hour}
	seen := make(map[string]bool)
	for _, k := range keys {
		token := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
		if again := takeFrom(t, Redis, replicas[1], k, iss.fetch); again.Value() != token.Value() {
			t.Error("Redis gave another key's token")
		}
		seen[token.Value()] = true
	}
	if len(seen) != len(keys) {
		t.Errorf("%d tokens for %d keys", len(seen), len(keys))
	}
}

func TestFleetRefreshesOnce(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 3, sharedRedis(t), Options{})
	// Expiry is 1.8 s after a fetch, the refresh 0.32 s to 0.48 s before that.
	k, iss := newKey(t, "s"), &issuer{life: 2 * time.Second, takes: 50 * time.Millisecond}
	for _, c := range replicas {
		take(t, c, k, iss.fetch)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	var callers sync.WaitGroup
	for _, c := range replicas {
		callers.Go(func() {
			for iss.calls() < 3 && fleet.Sleep(ctx, 10*time.Millisecond) == nil {
				if _, _, err := c.Token(t.Context(), k, iss.fetch); err != nil {
					t.Errorf("lookup failed: %v", err)
				}
			}
		})
	}
	callers.Wait()
	times := iss.fetches()
	for i := 1; i < len(times); i++ {
		if gap := times[i].Sub(times[i-1]); gap < time.Second {
			t.Errorf("fetches %d and %d are only %v apart: two replicas refreshed the same token", i, i+1, gap)
		}
	}
	if len(times) < 3 {
		t.Errorf("%d fetches in %v of lives of 2 s", len(times), patient)
	}
}

func TestFollowerLearnsOfTheLeadersFailureAndFetchesNothing(t *testing.T) {
	t.Parallel()
	for _, class := range []Class{Transient, Throttled, Garbage, Denied} {
		t.Run(string(class), func(t *testing.T) {
			t.Parallel()
			replicas := newFleet(t, 2, sharedRedis(t), Options{})
			k := newKey(t, "s")
			leader := &issuer{gate: make(chan struct{}), err: &FetchError{Class: class, RetryAfter: 20 * time.Second, Err: context.Canceled}}
			follower := &issuer{life: time.Hour}
			var callers sync.WaitGroup
			callers.Go(func() {
				_, _, err := replicas[0].Token(t.Context(), k, leader.fetch)
				if _, ok := err.(*Unavailable); !ok {
					t.Errorf("the leader got %v", err)
				}
			})
			eventually(t, "the leader fetches", func() bool { return leader.calls() == 1 })
			for range 20 { // callers who wait while the leader fetches
				callers.Go(func() {
					_, _, err := replicas[1].Token(t.Context(), k, follower.fetch)
					if u, ok := err.(*Unavailable); !ok || u.Class != class || u.RetryAfter < 10*time.Second {
						t.Errorf("a follower got %v", err)
					}
				})
			}
			eventually(t, "the followers wait", func() bool { return gather(t, replicas[1].metrics.locks)["held"] == 1 })
			close(leader.gate)
			callers.Wait()
			denied(t, class, replicas[1], k, follower.fetch) // and a caller who comes later
			calledTimes(t, follower, 0)
			calledTimes(t, leader, 1)
		})
	}
}

func TestFailureBetweenTheLookAndTheLockIsSeenToo(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	k := newKey(t, "s")
	quick := &issuer{err: &FetchError{Class: Denied, RetryAfter: 20 * time.Second, Err: context.Canceled}}
	late := &issuer{life: time.Hour}
	var once sync.Once
	watch(replicas[1], func(_ context.Context, cmd redis.Cmder) error {
		if runs(cmd, lockScript) { // by now it has looked and found nothing
			once.Do(func() { denied(t, Denied, replicas[0], k, quick.fetch) })
		}
		return nil
	})
	denied(t, Denied, replicas[1], k, late.fetch)
	calledTimes(t, late, 0)
	if n := keysUnder(t, replicas[0], k, "lock"); n != 0 {
		t.Error("the lock was not released")
	}
}

func TestTokenBetweenTheLookAndTheLockIsAdopted(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	k, quick, late := newKey(t, "s"), &issuer{life: time.Hour}, &issuer{life: time.Hour}
	var once sync.Once
	watch(replicas[1], func(_ context.Context, cmd redis.Cmder) error {
		if runs(cmd, lockScript) {
			once.Do(func() { takeFrom(t, Fetched, replicas[0], k, quick.fetch) })
		}
		return nil
	})
	takeFrom(t, Redis, replicas[1], k, late.fetch)
	calledTimes(t, late, 0)
	if n := keysUnder(t, replicas[0], k, "lock"); n != 0 {
		t.Error("the lock was not released")
	}
}

func TestFailureIsForgottenByTheFleetOnceThereIsAToken(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	k := newKey(t, "s")
	generation := lockOrFail(t, replicas[0], k, "first", time.Minute)
	releaseOrFail(t, replicas[0], k, "first", failureNote{Denied, 1, time.Minute})
	denied(t, Denied, replicas[1], k, nil)
	saveOrFail(t, replicas[0], k, "", "value", generation) // like a replica that couldn't see the note
	if n := keysUnder(t, replicas[0], k, "failure"); n != 0 {
		t.Error("the note of failure is still there")
	}
}

func TestLeaderWaitsAsLongAsItTellsTheFleet(t *testing.T) {
	t.Parallel()
	c := newFleet(t, 1, sharedRedis(t), Options{})[0]
	for i := range 30 {
		k := newKey(t, "s", string(rune('a'+i)))
		began := time.Now()
		u := denied(t, Denied, c, k, (&issuer{err: failure(Denied)}).fetch)
		late := time.Since(began) + time.Millisecond // Redis counts from the arrival of the note, in milliseconds
		told := c.store.client.PTTL(t.Context(), c.store.name(k, "failure")).Val()
		if told <= 0 || told > u.RetryAfter+late {
			t.Fatalf("it waits %v and tells the fleet to wait %v", u.RetryAfter, told)
		}
	}
}

func TestFollowerCountsOnFromTheLeadersAttempts(t *testing.T) {
	t.Parallel()
	c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
	const left = 30 * time.Second
	if err := c.store.client.Set(t.Context(), c.store.name(k, "failure"), c.store.pack(k, "failure", markValue, sealed{generation: 9, value: []byte(Denied)}, left), left).Err(); err != nil {
		t.Fatal(err)
	}
	if u := denied(t, Denied, c, k, nil); u.RetryAfter > left+pollEvery || u.RetryAfter < left-10*time.Second {
		t.Errorf("it waits %v, the fleet %v", u.RetryAfter, left)
	}
	if n := c.entry(k).attempts; n != 9 {
		t.Errorf("%d attempts, the fleet has made 9", n)
	}
}

func TestFleetBacksOffAsOne(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 3, sharedRedis(t), Options{})
	k, iss := newKey(t, "s"), &issuer{err: &FetchError{Class: Throttled, RetryAfter: 1500 * time.Millisecond, Err: context.Canceled}}
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	var callers sync.WaitGroup
	for _, c := range replicas {
		callers.Go(func() {
			for iss.calls() < 3 && fleet.Sleep(ctx, 10*time.Millisecond) == nil {
				if _, _, err := c.Token(t.Context(), k, iss.fetch); err == nil {
					t.Error("there is a token")
				}
			}
		})
	}
	callers.Wait()
	times := iss.fetches()
	for i := 1; i < len(times); i++ {
		// The note was written after the fetch began. So the next fetch begins at least RetryAfter later.
		if gap := times[i].Sub(times[i-1]); gap < 1490*time.Millisecond {
			t.Errorf("fetches %d and %d of the fleet are %v apart", i, i+1, gap)
		}
	}
	if len(times) < 3 {
		t.Errorf("%d fetches in %v", len(times), patient)
	}
}
