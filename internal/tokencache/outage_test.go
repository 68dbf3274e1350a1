package tokencache

// This file tests the loss of Redis in all its forms, with servers of their own: requests go on, wait for Redis no
// longer than they may, fetch no more than the budget allows, and Redis is used again once it is back.

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"roomgate/internal/fleet"
)

// slack is what a slow machine may add to a wait that is bounded.
const slack = 2 * time.Second

// backInUse waits until the cache shares new tokens through Redis again.
func backInUse(t *testing.T, c *Cache) {
	t.Helper()
	start, tries := time.Now(), 0
	eventually(t, "Redis is in use again", func() bool {
		if down, _ := c.RedisDown(); down {
			return false
		}
		tries++ // a slow machine may need more than one
		k := newKey(t, "s", "back in use", strconv.Itoa(tries))
		take(t, c, k, (&issuer{life: time.Hour}).fetch)
		n, err := c.store.client.Exists(t.Context(), c.store.name(k, "token")).Result()
		return err == nil && n == 1
	})
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %v to see that Redis is back", took)
	}
}

func TestRedisThatIsNotThereAtTheStartIsUsedOnceItIs(t *testing.T) {
	t.Parallel()
	server := ownRedis(t)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	c := newFleet(t, 1, server.Addr, Options{}, fleet.Options{Timeout: 250 * time.Millisecond})[0]
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	takeFrom(t, Fetched, c, k, iss.fetch)
	takeFrom(t, Memory, c, k, iss.fetch)
	openCircuit(t, c)
	takeFrom(t, Fetched, c, newKey(t, "s", "second"), iss.fetch)
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	backInUse(t, c)
}

func TestRedisKilledInMidRun(t *testing.T) {
	t.Parallel()
	server := ownRedis(t)
	var out lockedBuffer
	replicas := newFleet(t, 2, server.Addr, Options{}, fleet.Options{Timeout: 250 * time.Millisecond, Log: slog.New(slog.NewTextHandler(&out, nil))})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	takeFrom(t, Redis, replicas[1], k, iss.fetch)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, c := range replicas {
		takeFrom(t, Memory, c, k, iss.fetch)
	}
	calledTimes(t, iss, 1)
	for i := range 10 { // each key is a fetch of this replica's own
		takeFrom(t, Fetched, replicas[0], newKey(t, "s", "other", string(rune('a'+i))), iss.fetch)
	}
	calledTimes(t, iss, 11)
	if down, reason := replicas[0].RedisDown(); !down || reason == "" {
		t.Errorf("after ten lookups: down %v, %q", down, reason)
	}
	if lines := strings.Count(out.String(), "\n"); lines != 1 {
		t.Errorf("%d lines in the log, want one:\n%s", lines, out.String())
	}
	if err := server.Restart(); err != nil {
		t.Fatal(err)
	}
	backInUse(t, replicas[0])
}

func TestFrozenRedisCostsOneTimeoutAndThenNothing(t *testing.T) {
	t.Parallel()
	const timeout = 300 * time.Millisecond
	server := ownRedis(t)
	c := newFleet(t, 1, server.Addr, Options{}, fleet.Options{Timeout: timeout})[0]
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	token := takeFrom(t, Fetched, c, k, iss.fetch)
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	takeFrom(t, Memory, c, k, iss.fetch)
	for i := range 10 {
		before := time.Now()
		takeFrom(t, Fetched, c, newKey(t, "s", "frozen", string(rune('a'+i))), iss.fetch)
		if waited := time.Since(before); waited > timeout+slack {
			t.Errorf("lookup %d waited %v", i, waited)
		}
		// How many lookups it takes is between them and the probe that the first one starts.
	}
	if down, _ := c.RedisDown(); !down {
		t.Fatal("still waiting for Redis after ten lookups")
	}
	var asked atomic.Int64
	watch(c, func(_ context.Context, cmd redis.Cmder) error {
		if touches(cmd, c.store.use.Key("")) {
			asked.Add(1)
		}
		return nil
	})
	takeFrom(t, Fetched, c, newKey(t, "s", "given up"), iss.fetch)
	reject(t, c, k, token)
	c.Vault(NewSecret("s"), "p").Save(t.Context(), "n", []byte("v"), time.Hour)
	if n := asked.Load(); n != 0 {
		t.Errorf("%d commands for a Redis that was given up", n)
	}
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	backInUse(t, c)
}

func TestFrozenRedisIsOneWaitForAllCallers(t *testing.T) {
	t.Parallel()
	const timeout = 300 * time.Millisecond
	server := ownRedis(t)
	c := newFleet(t, 1, server.Addr, Options{}, fleet.Options{Timeout: timeout})[0]
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	var callers sync.WaitGroup
	before := time.Now()
	for range 200 {
		callers.Go(func() {
			if _, _, err := c.Token(t.Context(), k, iss.fetch); err != nil {
				t.Errorf("lookup failed: %v", err)
			}
		})
	}
	callers.Wait()
	if waited := time.Since(before); waited > timeout+slack {
		t.Errorf("200 callers waited %v", waited)
	}
	calledTimes(t, iss, 1)
}

