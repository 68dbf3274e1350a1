package tokencache

// A rejected token is removed, and no other. One fetch replaces it. If the new token is rejected too, the fleet remembers that.

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

// reject rejects a token and ends the test if that is refused.
func reject(t *testing.T, c *Cache, k Key, token *Token) {
	t.Helper()
	if err := c.Reject(t.Context(), k, token, nil); err != nil {
		t.Fatalf("rejection: %v", err)
	}
}

// inRedis reports whether Redis has a token of the key that opens and hasn't expired.
func inRedis(t *testing.T, c *Cache, k Key) bool {
	t.Helper()
	seen, err := c.store.load(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	return seen.token != nil
}

func TestRejectRemovesTheTokenFromMemoryAndRedis(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	token := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	reject(t, replicas[0], k, token)
	if inRedis(t, replicas[0], k) {
		t.Error("the token is still in Redis")
	}
	newer := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	if newer.Generation() <= token.Generation() {
		t.Errorf("generation %d after %d", newer.Generation(), token.Generation())
	}
	calledTimes(t, iss, 2)
}

func TestRejectNeverRemovesANewerToken(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	old := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	reject(t, replicas[0], k, old)
	newer := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	for range 3 { // rejections of requests that were sent with the old token
		reject(t, replicas[0], k, old)
		reject(t, replicas[1], k, old)
	}
	if again := takeFrom(t, Memory, replicas[0], k, iss.fetch); again != newer {
		t.Error("the newer token is gone from memory")
	}
	if !inRedis(t, replicas[0], k) {
		t.Error("the newer token is gone from Redis")
	}
	calledTimes(t, iss, 2)
}

func TestRejectOfATokenThatWasRefreshedSinceRemovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: time.Minute}
		old := takeFrom(t, Fetched, c, k, iss.fetch)
		time.Sleep(55 * time.Second)
		newer := takeFrom(t, Memory, c, k, iss.fetch)
		reject(t, c, k, old)
		if again := takeFrom(t, Memory, c, k, iss.fetch); again != newer || newer == old {
			t.Error("the newer token is gone")
		}
		calledTimes(t, iss, 2)
	})
}

func TestNewerTokenInRedisIsUsedInsteadOfAFetch(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	old := takeFrom(t, Redis, replicas[1], k, iss.fetch)
	reject(t, replicas[0], k, old)
	newer := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	if again := takeFrom(t, Memory, replicas[1], k, iss.fetch); again != old {
		t.Fatal("the second replica heard of the rejection by itself")
	}
	reject(t, replicas[1], k, old)
	if adopted := takeFrom(t, Redis, replicas[1], k, iss.fetch); adopted.Value() != newer.Value() {
		t.Errorf("adopted %s, want %s", adopted.Value(), newer.Value())
	}
	calledTimes(t, iss, 2)
}

func TestHundredConcurrentRejectionsAreOneFetch(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour, takes: 20 * time.Millisecond}
	old := []*Token{takeFrom(t, Fetched, replicas[0], k, iss.fetch), takeFrom(t, Redis, replicas[1], k, iss.fetch)}
	var requests sync.WaitGroup
	for i, c := range replicas {
		for range 50 {
			requests.Go(func() {
				if err := c.Reject(t.Context(), k, old[i], nil); err != nil {
					t.Errorf("rejection: %v", err)
				}
				token, _, err := c.Token(t.Context(), k, iss.fetch)
				if err != nil || token.Value() != "access-token-2" {
					t.Errorf("got %v after the rejection", err)
				}
			})
		}
	}
	requests.Wait()
	calledTimes(t, iss, 2)
}

func TestRejectionDoesNotPassForThatOfAnotherGeneration(t *testing.T) {
	t.Parallel()
	c := newFleet(t, 1, sharedRedis(t), Options{})[0]
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	old := takeFrom(t, Fetched, c, k, iss.fetch)
	reject(t, c, k, old)
	newer := takeFrom(t, Fetched, c, k, iss.fetch)
	c.entry(k).floor = 0 // like a replica that hasn't seen the first rejection

	slow, arrived := make(chan struct{}), make(chan struct{})
	var drops atomic.Int64
	watch(c, func(_ context.Context, cmd redis.Cmder) error {
		if runs(cmd, dropScript) && drops.Add(1) == 1 {
			close(arrived)
			<-slow
		}
		return nil
	})
	var first sync.WaitGroup
	first.Go(func() { _ = c.Reject(t.Context(), k, old, nil) })
	<-arrived
	second := make(chan error, 1)
	go func() { second <- c.Reject(t.Context(), k, newer, nil) }()
	select {
	case err := <-second: // it did not wait for the other
		if err != nil {
			t.Error(err)
		}
		close(slow)
	case <-time.After(5 * time.Second):
		close(slow)
		<-second
	}
	first.Wait()
	takeFrom(t, Fetched, c, k, iss.fetch) // memory and Redis hold neither of the two
	calledTimes(t, iss, 3)
}

