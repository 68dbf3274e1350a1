package tokencache

// In a bubble: how long a lookup waits for a slow Redis, and how often a replica fetches without Redis.

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"roomgate/internal/fleet"
	"roomgate/internal/secret"
)

// unreachable returns a client that can't reach Redis. It opens no socket, so it can be used in a bubble.
func unreachable(t *testing.T) redis.UniversalClient {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: "192.0.2.1:6379", MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		Dialer:                   func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("connection reset") },
	})
	t.Cleanup(func() {
		_ = client.Close()
		time.Sleep(2 * time.Second) // the pool checks once a second whether it is closed
	})
	return client
}

func TestWithoutRedisFetchesKeepToTheBudget(t *testing.T) {
	for _, tt := range []struct{ asked, life, every time.Duration }{
		{time.Hour, time.Hour, 10 * time.Second},
		{time.Hour, 6 * time.Second, 2 * time.Second}, // a third of the token's real lifetime
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
				for time.Since(start) < time.Minute { // each token is rejected at once
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
		"vault":  func(t *testing.T, c *Cache) { c.Vault(secret.New("s"), "p").Load(t.Context(), "n") },
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

// slowRedis answers every script after a delay, as if Redis were empty.
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
		if err := fleet.Sleep(ctx, s.takes); err != nil {
			cmd.SetErr(err)
			return err
		}
		none := int64(-2)
		switch script := cmd.(*redis.Cmd); {
		case runs(cmd, loadScript):
			script.SetVal([]any{[]any{"1700000000", "0"}, "", none, none, "", none, "", none})
		case runs(cmd, lockScript):
			script.SetVal("1700000000000")
		case runs(cmd, dropScript):
			script.SetVal([]any{"", int64(0)})
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
