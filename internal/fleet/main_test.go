package fleet

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"roomgate/internal/sandbox"
	"roomgate/tests"
)

// shared is the Redis of all tests that don't harm it. Each test has its own prefix there.
var shared struct {
	once   sync.Once
	server *sandbox.RedisServer
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.server != nil {
		_ = shared.server.Close()
	}
	if err := leak(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// leak finds goroutines that outlived the tests. A closed Redis client may take a second to notice.
func leak() (err error) {
	for start := time.Now(); time.Since(start) < 5*time.Second; {
		if err = goleak.Find(); err == nil {
			return nil
		}
	}
	return err
}

// patient is a Timeout for tests in which a slow machine must not look like a slow Redis.
const patient = 10 * time.Second

// sharedRedis returns the address of the shared Redis.
func sharedRedis(t *testing.T) string {
	t.Helper()
	tests.Need(t, "redis-server")
	shared.once.Do(func() { shared.server, shared.err = sandbox.StartRedis() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server.Addr
}

// ownRedis starts a Redis for this test alone, which may kill, freeze or spoil it.
func ownRedis(t *testing.T, args ...string) *sandbox.RedisServer {
	t.Helper()
	tests.Need(t, "redis-server")
	server, err := sandbox.StartRedis(args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return server
}

// unitRedis starts an in-memory Redis, for behaviour that a real one can't be made to show.
func unitRedis(t *testing.T) *miniredis.Miniredis {
	t.Helper()
	return miniredis.RunT(t)
}

// connect opens a client as production does.
func connect(t *testing.T, addr string, timeout time.Duration) redis.UniversalClient {
	t.Helper()
	client, err := Connect(Connection{Mode: "single", URL: "redis://" + addr, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// newPrefix returns a prefix for one run of a test, so that tests don't see each other's keys in the shared Redis.
func newPrefix(t *testing.T) string { return t.Name() + ":" + rand.Text() + ":" }

// newOn makes a Redis that is closed with the test.
func newOn(t *testing.T, client redis.UniversalClient, o Options) *Redis {
	t.Helper()
	r := New(client, o)
	t.Cleanup(r.Close)
	return r
}

// replicas makes n replicas on one Redis under one prefix, each with its own client.
func replicas(t *testing.T, n int, addr string, o Options) []*Redis {
	t.Helper()
	if o.Prefix == "" {
		o.Prefix = newPrefix(t)
	}
	if o.Timeout == 0 {
		o.Timeout = patient
	}
	all := make([]*Redis, n)
	for i := range all {
		all[i] = newOn(t, connect(t, addr, o.Timeout), o)
	}
	return all
}

// eventually waits until ok holds, and ends the test if that takes too long even for a slow machine.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}

// hook is called with every command of a client. If before returns an error, the command isn't sent, and that is the answer.
type hook struct {
	redis.Hook
	before func(ctx context.Context, cmd redis.Cmder) error // nil: nothing happens
	after  func(cmd redis.Cmder)                            // nil: nothing happens
}

// DialHook implements redis.Hook.
func (hook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements redis.Hook.
func (hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if h.before != nil {
			if err := h.before(ctx, cmd); err != nil {
				cmd.SetErr(err)
				return err
			}
		}
		err := next(ctx, cmd)
		if h.after != nil {
			h.after(cmd)
		}
		return err
	}
}

// runs reports whether cmd runs this script.
func runs(cmd redis.Cmder, script *redis.Script) bool {
	args := cmd.Args()
	return cmd.Name() == "evalsha" && len(args) > 1 && args[1] == script.Hash()
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

// String returns what was written so far.
func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
