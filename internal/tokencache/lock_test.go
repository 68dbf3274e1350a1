package tokencache

// The fleet's lock and its fence, at the store and through lookups: holders that die, are late, or leave a lock behind.

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"roomgate/internal/secret"

	"github.com/redis/go-redis/v9"
)

// keysUnder returns 1 if Redis has this part of the key, otherwise 0.
func keysUnder(t *testing.T, c *Cache, k Key, part string) int64 {
	t.Helper()
	n, err := c.store.client.Exists(t.Context(), c.store.name(k, part)).Result()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// lockOrFail takes the lock at the store.
func lockOrFail(t *testing.T, c *Cache, k Key, owner string, lease time.Duration) uint64 {
	t.Helper()
	generation, err := c.store.lock(t.Context(), k, owner, lease, 0)
	if err != nil {
		t.Fatal(err)
	}
	return generation
}

// releaseOrFail releases the lock at the store and reports whether owner held it.
func releaseOrFail(t *testing.T, c *Cache, k Key, owner string, n failureNote) bool {
	t.Helper()
	mine, err := c.store.release(t.Context(), k, owner, n)
	if err != nil {
		t.Fatal(err)
	}
	return mine
}

// saveOrFail stores a token at the store and reports whether that was accepted.
func saveOrFail(t *testing.T, c *Cache, k Key, owner, value string, generation uint64) bool {
	t.Helper()
	stored, err := c.store.save(t.Context(), k, owner, &Token{
		value: secret.New(value), life: time.Hour, expiry: time.Now().Add(time.Hour), generation: generation,
	})
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func TestLockHasOneHolderAndGrowingGenerations(t *testing.T) {
	t.Parallel()
	c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
	before := uint64(time.Now().UnixMicro())
	first := lockOrFail(t, c, k, "a", time.Minute)
	if first < before {
		t.Errorf("generation %d is behind Redis's clock, %d", first, before)
	}
	if second := lockOrFail(t, c, k, "b", time.Minute); second != 0 {
		t.Fatal("two hold the lock")
	}
	last := first
	for range 20 { // in quick succession
		releaseOrFail(t, c, k, "a", failureNote{})
		next := lockOrFail(t, c, k, "a", time.Minute)
		if next <= last {
			t.Fatalf("generation %d after %d", next, last)
		}
		last = next
	}
}

func TestGenerationsGrowThroughTheLossOfTheFence(t *testing.T) {
	t.Parallel()
	c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
	first := lockOrFail(t, c, k, "a", time.Minute)
	eventually(t, "a moment passes", func() bool { return uint64(time.Now().UnixMicro()) > first+1 })
	if err := c.store.client.Del(t.Context(), c.store.name(k, "fence"), c.store.name(k, "lock")).Err(); err != nil {
		t.Fatal(err)
	}
	if second := lockOrFail(t, c, k, "a", time.Minute); second <= first {
		t.Errorf("generation %d after %d", second, first)
	}
}

func TestReleaseFreesOnlyWhatOneOwns(t *testing.T) {
	t.Parallel()
	c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
	lockOrFail(t, c, k, "owner", time.Minute)
	if releaseOrFail(t, c, k, "late", failureNote{Denied, 1, time.Minute}) {
		t.Error("who had lost the lock was told that it was his")
	}
	saveOrFail(t, c, k, "late", "value", 1)
	if keysUnder(t, c, k, "lock") != 1 {
		t.Error("another's lock was released")
	}
	if keysUnder(t, c, k, "failure") != 0 {
		t.Error("who had lost the lock left a note of failure")
	}
	if !releaseOrFail(t, c, k, "owner", failureNote{}) {
		t.Error("the owner was told that the lock was not his")
	}
	if keysUnder(t, c, k, "lock") != 0 {
		t.Error("the lock is still held")
	}
}

func TestLateWriterCannotOverwriteANewerToken(t *testing.T) {
	t.Parallel()
	c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
	if !saveOrFail(t, c, k, "", "newer", 2000) {
		t.Fatal("the first token was not stored")
	}
	if saveOrFail(t, c, k, "", "late", 1999) {
		t.Error("the late writer was told that it had stored")
	}
	if seen, err := c.store.load(t.Context(), k); err != nil || seen.token == nil || seen.token.Value() != "newer" {
		t.Errorf("Redis holds %v, %v", seen.token, err)
	}
	if !saveOrFail(t, c, k, "", "newest", 2001) {
		t.Error("a newer token was not stored")
	}
}

func TestHolderThatLostItsLeaseAdoptsTheNewerToken(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	k, fresh := newKey(t, "s"), &issuer{life: time.Hour}
	slow := &issuer{life: time.Hour, began: func(ctx context.Context) {
		// The lease ends. Another replica takes the lock and stores a token.
		if err := replicas[0].store.client.Del(ctx, replicas[0].store.name(k, "lock")).Err(); err != nil {
			t.Error(err)
		}
		if _, _, err := replicas[1].Token(ctx, k, fresh.fetch); err != nil {
			t.Error(err)
		}
	}}
	late, _ := take(t, replicas[0], k, slow.fetch)
	newer := takeFrom(t, Memory, replicas[1], k, nil)
	if late.Generation() != newer.Generation() {
		t.Errorf("the late holder uses generation %d, the fleet %d", late.Generation(), newer.Generation())
	}
	if n := gather(t, replicas[0].metrics.locks)["fenced"]; n != 1 {
		t.Errorf("fenced %v times", n)
	}
}

func TestHolderThatLostItsLeaseAndFailsAdoptsTheNewerToken(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	k, fresh := newKey(t, "s"), &issuer{life: time.Hour}
	slow := &issuer{err: failure(Denied), began: func(ctx context.Context) {
		if err := replicas[0].store.client.Del(ctx, replicas[0].store.name(k, "lock")).Err(); err != nil {
			t.Error(err)
		}
		if _, _, err := replicas[1].Token(ctx, k, fresh.fetch); err != nil {
			t.Error(err)
		}
	}}
	takeFrom(t, Redis, replicas[0], k, slow.fetch)
	if keysUnder(t, replicas[1], k, "failure") != 0 {
		t.Error("the late holder left a note of failure beside the newer token")
	}
}

func TestLockOfADeadHolderIsTakenOverAfterItsLease(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{FetchTimeout: 10 * time.Second})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour, takes: 50 * time.Millisecond}
	const lease = 1500 * time.Millisecond
	lockOrFail(t, replicas[0], k, "a replica that was killed", lease)
	start := time.Now()
	var callers sync.WaitGroup
	for _, c := range replicas {
		for range 50 {
			callers.Go(func() {
				if _, _, err := c.Token(t.Context(), k, iss.fetch); err != nil {
					t.Errorf("who waited got %v", err)
				}
			})
		}
	}
	callers.Wait()
	calledTimes(t, iss, 1)
	if after := iss.fetches()[0].Sub(start); after < lease-100*time.Millisecond {
		t.Errorf("fetched %v after the lock was taken for %v", after, lease)
	}
}

