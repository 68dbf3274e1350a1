package fleet

// The circuit alone, in a bubble, with invented calls.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// refusalOfRedis is an error that Redis answers, as the client gives it.
type refusalOfRedis string

// Error implements error.
func (r refusalOfRedis) Error() string { return string(r) }

// RedisError implements redis.Error.
func (refusalOfRedis) RedisError() {}

var (
	_          redis.Error = refusalOfRedis("")
	errNetwork             = errors.New("connection reset")
)

// unreachable returns a client that can't reach Redis. It opens no socket, so it can be used in a bubble.
func unreachable(t *testing.T) redis.UniversalClient {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: "192.0.2.1:6379", MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		Dialer:                   func(context.Context, string, string) (net.Conn, error) { return nil, errNetwork },
	})
	t.Cleanup(func() {
		_ = client.Close()
		time.Sleep(2 * time.Second) // the pool checks once a second whether it is closed
	})
	return client
}

// invented returns a Redis without a server. Its probes succeed while healthy is true. It is for use in a bubble only.
func invented(t *testing.T, log *slog.Logger) (r *Redis, probed *atomic.Int64, healthy *atomic.Bool) {
	t.Helper()
	probed, healthy = new(atomic.Int64), new(atomic.Bool)
	client := unreachable(t)
	client.AddHook(answers(func(cmd redis.Cmder) error {
		probed.Add(1)
		if !healthy.Load() {
			return errNetwork
		}
		if script, ok := cmd.(*redis.Cmd); ok {
			script.SetVal("OK")
		}
		return nil
	}))
	healthy.Store(true)
	r = newOn(t, client, Options{Log: log})
	r.Use("test", "")
	synctest.Wait() // the probe of Use has ended
	healthy.Store(false)
	probed.Store(0)
	return r, probed, healthy
}

// answers is a hook that takes the place of Redis.
type answers func(redis.Cmder) error

// DialHook implements redis.Hook.
func (answers) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements redis.Hook.
func (answers) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (a answers) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(_ context.Context, cmd redis.Cmder) error {
		err := a(cmd)
		cmd.SetErr(err)
		return err
	}
}

// call runs one call, which ends with err.
func call(r *Redis, err error) error {
	return r.Use("test", "").Do(context.Background(), "key", func(context.Context) error { return err })
}

// outage returns why Redis counts as down.
func outage(r *Redis) error { return r.Use("test", "").Outage() }

func TestCircuitOpensAfterThreeFailuresInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, _ := invented(t, nil)
		for _, err := range []error{errNetwork, errNetwork, nil, errNetwork, errNetwork} {
			_ = call(r, err)
		}
		if outage(r) != nil {
			t.Fatal("open although no three failures came together")
		}
		_ = call(r, errNetwork)
		if reason := outage(r); !errors.Is(reason, errNetwork) {
			t.Fatalf("down for %v", reason)
		}
		asked := false
		err := r.Use("test", "").Do(t.Context(), "key", func(context.Context) error { asked = true; return nil })
		if asked || !errors.Is(err, ErrOutage) {
			t.Errorf("asked %v, error %v", asked, err)
		}
	})
}

func TestCircuitOpensAtOnceWhenRedisItselfSaysNo(t *testing.T) {
	for _, reply := range []refusalOfRedis{"READONLY You can't write against a read only replica.", "OOM command not allowed",
		"NOAUTH Authentication required.", "LOADING Redis is loading", "MASTERDOWN Link is down", "CLUSTERDOWN The cluster is down"} {
		synctest.Test(t, func(t *testing.T) {
			r, _, _ := invented(t, nil)
			_ = call(r, nil)
			_ = call(r, fmt.Errorf("take the lock: %w", reply))
			if outage(r) == nil {
				t.Errorf("%s is no outage", reply)
			}
		})
	}
}

func TestCallerThatGivesUpIsNoFaultOfRedis(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, _ := invented(t, nil)
		for range 10 {
			ctx, cancel := context.WithCancel(t.Context())
			_ = r.Use("test", "").Do(ctx, "key", func(ctx context.Context) error {
				cancel()
				return ctx.Err()
			})
		}
		if outage(r) != nil {
			t.Error("ten impatient callers opened the circuit")
		}
	})
}

func TestCircuitClosesAfterAProbeOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, probed, healthy := invented(t, nil)
		for range 3 {
			_ = call(r, errNetwork)
		}
		r.Use("test", "").circuit("").record("key", nil) // a call from before, which was slow
		if outage(r) == nil {
			t.Fatal("closed after a success from before")
		}
		time.Sleep(time.Minute)
		if n := probed.Load(); n < 55 || n > 125 { // one in 0.5 s to 1 s, after the first ones
			t.Errorf("%d probes in a minute", n)
		}
		healthy.Store(true)
		time.Sleep(time.Second)
		if outage(r) != nil {
			t.Error("still open a second after Redis was back")
		}
		if err := call(r, nil); err != nil {
			t.Errorf("the first call afterwards: %v", err)
		}
		before := probed.Load()
		time.Sleep(time.Minute)
		if probed.Load() != before {
			t.Error("probes go on although Redis works")
		}
	})
}

func TestFirstProbesComeSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _, healthy := invented(t, nil)
		healthy.Store(true)
		_ = call(r, refusalOfRedis("LOADING"))
		time.Sleep(probeFirst)
		if outage(r) != nil {
			t.Error("a hiccup costs more than the first probe's wait")
		}
	})
}

func TestLogTellsOfRedisOnceInTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		r, _, healthy := invented(t, slog.New(slog.NewTextHandler(&out, nil)))
		healthy.Store(true)
		for start := time.Now(); time.Since(start) < time.Minute; time.Sleep(200 * time.Millisecond) {
			_ = call(r, refusalOfRedis("READONLY")) // down and back five times a second
		}
		r.Close()
		if lines := strings.Count(out.String(), "\n"); lines < 1 || lines > 7 {
			t.Errorf("%d lines in a minute:\n%s", lines, out.String())
		}
		if !strings.Contains(out.String(), "redis is down") || !strings.Contains(out.String(), "READONLY") {
			t.Errorf("the log does not say what is wrong:\n%s", out.String())
		}
	})
}

func TestCloseEndsTheProber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, probed, _ := invented(t, nil)
		_ = call(r, refusalOfRedis("LOADING"))
		r.Close()
		before := probed.Load()
		time.Sleep(time.Minute)
		if probed.Load() != before {
			t.Error("probes go on after Close")
		}
	})
}
