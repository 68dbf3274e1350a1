package tokencache

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"roomgate/internal/fleet"
	"roomgate/internal/sandbox"
	"roomgate/internal/secret"
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

// patient is a RedisTimeout for tests in which a slow machine must not look like a slow Redis.
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

// onClient puts a circuit around a client until the test ends.
func onClient(t *testing.T, client redis.UniversalClient, o fleet.Options) *fleet.Redis {
	t.Helper()
	r := fleet.New(client, o)
	t.Cleanup(r.Close)
	return r
}

// connect opens a client as production does and closes it with the test.
func connect(t *testing.T, addr string, timeout time.Duration) redis.UniversalClient {
	t.Helper()
	client, err := fleet.Connect(fleet.Connection{Mode: "single", URL: "redis://" + addr, Timeout: timeout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// newPrefix returns a prefix for one run of a test, so that tests don't see each other's keys in the shared Redis.
func newPrefix(t *testing.T) string { return t.Name() + ":" + rand.Text() + ":" }

// newCache makes a cache whose keys have two labels. It is closed with the test.
func newCache(t testing.TB, o Options) *Cache {
	t.Helper()
	o.Labels = []Label{{Name: "account"}, {Name: "rank", Values: "first, second"}}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// newFleet makes n replicas: caches on one Redis under one prefix, each with its own client. on has options for the Redis, at
// most one.
func newFleet(t *testing.T, n int, addr string, o Options, on ...fleet.Options) []*Cache {
	t.Helper()
	var ro fleet.Options
	if len(on) > 0 {
		ro = on[0]
	}
	if ro.Prefix == "" {
		ro.Prefix = newPrefix(t)
	}
	if ro.Timeout == 0 {
		ro.Timeout = patient
	}
	replicas := make([]*Cache, n)
	for i := range replicas {
		o.Redis = onClient(t, connect(t, addr, ro.Timeout), ro)
		replicas[i] = newCache(t, o)
	}
	return replicas
}

// newKey makes a key with two labels.
func newKey(t testing.TB, text string, scope ...string) Key {
	t.Helper()
	k, err := NewKey(secret.New(text), scope...)
	if err != nil {
		t.Fatal(err)
	}
	k.Labels, k.AskedLife = []string{"main", "first"}, time.Hour
	return k
}

// issuer stands for the issuer of tokens. Its fields are set before use; later changes go through its methods.
type issuer struct {
	life  time.Duration
	takes time.Duration         // how long a fetch takes
	same  bool                  // it always issues the same token
	until bool                  // it issues the same token until that expires
	gate  chan struct{}         // a fetch waits until it is closed; nil: it doesn't wait
	began func(context.Context) // called at the beginning of each fetch

	mu    sync.Mutex
	err   error
	times []time.Time // when each fetch began
}

// fetch is a Fetch.
func (i *issuer) fetch(ctx context.Context) (Issued, error) {
	i.mu.Lock()
	i.times = append(i.times, time.Now())
	n := len(i.times)
	i.mu.Unlock()
	if i.began != nil {
		i.began(ctx)
	}
	if i.gate != nil {
		select {
		case <-i.gate:
		case <-ctx.Done():
			return Issued{}, ctx.Err()
		}
	}
	if i.takes > 0 {
		if err := fleet.Sleep(ctx, i.takes); err != nil {
			return Issued{}, err
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.err != nil {
		return Issued{}, i.err
	}
	switch {
	case i.same:
		n = 1
	case i.until:
		n = 1 + int(time.Since(i.times[0])/i.life)
	}
	return Issued{Value: secret.New(fmt.Sprintf("access-token-%d", n)), Life: i.life}, nil
}

// fail makes every later fetch end with err; nil ends that.
func (i *issuer) fail(err error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.err = err
}

// calls returns how many fetches have begun.
func (i *issuer) calls() int { return len(i.fetches()) }

// fetches returns when each fetch began.
func (i *issuer) fetches() []time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]time.Time(nil), i.times...)
}

// failure is a FetchError of a class.
func failure(class Class) *FetchError {
	return &FetchError{Class: class, Err: errors.New("the issuer says no")}
}

// take looks a token up. It ends the test if there is none.
func take(t *testing.T, c *Cache, k Key, fetch Fetch) (*Token, Layer) {
	t.Helper()
	token, layer, err := c.Token(t.Context(), k, fetch)
	if err != nil {
		t.Fatalf("lookup failed: %v", err)
	}
	if !time.Now().Before(token.Expiry()) {
		t.Fatalf("handed out a token that expired %v ago", time.Since(token.Expiry()))
	}
	return token, layer
}

// takeFrom is take for a token that must come from a given layer.
func takeFrom(t *testing.T, want Layer, c *Cache, k Key, fetch Fetch) *Token {
	t.Helper()
	token, layer := take(t, c, k, fetch)
	if layer != want {
		t.Fatalf("the token came from %s, want %s", layer, want)
	}
	return token
}

// denied looks a token up and ends the test if there is one, or another error than an *Unavailable of this class.
func denied(t *testing.T, want Class, c *Cache, k Key, fetch Fetch) *Unavailable {
	t.Helper()
	_, _, err := c.Token(t.Context(), k, fetch)
	return unavailable(t, want, err)
}

// unavailable ends the test unless err is an *Unavailable of this class with a RetryAfter.
func unavailable(t *testing.T, want Class, err error) *Unavailable {
	t.Helper()
	u, ok := errors.AsType[*Unavailable](err)
	if !ok || u.Class != want {
		t.Fatalf("error is %v, want an *Unavailable of class %s", err, want)
	}
	if u.RetryAfter < time.Second {
		t.Fatalf("RetryAfter is %v, want at least a second", u.RetryAfter)
	}
	return u
}

// calledTimes ends the test unless exactly n fetches have begun.
func calledTimes(t *testing.T, i *issuer, n int) {
	t.Helper()
	if got := i.calls(); got != n {
		t.Fatalf("%d fetches, want %d", got, n)
	}
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
