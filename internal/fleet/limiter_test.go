package fleet

// Rate limits: the burst and its refill are exact, for the fleet as for one replica. Whatever happens to Redis, requests are neither
// unlimited nor shut out.

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// limiters makes n limiters with one name, each for a replica of its own.
func limiters(t *testing.T, n int, addr string, limit Limit) []*Limiter {
	t.Helper()
	var all []*Limiter
	for _, r := range replicas(t, n, addr, Options{}) {
		l := NewLimiter(r, "account", limit)
		all = append(all, l)
	}
	return all
}

// wantWait fails unless err is a refusal with exactly this wait; 0: unless err is nil. A microsecond more or less is right: it is Redis's
// unit.
func wantWait(t *testing.T, err error, want time.Duration) {
	t.Helper()
	var got time.Duration
	if over, ok := errors.AsType[*LimitError](err); ok {
		got = over.RetryAfter
	} else if err != nil {
		t.Fatal(err)
	}
	if (got-want).Abs() > time.Microsecond || (got == 0) != (want == 0) {
		t.Errorf("wait %v, want %v", got, want)
	}
}

// checkRate checks the rate of a limiter of 3 per 6 s. after moves its clock.
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
	wantWait(t, take("a"), 2*time.Second) // a refused request isn't counted
	burst("b")                            // nor is another client's
	after(2*time.Second - time.Millisecond)
	wantWait(t, take("a"), time.Millisecond)
	after(time.Millisecond)
	wantWait(t, take("a"), 0)
	wantWait(t, take("a"), 2*time.Second)
	after(3 * time.Second)
	wantWait(t, take("a"), 0)
	wantWait(t, take("a"), time.Second) // half of the next request is refilled
	after(time.Hour)
	burst("a") // never more than one burst
}

func TestBurstAndRefillOfTheFleet(t *testing.T) {
	server, now := unitRedis(t), time.Now() // its clock can be set
	server.SetTime(now)
	all, turn := limiters(t, 3, server.Addr(), Limit{3, 6 * time.Second}), 0
	checkRate(t, func(key string) error {
		turn++
		return all[turn%3].Take(t.Context(), key)
	}, func(d time.Duration) {
		now = now.Add(d)
		server.SetTime(now)
		server.FastForward(d)
	})
}

func TestKeysOfAFullBucketAreGone(t *testing.T) {
	server := unitRedis(t)
	l := limiters(t, 1, server.Addr(), Limit{3, 6 * time.Second})[0]
	wantWait(t, l.Take(t.Context(), "a"), 0)
	if ttl := server.TTL(l.use.Key(l.key("a"))); ttl <= 0 || ttl > 2*time.Second {
		t.Errorf("it lives %v", ttl)
	}
}