func TestRedisThatRefusesToWorkIsAnOutageUntilItWorks(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ spoil, heal []any }{
		"read-only":  {[]any{"replicaof", "127.0.0.1", "1"}, []any{"replicaof", "no", "one"}},
		"full":       {[]any{"config", "set", "maxmemory", "1"}, []any{"config", "set", "maxmemory", "0"}},
		"no scripts": {[]any{"acl", "setuser", "default", "-@scripting"}, []any{"acl", "setuser", "default", "+@scripting"}},
		"no rights":  {[]any{"acl", "setuser", "default", "resetkeys"}, []any{"acl", "setuser", "default", "allkeys"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := ownRedis(t)
			admin, ctx := connect(t, server.Addr, patient), t.Context()
			c := newFleet(t, 1, server.Addr, Options{})[0]
			held, iss := newKey(t, "s", "held"), &issuer{life: time.Hour}
			takeFrom(t, Fetched, c, held, iss.fetch)
			if err := admin.Do(ctx, tt.spoil...).Err(); err != nil {
				t.Fatal(err)
			}
			takeFrom(t, Memory, c, held, iss.fetch)
			takeFrom(t, Fetched, c, newKey(t, "s", "new"), iss.fetch)
			if down, reason := c.RedisDown(); !down || reason == "" {
				t.Fatalf("down %v, %q", down, reason)
			}
			takeFrom(t, Fetched, c, newKey(t, "s", "second"), iss.fetch)
			calledTimes(t, iss, 3)
			stays := time.NewTimer(time.Second) // no probe may take it for healthy
			for ended := false; !ended; {
				select {
				case <-stays.C:
					ended = true
				case <-time.After(5 * time.Millisecond):
				}
				if down, _ := c.RedisDown(); !down {
					t.Fatal("taken for healthy although nothing has changed")
				}
			}
			if err := admin.Do(ctx, tt.heal...).Err(); err != nil {
				t.Fatal(err)
			}
			backInUse(t, c)
		})
	}
}

func TestWrongPasswordIsAnOutage(t *testing.T) {
	t.Parallel()
	server := ownRedis(t, "--requirepass", "right")
	for name, login := range map[string]string{"none": "", "wrong": ":wrong@", "unknown user": "nobody:right@"} {
		c := newFleet(t, 1, login+server.Addr, Options{})[0]
		takeFrom(t, Fetched, c, newKey(t, "s"), (&issuer{life: time.Hour}).fetch)
		down, reason := c.RedisDown()
		if !down || strings.Contains(reason, "wrong@") {
			t.Errorf("%s: down %v, %q", name, down, reason)
		}
	}
	c := newFleet(t, 1, ":right@"+server.Addr, Options{})[0]
	backInUse(t, c)
}

func TestRedisThatAnswersWithErrorsIsAnOutage(t *testing.T) {
	t.Parallel()
	for _, reply := range []string{
		"LOADING Redis is loading the dataset in memory", "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
		"NOREPLICAS Not enough good replicas to write.", "MISCONF Redis is configured to save RDB snapshots", "CLUSTERDOWN The cluster is down",
		"BUSY Redis is busy running a script.", "ERR max number of clients reached",
	} {
		t.Run(reply, func(t *testing.T) {
			t.Parallel()
			server := unitRedis(t)
			c, iss := newFleet(t, 1, server.Addr(), Options{})[0], &issuer{life: time.Hour}
			takeFrom(t, Fetched, c, newKey(t, "s", "before"), iss.fetch)
			server.SetError(reply)
			takeFrom(t, Fetched, c, newKey(t, "s", "meanwhile"), iss.fetch)
			if down, reason := c.RedisDown(); !down || !strings.Contains(reply, reason[:4]) && !strings.Contains(reason, reply[:4]) {
				t.Errorf("down %v, %q", down, reason)
			}
			server.SetError("")
			backInUse(t, c)
		})
	}
}

func TestFlushedRedisCostsNothing(t *testing.T) {
	t.Parallel()
	server := ownRedis(t)
	replicas := newFleet(t, 2, server.Addr, Options{})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	first := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	takeFrom(t, Redis, replicas[1], k, iss.fetch)
	if err := replicas[0].store.client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	takeFrom(t, Memory, replicas[0], k, iss.fetch)
	takeFrom(t, Memory, replicas[1], k, iss.fetch)
	calledTimes(t, iss, 1)
	reject(t, replicas[0], k, first) // the fence is lost, and generations grow all the same
	if newer := takeFrom(t, Fetched, replicas[0], k, iss.fetch); newer.Generation() <= first.Generation() {
		t.Errorf("generation %d after %d", newer.Generation(), first.Generation())
	}
}