func TestLockThatNoReplicaCanHaveLeftBlocksNobody(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]func(context.Context, redis.UniversalClient, string) error{
		"without an end": func(ctx context.Context, r redis.UniversalClient, lock string) error {
			return r.Set(ctx, lock, "x", 0).Err()
		},
		"for a year": func(ctx context.Context, r redis.UniversalClient, lock string) error {
			return r.Set(ctx, lock, "x", 365*24*time.Hour).Err()
		},
		"a list": func(ctx context.Context, r redis.UniversalClient, lock string) error {
			return r.LPush(ctx, lock, "x").Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
			if err := put(t.Context(), c.store.client, c.store.name(k, "lock")); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if _, layer, err := c.Token(ctx, k, (&issuer{life: time.Hour}).fetch); err != nil || layer != Fetched {
				t.Errorf("%q, %v", layer, err)
			}
		})
	}
}

func TestTokenThatAnotherStoresMeanwhileIsAdopted(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	generation := lockOrFail(t, replicas[0], k, "another", replicas[0].lease())
	var callers sync.WaitGroup
	for range 20 {
		callers.Go(func() {
			token, layer, err := replicas[1].Token(t.Context(), k, iss.fetch)
			if err != nil || layer != Redis || token.Value() != "another's" {
				t.Errorf("%q, %v", layer, err)
			}
		})
	}
	eventually(t, "it waits", func() bool { return gather(t, replicas[1].metrics.locks)["held"] == 1 })
	saveOrFail(t, replicas[0], k, "another", "another's", generation)
	callers.Wait()
	calledTimes(t, iss, 0)
}