func TestTheFleetHasOneCount(t *testing.T) {
	all := limiters(t, 4, sharedRedis(t), Limit{10, time.Hour})
	var admitted atomic.Int64
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			err := all[i%4].Take(t.Context(), "demo")
			over, isOver := errors.AsType[*LimitError](err)
			switch {
			case err == nil:
				admitted.Add(1)
			case !isOver || over.RetryAfter > 6*time.Minute || over.RetryAfter < 5*time.Minute:
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	if admitted.Load() != 10 {
		t.Errorf("%d were admitted, want 10", admitted.Load())
	}
}

// Anybody with Redis's password may write a count. No count admits more than a burst, and none shuts out an account for good.
func TestPoisonedCountHeals(t *testing.T) {
	addr := sharedRedis(t)
	limit, future := Limit{3, 300 * time.Millisecond}, fmt.Sprint(time.Now().Add(1000*time.Hour).UnixMicro())
	for name, poison := range map[string][]any{
		"garbage": {"SET", "%", "garbage"}, "empty": {"SET", "%", ""}, "binary": {"SET", "%", "\x00\xff"}, "the past": {"SET", "%", "1"},
		"far past": {"SET", "%", "-1e300"}, "far future": {"SET", "%", future}, "farther": {"SET", "%", "1e300"}, "infinite": {"SET", "%", "inf"},
		"no number": {"SET", "%", "nan"}, "hexadecimal": {"SET", "%", "0xffffffffffffff"},
		"list": {"RPUSH", "%", "1"}, "hash": {"HSET", "%", "a", "1"}, "set": {"SADD", "%", "1"}, "stream": {"XADD", "%", "*", "a", "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := limiters(t, 1, addr, limit)[0]
			client, key := l.use.Client(), l.use.Key(l.key("a"))
			poison[1] = key
			if err := client.Do(t.Context(), poison...).Err(); err != nil {
				t.Fatal(err)
			}
			admitted := 0
			for began := time.Now(); time.Since(began) < limit.Per || admitted == 0 && time.Since(began) < patient; {
				err := l.Take(t.Context(), "a")
				if over, ok := errors.AsType[*LimitError](err); ok && over.RetryAfter > limit.every() {
					t.Fatalf("wait %v", over.RetryAfter)
				} else if err == nil {
					admitted++
				}
			}
			if admitted < 1 || admitted > 2*limit.Burst+1 {
				t.Errorf("%d were admitted within one period", admitted)
			}
			if ttl := client.PTTL(t.Context(), key).Val(); ttl > limit.Per || ttl == -1 {
				t.Errorf("the key stays for %v", ttl)
			}
			if l.local.keys.Len() != 1 {
				t.Error("it was not Redis that counted")
			}
		})
	}
}

func TestWithoutRedisEachReplicaCounts(t *testing.T) {
	server := ownRedis(t)
	all := limiters(t, 3, server.Addr, Limit{10, time.Hour})
	take := func(n int) (admitted int) {
		for i := range n {
			err := all[i%3].Take(t.Context(), "demo")
			if _, isOver := errors.AsType[*LimitError](err); err != nil && !isOver {
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
	for _, l := range all {
		eventually(t, "the new Redis is found", func() bool { return l.use.Outage() == nil })
	}
	if again := take(300); again != 10 {
		t.Errorf("%d with the new Redis, want a burst", again)
	}
}

func TestNoRedisAtAllIsALocalCount(t *testing.T) {
	l := NewLimiter(nil, "account", Limit{2, time.Hour})
	for i, admitted := range []bool{true, true, false, false} {
		if err := l.Take(t.Context(), "a"); (err == nil) != admitted {
			t.Errorf("request %d: %v", i, err)
		}
	}
}

func TestWhoHasLeftIsNotCountedElsewhere(t *testing.T) {
	l := limiters(t, 1, sharedRedis(t), Limit{1, time.Hour})[0]
	gone, leave := context.WithCancel(t.Context())
	leave()
	if err := l.Take(gone, "a"); !errors.Is(err, context.Canceled) || l.local.keys.Len() != 0 {
		t.Errorf("%v", err)
	}
}

func TestNoLimitCountsNothing(t *testing.T) {
	l := NewLimiter(nil, "login", Limit{})
	for range 100 {
		if err := l.Take(t.Context(), "a"); err != nil || l.local.Take("a") != nil {
			t.Fatal(err)
		}
	}
	if l.local.keys.Len() != 0 {
		t.Error("keys are kept")
	}
}

func TestNamesInRedisTellNobody(t *testing.T) {
	server := unitRedis(t)
	r := replicas(t, 1, server.Addr(), Options{Prefix: "own-prefix:"})[0]
	for name, key := range map[string]string{"login": "127.0.0.1", "account": "hong-gil-dong"} {
		l := NewLimiter(r, name, Limit{100, time.Minute})
		wantWait(t, l.Take(t.Context(), key), 0)
	}
	counts := 0
	for _, key := range server.Keys() {
		value, _ := server.Get(key)
		if strings.Contains(key+value, "hong") || strings.Contains(key+value, "127.0") {
			t.Errorf("%q: %q", key, value)
		}
		if strings.HasPrefix(key, "own-prefix:limit:login:") || strings.HasPrefix(key, "own-prefix:limit:account:") {
			counts++
		}
	}
	if counts != 2 {
		t.Errorf("keys %q, want one of the address and one of the account", server.Keys())
	}
}