// unreachable is a client that finds no Redis, and opens no socket either: for use in a bubble only.
func unreachable(t *testing.T) redis.UniversalClient {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: "192.0.2.1:6379", MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		Dialer:                   func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection reset") },
	})
	t.Cleanup(func() {
		_ = client.Close()
		time.Sleep(2 * time.Second) // the pool looks for its end once a second
	})
	return client
}

func TestWithoutRedisFetchesKeepToTheBudget(t *testing.T) {
	for _, tt := range []struct{ asked, life, every time.Duration }{
		{time.Hour, time.Hour, 10 * time.Second},
		{time.Hour, 6 * time.Second, 2 * time.Second}, // a third of what the life turned out to be
		{0, time.Hour, 10 * time.Second},
	} {
		t.Run(tt.life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCache(t, Options{Redis: onClient(t, unreachable(t), fleet.Options{})})
				k, iss := newKey(t, "s"), &issuer{life: tt.life}
				k.AskedLife = tt.asked
				for range 2 {
					reject(t, c, k, takeFrom(t, Fetched, c, k, iss.fetch))
				}
				if u := denied(t, Budget, c, k, iss.fetch); u.RetryAfter > tt.every {
					t.Errorf("RetryAfter %v, want %v at most", u.RetryAfter, tt.every)
				}
				start := time.Now()
				for time.Since(start) < time.Minute { // each token is rejected as soon as there is one
					if token, _, err := c.Token(t.Context(), k, iss.fetch); err == nil {
						reject(t, c, k, token)
					} else {
						unavailable(t, Budget, err)
					}
					time.Sleep(10 * time.Millisecond)
				}
				most := int(time.Minute/tt.every) + 1
				if n := iss.calls() - 2; n > most || n < most/2 {
					t.Errorf("%d fetches in a minute beyond the burst, want at most %d", n, most)
				}
				other := newKey(t, "s", "other") // has a budget of its own
				takeFrom(t, Fetched, c, other, iss.fetch)
			})
		})
	}
}

func TestSlowRedisIsGivenUpAtItsTimeout(t *testing.T) {
	const timeout = 200 * time.Millisecond
	for what, call := range map[string]func(*testing.T, *Cache){
		"lookup": func(t *testing.T, c *Cache) {
			takeFrom(t, Fetched, c, newKey(t, "s"), (&issuer{life: time.Hour}).fetch)
		},
		"reject": func(t *testing.T, c *Cache) { reject(t, c, newKey(t, "s"), &Token{generation: 1}) },
		"vault":  func(t *testing.T, c *Cache) { c.Vault(NewSecret("s"), "p").Load(t.Context(), "n") },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := unreachable(t)
				client.AddHook(slowRedis{10 * time.Second})
				c := newCache(t, Options{Redis: onClient(t, client, fleet.Options{Timeout: timeout})})
				before := time.Now()
				call(t, c)
				if waited := time.Since(before); waited != timeout {
					t.Errorf("waited %v, want %v", waited, timeout)
				}
			})
		})
	}
}

// slowRedis answers every script after a while, as if there were nothing in Redis.
type slowRedis struct{ takes time.Duration }

// DialHook implements redis.Hook.
func (slowRedis) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements redis.Hook.
func (slowRedis) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (s slowRedis) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := sleep(ctx, s.takes); err != nil {
			cmd.SetErr(err)
			return err
		}
		none := int64(-2)
		switch script := cmd.(*redis.Cmd); {
		case runs(cmd, loadScript):
			script.SetVal([]any{[]any{"1700000000", "0"}, "", none, none, "", none, "", none})
		case runs(cmd, lockScript):
			script.SetVal("1700000000000")
		default:
			script.SetVal(int64(1))
		}
		return nil
	}
}

func TestAllStepsInRedisTogetherTakeNoLongerThanItsTimeout(t *testing.T) {
	const timeout = 250 * time.Millisecond
	for _, takes := range []time.Duration{0, 20, 60, 70, 90, 130, 200, 249, 250, 5000} {
		t.Run((takes * time.Millisecond).String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := unreachable(t)
				client.AddHook(slowRedis{takes * time.Millisecond})
				c := newCache(t, Options{Redis: onClient(t, client, fleet.Options{Timeout: timeout})})
				iss := &issuer{life: time.Hour, takes: time.Second}
				before := time.Now()
				takeFrom(t, Fetched, c, newKey(t, "s"), iss.fetch)
				if waited := time.Since(before) - iss.takes; waited > timeout {
					t.Errorf("waited %v for Redis, want %v at most", waited, timeout)
				}
				calledTimes(t, iss, 1)
			})
		})
	}
}

// lockedBuffer is a buffer that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is what was written so far.
func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
