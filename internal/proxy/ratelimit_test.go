package proxy

// This file holds the counting of rates: a burst exactly, its refill exactly, the same for the fleet as for one replica, and
// neither open nor shut whatever becomes of Redis.

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"roomgate/internal/sandbox"
)

// newRedis starts a redis-server for the test. Without one installed the test is skipped, or fails where CI wants it.
func newRedis(t *testing.T) *sandbox.RedisServer {
	t.Helper()
	server, err := sandbox.StartRedis()
	if errors.Is(err, sandbox.ErrNoRedis) && os.Getenv("ROOMGATE_REQUIRE_REDIS") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server
}

// onRedis is how one replica reaches the Redis at addr, with all the time in the world.
func onRedis(t *testing.T, addr, prefix string) Redis {
	client := redis.NewClient(&redis.Options{
		Addr: addr, MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	t.Cleanup(func() { _ = client.Close() })
	return Redis{Client: client, Prefix: prefix, Guarded: func(ctx context.Context, call func(context.Context) error) error {
		limited, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		return call(limited)
	}}
}

func fleetOf(t *testing.T, n int, addr, prefix string, limit Limit) []*fleetLimiter {
	t.Helper()
	var fleet []*fleetLimiter
	for range n {
		l, err := newFleetLimiter("account", limit, onRedis(t, addr, prefix))
		if err != nil {
			t.Fatal(err)
		}
		fleet = append(fleet, l)
	}
	return fleet
}

// eventually waits until the condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	late, tick := time.After(patience), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// wantWait fails unless err is a refusal for exactly this long; 0 is admitted. A microsecond is Redis's unit.
func wantWait(t *testing.T, err error, want time.Duration) {
	t.Helper()
	var got time.Duration
	if over, ok := errors.AsType[*limitError](err); ok {
		got = over.retryAfter
	} else if err != nil {
		t.Fatal(err)
	}
	if (got-want).Abs() > time.Microsecond || (got == 0) != (want == 0) {
		t.Errorf("wait %v, want %v", got, want)
	}
}

// checkRate holds a limiter of 3 per 6 s to its rate; after moves its clock.
func checkRate(t *testing.T, take func(key string) error, after func(time.Duration)) {
	t.Helper()
	burst := func(key string) {
		t.Helper()
		for range 3 {
			wantWait(t, take(key), 0)
		}
		wantWait(t, take(key), 2*time.Second)
	}
	burst("a")
	wantWait(t, take("a"), 2*time.Second) // a refused one counts for nothing
	burst("b")                            // nor does another's
	after(2*time.Second - time.Millisecond)
	wantWait(t, take("a"), time.Millisecond)
	after(time.Millisecond)
	wantWait(t, take("a"), 0)
	wantWait(t, take("a"), 2*time.Second)
	after(3 * time.Second)
	wantWait(t, take("a"), 0)
	wantWait(t, take("a"), time.Second) // half of the next one is there
	after(time.Hour)
	burst("a") // never more than one burst
}

func TestBurstAndRefillOfOneReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := newLocalLimiter("member", Limit{3, 6 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		checkRate(t, l.take, time.Sleep)
	})
}

func TestBurstAndRefillOfTheFleet(t *testing.T) {
	server, now := miniredis.RunT(t), time.Now() // its clock can be set
	server.SetTime(now)
	fleet, turn := fleetOf(t, 3, server.Addr(), "p:", Limit{3, 6 * time.Second}), 0
	checkRate(t, func(key string) error {
		turn++
		return fleet[turn%3].take(t.Context(), key)
	}, func(d time.Duration) {
		now = now.Add(d)
		server.SetTime(now)
		server.FastForward(d)
	})
}

func TestKeysOfAFullBucketAreGone(t *testing.T) {
	server := miniredis.RunT(t)
	l := fleetOf(t, 1, server.Addr(), "p:", Limit{3, 6 * time.Second})[0]
	wantWait(t, l.take(t.Context(), "a"), 0)
	keys := server.Keys()
	if ttl := server.TTL(keys[0]); len(keys) != 1 || ttl <= 0 || ttl > 2*time.Second {
		t.Errorf("%q lives %v", keys, ttl)
	}
}

func TestTheFleetHasOneCount(t *testing.T) {
	server := newRedis(t)
	fleet := fleetOf(t, 4, server.Addr, "p:", Limit{10, time.Hour})
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			err := fleet[i%4].take(t.Context(), "demo")
			over, isOver := errors.AsType[*limitError](err)
			switch {
			case err == nil:
				admitted.Add(1)
			case !isOver || over.retryAfter > 6*time.Minute || over.retryAfter < 5*time.Minute:
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	if admitted.Load() != 10 {
		t.Errorf("%d were admitted, want 10", admitted.Load())
	}
}

// What is in Redis may be anybody's writing. None of it admits more than a burst, and none shuts an account for good.
func TestPoisonedCountHeals(t *testing.T) {
	server := newRedis(t)
	limit, future := Limit{3, 300 * time.Millisecond}, fmt.Sprint(time.Now().Add(1000*time.Hour).UnixMicro())
	for name, poison := range map[string][]any{
		"garbage": {"SET", "%", "garbage"}, "empty": {"SET", "%", ""}, "binary": {"SET", "%", "\x00\xff"}, "the past": {"SET", "%", "1"},
		"far past": {"SET", "%", "-1e300"}, "far future": {"SET", "%", future}, "farther": {"SET", "%", "1e300"}, "infinite": {"SET", "%", "inf"},
		"no number": {"SET", "%", "nan"}, "hexadecimal": {"SET", "%", "0xffffffffffffff"},
		"list": {"RPUSH", "%", "1"}, "hash": {"HSET", "%", "a", "1"}, "set": {"SADD", "%", "1"}, "stream": {"XADD", "%", "*", "a", "1"},
	} {
		prefix := rand.Text() + ":"
		l := fleetOf(t, 1, server.Addr, prefix, limit)[0]
		client := l.redis.Client
		digest := sha256.Sum256([]byte("a"))
		key := prefix + "limit:account:" + hex.EncodeToString(digest[:16])
		poison[1] = key
		if err := client.Do(t.Context(), poison...).Err(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		admitted := 0
		for began := time.Now(); time.Since(began) < limit.Per; {
			err := l.take(t.Context(), "a")
			if over, ok := errors.AsType[*limitError](err); ok && over.retryAfter > limit.every() {
				t.Fatalf("%s: wait %v", name, over.retryAfter)
			} else if err == nil {
				admitted++
			}
		}
		if admitted < 1 || admitted > 2*limit.Burst+1 {
			t.Errorf("%s: %d were admitted within one period", name, admitted)
		}
		if ttl := client.PTTL(t.Context(), key).Val(); ttl > limit.Per || ttl == -1 {
			t.Errorf("%s: the key stays for %v", name, ttl)
		}
		if l.local.keys.Len() != 1 {
			t.Errorf("%s: it was not Redis that counted", name)
		}
	}
}

func TestWithoutRedisEachReplicaCounts(t *testing.T) {
	server := newRedis(t)
	fleet := fleetOf(t, 3, server.Addr, "p:", Limit{10, time.Hour})
	take := func(n int) (admitted int) {
		for i := range n {
			err := fleet[i%3].take(t.Context(), "demo")
			if _, isOver := errors.AsType[*limitError](err); err != nil && !isOver {
				t.Fatal(err)
			}
			if err == nil {
				admitted++
			}
		}
		return admitted
	}
	before := take(5)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	without := take(300)
	if before != 5 || without != 3*10-5 {
		t.Errorf("%d with Redis, %d without: want 5, and what is left of a burst on each", before, without)
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	for _, l := range fleet {
		// Its pool dials again now and then.
		eventually(t, "the new Redis is found", func() bool { return l.redis.Client.Ping(t.Context()).Err() == nil })
	}
	if again := take(300); again != 10 {
		t.Errorf("%d with the new Redis, want a burst", again)
	}
}

func TestNoRedisAtAllIsALocalCount(t *testing.T) {
	l, err := newFleetLimiter("account", Limit{2, time.Hour}, Redis{Prefix: "p:"})
	if err != nil {
		t.Fatal(err)
	}
	for i, admitted := range []bool{true, true, false, false} {
		if err := l.take(t.Context(), "a"); (err == nil) != admitted {
			t.Errorf("request %d: %v", i, err)
		}
	}
}

func TestWhoHasLeftIsNotCountedElsewhere(t *testing.T) {
	l, err := newFleetLimiter("account", Limit{1, time.Hour}, Redis{
		Client:  redis.NewClient(&redis.Options{}),
		Guarded: func(ctx context.Context, _ func(context.Context) error) error { return ctx.Err() },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.redis.Client.Close() })
	gone, leave := context.WithCancel(t.Context())
	leave()
	if err := l.take(gone, "a"); !errors.Is(err, context.Canceled) || l.local.keys.Len() != 0 {
		t.Errorf("%v", err)
	}
}

// Those who are refused at the same moment don't make it later for those after them.
func TestRefusedCrowdCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := newLocalLimiter("member", Limit{10, 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		crowd := func() int64 {
			var admitted atomic.Int64
			var wg sync.WaitGroup
			for range 1000 {
				wg.Go(func() {
					err := l.take("a")
					if over, ok := errors.AsType[*limitError](err); ok && over.retryAfter > time.Second {
						t.Errorf("wait %v", over.retryAfter)
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
	l, err := newLocalLimiter("account", Limit{1, time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1_000_000 {
		if err := l.take(itoa(i)); err != nil {
			t.Fatal(err)
		}
	}
	if kept := l.keys.Len(); kept != maxLimited {
		t.Errorf("%d keys are kept, want %d", kept, maxLimited)
	}
	if err := l.take("999999"); err == nil {
		t.Error("a fresh key was evicted")
	}
}

func TestNoLimitCountsNothing(t *testing.T) {
	l, err := newFleetLimiter("login", Limit{}, Redis{Client: nil})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := l.take(t.Context(), "a"); err != nil || l.local.take("a") != nil {
			t.Fatal(err)
		}
	}
	if l.local.keys.Len() != 0 {
		t.Error("keys are kept")
	}
}

func TestNamesInRedisTellNobody(t *testing.T) {
	server := miniredis.RunT(t)
	g := start(t, func(o *Options) {
		o.LoginLimit, o.AccountLimit, o.Redis = Limit{100, time.Minute}, Limit{100, time.Minute}, onRedis(t, server.Addr(), "own-prefix:")
	})
	const body = `{"id":"hong-gil-dong","password":"x"}`
	g.raw(t, fmt.Sprintf("POST /public-api/v1/login HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	keys := server.Keys()
	if len(keys) != 2 {
		t.Fatalf("keys %q, want one of the address and one of the account", keys)
	}
	for _, key := range keys {
		value, _ := server.Get(key)
		if !strings.HasPrefix(key, "own-prefix:limit:") || strings.Contains(key+value, "hong") || strings.Contains(key+value, "127.0") {
			t.Errorf("%q: %q", key, value)
		}
	}
}

func TestRateLimitFields(t *testing.T) {
	for _, tt := range []struct {
		e             limitError
		policy, state string
	}{
		{limitError{"login", Limit{30, time.Minute}, 1500 * time.Millisecond}, `"login";q=30;w=60`, `"login";r=0;t=2`},
		{limitError{"member", Limit{100, time.Second}, time.Nanosecond}, `"member";q=100;w=1`, `"member";r=0;t=1`},
		{limitError{"account", Limit{1, 100 * time.Millisecond}, 100 * time.Millisecond}, `"account";q=1;w=1`, `"account";r=0;t=1`},
	} {
		if got := tt.e.policy(); got != tt.policy {
			t.Errorf("RateLimit-Policy %s, want %s", got, tt.policy)
		}
		if got := tt.e.state(); got != tt.state {
			t.Errorf("RateLimit %s, want %s", got, tt.state)
		}
	}
}