func TestRefusedGenerationIsNotReplacedAnywhereInTheFleet(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 3, sharedRedis(t), Options{RefusedTTL: time.Minute})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	token := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	second := takeFrom(t, Redis, replicas[1], k, iss.fetch) // before the refusal, so this replica doesn't know of it
	if u := unavailable(t, Rejected, replicas[0].refuse(t.Context(), replicas[0].entry(k), token)); u.RetryAfter > time.Minute {
		t.Errorf("RetryAfter %v", u.RetryAfter)
	}
	third := takeFrom(t, Redis, replicas[2], k, iss.fetch) // after it
	for range 20 {
		for i, held := range []*Token{token, second, third} {
			unavailable(t, Rejected, replicas[i].Reject(t.Context(), k, held, nil))
			takeFrom(t, Memory, replicas[i], k, iss.fetch) // the refusal may concern some requests only
		}
	}
	calledTimes(t, iss, 1)
}

func TestRefusalEndsAfterItsTTL(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{RefusedTTL: 300 * time.Millisecond})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	token := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	other := takeFrom(t, Redis, replicas[1], k, iss.fetch)
	unavailable(t, Rejected, replicas[0].refuse(t.Context(), replicas[0].entry(k), token))
	for i, held := range []*Token{token, other} {
		eventually(t, "the rejection is taken", func() bool { return replicas[i].Reject(t.Context(), k, held, nil) == nil })
	}
	take(t, replicas[0], k, iss.fetch)
	take(t, replicas[1], k, iss.fetch)
	calledTimes(t, iss, 2)
}

func TestRefusalLastsExactlyItsTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: time.Hour}
		token := takeFrom(t, Fetched, c, k, iss.fetch)
		unavailable(t, Rejected, c.refuse(t.Context(), c.entry(k), token))
		if s := c.Status()[0]; !s.Refused {
			t.Error("the status says nothing of the refusal")
		}
		time.Sleep(time.Minute - time.Nanosecond)
		unavailable(t, Rejected, c.Reject(t.Context(), k, token, nil))
		takeFrom(t, Memory, c, k, iss.fetch)
		time.Sleep(time.Nanosecond)
		if s := c.Status()[0]; s.Refused {
			t.Error("the status still says refused")
		}
		reject(t, c, k, token)
		takeFrom(t, Fetched, c, k, iss.fetch)
		calledTimes(t, iss, 2)
	})
}

func TestRefusalOfOneGenerationDoesNotProtectAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: time.Minute}
		token := takeFrom(t, Fetched, c, k, iss.fetch)
		time.Sleep(55 * time.Second) // refreshed
		unavailable(t, Rejected, c.refuse(t.Context(), c.entry(k), token))
		newer := takeFrom(t, Memory, c, k, iss.fetch)
		reject(t, c, k, newer)
		takeFrom(t, Fetched, c, k, iss.fetch)
	})
}

func TestRefusalMadeWithoutRedisOutlivesAnOlderOneInRedis(t *testing.T) {
	t.Parallel()
	c := newFleet(t, 1, sharedRedis(t), Options{})[0]
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	if err := c.store.refuse(t.Context(), k, 1, time.Minute); err != nil {
		t.Fatal(err)
	}
	token := takeFrom(t, Fetched, c, k, iss.fetch)
	c.entry(k).refuse(token.Generation(), time.Minute) // Redis couldn't be told
	if _, err := c.look(t.Context(), c.entry(k)); err != nil {
		t.Fatal(err)
	}
	unavailable(t, Rejected, c.Reject(t.Context(), k, token, nil))
}

func TestRejectionWhoseRequestHasEndedCountsAllTheSame(t *testing.T) {
	t.Parallel()
	c := newFleet(t, 1, sharedRedis(t), Options{})[0]
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	token := takeFrom(t, Fetched, c, k, iss.fetch)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Reject(gone, k, token, nil); err != nil {
		t.Fatal(err)
	}
	if inRedis(t, c, k) {
		t.Error("the token is still in Redis")
	}
	takeFrom(t, Fetched, c, k, iss.fetch)
}
