package tokencache

// The fleet's protocol: the faults that the model in docs/model has found, and the properties that it assumes.

import (
	"testing"
	"time"
)

// docs/model: OLD_FLOOR. A failover may lose the fence and bring another clock.
func TestGenerationsGrowThoughRedissClockFallsBack(t *testing.T) {
	t.Parallel()
	server := unitRedis(t)
	server.SetTime(time.Now())
	replicas := newFleet(t, 2, server.Addr(), Options{})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	last := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	takeFrom(t, Redis, replicas[1], k, iss.fetch)
	server.FlushAll()
	server.SetTime(time.Now().Add(-10 * time.Minute))
	for range 3 {
		reject(t, replicas[0], k, last)
		next := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
		if next.Generation() <= last.Generation() {
			t.Fatalf("generation %d after %d", next.Generation(), last.Generation())
		}
		last = next
	}
	calledTimes(t, iss, 4)
}

// Found by the simulation: two tokens of one generation shared a note of refusal.
func TestReplicasThatCountOnFromOneGenerationGetDifferentOnes(t *testing.T) {
	t.Parallel()
	c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
	seen := uint64(time.Now().Add(time.Hour).UnixMicro()) // by the clock of the former Redis
	drawn := map[uint64]bool{}
	for range 3 {
		generation, err := c.store.lock(t.Context(), k, "holder", time.Minute, seen)
		if err != nil || generation <= seen || drawn[generation] {
			t.Fatalf("generation %d after %d; %v; drawn are %v", generation, seen, err, drawn)
		}
		drawn[generation] = true
		if err := c.store.client.Del(t.Context(), c.store.name(k, "fence"), c.store.name(k, "lock")).Err(); err != nil { // a failover loses it
			t.Fatal(err)
		}
	}
}

func TestAHolderThatLostItsLeaseCantStoreAfterANewerTokenWasDropped(t *testing.T) {
	t.Parallel()
	c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
	late := lockOrFail(t, c, k, "late", time.Minute)
	releaseOrFail(t, c, k, "late", failureNote{}) // its lease ran out
	newer := lockOrFail(t, c, k, "prompt", time.Minute)
	if !saveOrFail(t, c, k, "prompt", "newer", newer) {
		t.Fatal("the newer token was not stored")
	}
	if _, err := c.store.drop(t.Context(), k, newer); err != nil {
		t.Fatal(err)
	}
	if saveOrFail(t, c, k, "late", "late", late) || saveOrFail(t, c, k, "late", "late", newer) {
		t.Error("a token was stored that is no newer than one that was rejected")
	}
	if next := lockOrFail(t, c, k, "next", time.Minute); !saveOrFail(t, c, k, "next", "next", next) {
		t.Error("a newer one was not stored")
	}
}

// In a cluster the client repeats a script if its answer is lost.
func TestTheLockKnowsItsHolderAgain(t *testing.T) {
	t.Parallel()
	c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
	first := lockOrFail(t, c, k, "holder", time.Minute)
	if again := lockOrFail(t, c, k, "holder", time.Minute); again < first || first == 0 {
		t.Errorf("generation %d after %d: the holder waits for itself", again, first)
	}
	if other := lockOrFail(t, c, k, "other", time.Minute); other != 0 {
		t.Error("two hold the lock")
	}
}

func TestALockCountsNoLongerThanALease(t *testing.T) {
	t.Parallel()
	c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
	if err := c.store.client.Set(t.Context(), c.store.name(k, "lock"), "foreign", 5*c.lease()).Err(); err != nil {
		t.Fatal(err)
	}
	takeFrom(t, Fetched, c, k, (&issuer{life: time.Hour}).fetch)
}

// extend gives a part of the key a longer TTL. Anybody who can write to Redis may do that.
func extend(t *testing.T, c *Cache, k Key, part string) {
	t.Helper()
	if ok, err := c.store.client.Expire(t.Context(), c.store.name(k, part), 24*time.Hour).Result(); err != nil || !ok {
		t.Fatalf("%s can't be extended: %v", part, err)
	}
}