func TestClosingReplicaReleasesTheLockAndLeavesNoFailure(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	k, stuck := newKey(t, "s"), &issuer{gate: make(chan struct{})}
	var callers sync.WaitGroup
	callers.Go(func() {
		if _, _, err := replicas[0].Token(t.Context(), k, stuck.fetch); !errors.Is(err, ErrClosed) {
			t.Errorf("error %v, want ErrClosed", err)
		}
	})
	eventually(t, "it fetches", func() bool { return stuck.calls() == 1 })
	replicas[0].Close()
	callers.Wait()
	if keysUnder(t, replicas[1], k, "lock") != 0 || keysUnder(t, replicas[1], k, "failure") != 0 {
		t.Error("lock or failure are still there")
	}
	takeFrom(t, Fetched, replicas[1], k, (&issuer{life: time.Hour}).fetch)
}

func TestLockWhoseAnswerWasLateIsGivenBack(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	watch(replicas[0], func(ctx context.Context, cmd redis.Cmder) error {
		if !runs(cmd, lockScript) {
			return nil
		}
		args := cmd.Args() // evalsha, hash, 2, lock, fence, owner, lease, seen
		lockOrFail(t, replicas[1], k, args[5].(string), time.Minute)
		return context.DeadlineExceeded
	})
	takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	eventually(t, "the lock is free", func() bool { return keysUnder(t, replicas[1], k, "lock") == 0 })
}

// Redis closes a connection on which a command was sent. It may have run the command or not.
func TestLockIsGivenUpThoughTheConnectionBreaks(t *testing.T) {
	t.Parallel()
	for _, fails := range []bool{false, true} {
		for _, why := range []error{io.EOF, syscall.ECONNRESET, syscall.EPIPE} {
			replicas := newFleet(t, 2, sharedRedis(t), Options{})
			k, iss := newKey(t, "s"), &issuer{life: time.Hour}
			script := saveScript
			if fails {
				iss.err, script = failure(Transient), releaseScript
			}
			var broken atomic.Bool
			watch(replicas[0], func(_ context.Context, cmd redis.Cmder) error {
				if runs(cmd, script) && broken.CompareAndSwap(false, true) {
					return why
				}
				return nil
			})
			if fails {
				denied(t, Transient, replicas[0], k, iss.fetch)
			} else {
				takeFrom(t, Fetched, replicas[0], k, iss.fetch)
			}
			eventually(t, "the lock is free", func() bool { return keysUnder(t, replicas[1], k, "lock") == 0 })
			if !broken.Load() {
				t.Error("nothing broke")
			}
			if !fails {
				takeFrom(t, Redis, replicas[1], k, iss.fetch)
			}
		}
	}
}

func TestPoisonedFenceIsOvercome(t *testing.T) {
	t.Parallel()
	for _, fence := range []string{"", "garbage", "-5", "nan", "-nan", "inf", "-inf", "1e400", "1e300", "99999999999999999999", "0x7fffffffffffffff", "1.5"} {
		t.Run(fence, func(t *testing.T) {
			t.Parallel()
			c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
			if err := c.store.client.Set(t.Context(), c.store.name(k, "fence"), fence, 0).Err(); err != nil {
				t.Fatal(err)
			}
			nearNow(t, lockOrFail(t, c, k, "a", time.Minute))
		})
	}
	t.Run("wrong type", func(t *testing.T) {
		t.Parallel()
		c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
		if err := c.store.client.LPush(t.Context(), c.store.name(k, "fence"), "x").Err(); err != nil {
			t.Fatal(err)
		}
		nearNow(t, lockOrFail(t, c, k, "a", time.Minute))
	})
}

// nearNow fails the test unless generation is within a minute of now. Redis's clock is that of this machine.
func nearNow(t *testing.T, generation uint64) {
	t.Helper()
	now := uint64(time.Now().UnixMicro())
	if generation+60_000_000 < now || generation > now+60_000_000 {
		t.Errorf("generation %d, want about %d", generation, now)
	}
}
