package tokencache

// Redis fails in all its ways. Each test has its own server. Requests go on, wait for Redis no longer than they may, and fetch no more
// than the budget allows. Redis is used again once it is back.

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"roomgate/internal/fleet"
	"roomgate/internal/secret"
)

// slack is what a slow machine may add to a bounded wait.
const slack = 5 * time.Second

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
		// How many lookups it takes depends on the probe that the first one starts.
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
	c.Vault(secret.New("s"), "p").Save(t.Context(), "n", []byte("v"), time.Hour)
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
		"read-only": {[]any{"replicaof", "127.0.0.1", "1"}, []any{"replicaof", "no", "one"}},
		"full":      {[]any{"config", "set", "maxmemory", "1"}, []any{"config", "set", "maxmemory", "0"}},
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
			stays := time.NewTimer(time.Second) // no probe may close the circuit meanwhile
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

// Redis works, but its user has no rights to the keys. That is reported. Lookups go on without Redis until the rights are back.
func TestRedisThatRefusesTheKeysIsNoOutage(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ spoil, heal []any }{
		"no scripts": {[]any{"acl", "setuser", "default", "-@scripting"}, []any{"acl", "setuser", "default", "+@scripting"}},
		"no rights":  {[]any{"acl", "setuser", "default", "resetkeys"}, []any{"acl", "setuser", "default", "allkeys"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := ownRedis(t)
			admin, ctx := connect(t, server.Addr, patient), t.Context()
			c := newFleet(t, 1, server.Addr, Options{})[0]
			iss := &issuer{life: time.Hour}
			takeFrom(t, Fetched, c, newKey(t, "s", "before"), iss.fetch)
			if err := admin.Do(ctx, tt.spoil...).Err(); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"a", "b", "c", "d", "e"} {
				takeFrom(t, Fetched, c, newKey(t, "s", name), iss.fetch)
			}
			down, reason := c.RedisDown()
			if refusal := c.store.use.Refusal(); down || refusal == nil || !strings.Contains(refusal.Error(), "NOPERM") {
				t.Errorf("down %v, %q; refused for %v", down, reason, refusal)
			}
			if err := admin.Do(ctx, tt.heal...).Err(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is no longer refused", func() bool { return c.store.use.Refusal() == nil })
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
	reject(t, replicas[0], k, first) // generations grow although the fence is lost
	if newer := takeFrom(t, Fetched, replicas[0], k, iss.fetch); newer.Generation() <= first.Generation() {
		t.Errorf("generation %d after %d", newer.Generation(), first.Generation())
	}
}