func TestANoteOfFailureHoldsNoLongerThanItWasWrittenFor(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour, err: failure(Denied)}
	denied(t, Denied, replicas[0], k, iss.fetch)
	extend(t, replicas[0], k, "failure")
	if u := denied(t, Denied, replicas[1], k, iss.fetch); u.RetryAfter > time.Minute {
		t.Errorf("RetryAfter %v", u.RetryAfter)
	}
	iss.fail(nil)
	eventually(t, "a fetch follows the backoff", func() bool {
		_, _, err := replicas[1].Token(t.Context(), k, iss.fetch)
		return err == nil
	})
}

func TestAForgedNoteOfFailureStopsNobody(t *testing.T) {
	t.Parallel()
	c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
	for _, note := range []string{"refused:1", "transient:3", entryOf(c, k, "refused", 1, time.Hour)} {
		if err := c.store.client.Set(t.Context(), c.store.name(k, "failure"), note, 24*time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		iss := &issuer{life: time.Hour}
		reject(t, c, k, takeFrom(t, Fetched, c, k, iss.fetch))
	}
}

func TestAForgedNoteOfRefusalProtectsNoToken(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	token := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	put(t, replicas[0], k, "refused", format(token.Generation())+":1")
	extend(t, replicas[0], k, "refused")
	reject(t, replicas[0], k, token)
	token = takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	put(t, replicas[0], k, "refused", entryOf(replicas[0], k, "", token.Generation(), time.Hour))
	extend(t, replicas[0], k, "refused")
	reject(t, replicas[0], k, token)
	takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	calledTimes(t, iss, 3)
}

func TestANoteOfRefusalHoldsNoLongerThanItWasWrittenFor(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{RefusedTTL: 300 * time.Millisecond})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	token := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	unavailable(t, Rejected, replicas[0].refuse(t.Context(), replicas[0].entry(k), token))
	extend(t, replicas[0], k, "refused")
	other := takeFrom(t, Redis, replicas[1], k, iss.fetch)
	for i, held := range []*Token{token, other} {
		eventually(t, "the rejection is taken", func() bool { return replicas[i].Reject(t.Context(), k, held, nil) == nil })
	}
}

func TestALateRejectionAfterForgetLeavesNoRow(t *testing.T) {
	t.Parallel()
	c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
	token := takeFrom(t, Fetched, c, k, (&issuer{life: time.Hour}).fetch)
	c.Forget(k)
	reject(t, c, k, token)
	if rows := c.Status(); len(rows) != 0 {
		t.Errorf("the status has %+v", rows)
	}
}

// docs/model: OLD_REFUSE. The first replica has a token that the second has replaced. Then all tokens are revoked.
func TestATokenThatWasNotFetchedAfterTheRejectionIsNotRefused(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	first := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	reject(t, replicas[1], k, takeFrom(t, Redis, replicas[1], k, iss.fetch))
	takeFrom(t, Fetched, replicas[1], k, iss.fetch)
	reject(t, replicas[0], k, first)
	second := takeFrom(t, Redis, replicas[0], k, iss.fetch)
	if err := replicas[0].Reject(t.Context(), k, second, first); err != nil {
		t.Fatalf("refused though nobody has fetched: %v", err)
	}
	third := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	unavailable(t, Rejected, replicas[0].Reject(t.Context(), k, third, second))
	calledTimes(t, iss, 3)
}

// A refresh that began before the rejection may bring a token from before it.
func TestATokenWhoseFetchBeganBeforeTheRejectionIsNotRefused(t *testing.T) {
	t.Parallel()
	c, k := newCache(t, Options{}), newKey(t, "s")
	iss := &issuer{life: time.Hour}
	first := takeFrom(t, Fetched, c, k, iss.fetch)
	flight := c.startFlight(c.entry(k)) // as the timer does
	<-flight
	reject(t, c, k, first)
	second := takeFrom(t, Memory, c, k, iss.fetch)
	if err := c.Reject(t.Context(), k, second, first); err != nil {
		t.Fatalf("refused though nobody has fetched since: %v", err)
	}
}
