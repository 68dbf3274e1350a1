package fleet

// This file bounds and guards every call of Redis, and keeps Redis's clock.

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"
)

// Options configures a Redis. Every field may be left zero.
type Options struct {
	// Prefix begins every key.
	Prefix string
	// Timeout is the most that one call waits for Redis. 0: 250 ms.
	Timeout time.Duration
	// Log takes what an operator should know. Nil: nothing is logged.
	Log *slog.Logger
}

// Redis is the fleet's Redis. It is safe for concurrent use. Make one with New and end it with Close.
type Redis struct {
	client  redis.UniversalClient
	prefix  string
	timeout time.Duration
	log     *slog.Logger
	circuit *circuit
	// talk limits log lines to one in 10 s, however often Redis comes and goes.
	talk rate.Sometimes
	// clock is the last reading of Redis's clock; nil before the first.
	clock atomic.Pointer[reading]

	base   context.Context // ends with Close; background work lives on it
	cancel context.CancelFunc
	wg     sync.WaitGroup // background work; Add is called with mu held and closed false

	mu     sync.Mutex // guards closed
	closed bool
}

// reading is Redis's time at a local moment. The local one is monotonic: a step of the local clock changes nothing.
type reading struct{ redis, local time.Time }

// New puts a circuit around client. It doesn't wait for Redis.
func New(client redis.UniversalClient, o Options) *Redis {
	r := &Redis{
		client: client, prefix: o.Prefix, timeout: o.Timeout, log: o.Log,
		talk: rate.Sometimes{First: 1, Interval: 10 * time.Second},
	}
	if r.timeout <= 0 {
		r.timeout = 250 * time.Millisecond
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.base, r.cancel = context.WithCancel(context.Background())
	r.circuit = &circuit{redis: r}
	// The first caller finds a connection, and an operator learns at once of a Redis that isn't there.
	r.spawn(func() { r.circuit.record(r.probe(r.base)) })
	return r
}

// Close ends the background work, waits for it and closes the client.
func (r *Redis) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.wg.Wait()
	_ = r.client.Close()
}

// spawn runs f in the background; false after Close.
func (r *Redis) spawn(f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.wg.Go(f)
	return true
}

// Timeout returns the most that one call waits for Redis.
func (r *Redis) Timeout() time.Duration { return r.timeout }

// Use is one kind of data in Redis.
type Use struct {
	redis *Redis
	space string
}

// Use returns the use whose keys begin with space, after the fleet's own prefix.
func (r *Redis) Use(space string) *Use { return &Use{redis: r, space: space} }

// Key returns the name in Redis of what the use calls rest.
func (u *Use) Key(rest string) string { return u.redis.prefix + u.space + rest }

// Client is what the function of Do sends its commands with.
func (u *Use) Client() redis.UniversalClient { return u.redis.client }

// Do runs call, whose commands concern key, within the timeout. It doesn't run call while Redis is known to be down: then
// the error is ErrOutage. Otherwise the error is call's, or ctx's where that has ended before. A call that fails counts
// against Redis, unless ctx was cancelled: an impatient caller isn't Redis's fault.
func (u *Use) Do(ctx context.Context, key string, call func(context.Context) error) error {
	_ = key
	c := u.redis.circuit
	if c.outage() != nil {
		return ErrOutage
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, u.redis.timeout)
	defer cancel()
	err := call(limited)
	if err == nil || !errors.Is(ctx.Err(), context.Canceled) {
		c.record(err)
	}
	return err
}

// Outage returns why Redis is known to be down, or nil.
func (u *Use) Outage() error { return u.redis.circuit.outage() }

//go:embed probe.lua
var probeLua string

var probeScript = redis.NewScript(probeLua)

// probe proves that Redis runs scripts and takes writes: a read-only Redis answers PING.
func (r *Redis) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	if err := probeScript.Run(ctx, r.client, []string{r.prefix + "probe"}).Err(); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	return nil
}

// LearnClock takes a script's answer to TIME. The question was sent at asked. An answer that makes no sense is ignored.
func (r *Redis) LearnClock(reply any, asked time.Time) {
	parts, _ := reply.([]any)
	if len(parts) != 2 {
		return
	}
	seconds, _ := strconv.ParseInt(text(parts[0]), 10, 64)
	micros, _ := strconv.ParseInt(text(parts[1]), 10, 64)
	r.clock.Store(&reading{redis: time.Unix(seconds, micros*1000), local: asked})
}

// Now returns the time by Redis's clock. It is the same for all replicas, however wrong their own clocks are. Before the
// first answer of Redis it is the local time.
func (r *Redis) Now() time.Time {
	if known := r.clock.Load(); known != nil {
		return known.redis.Add(time.Since(known.local))
	}
	return time.Now()
}

// text is a reply that is a string; "" for any other.
func text(reply any) string {
	s, _ := reply.(string)
	return s
}

// roundUp is d in milliseconds. It is never 0: Redis would read that as an error, or as for ever.
func roundUp(d time.Duration) int64 {
	return max(1, int64((d+time.Millisecond-1)/time.Millisecond))
}
