package fleet

// This file is the Redis that all uses share: its background work, and its clock.

import (
	"context"
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
	// outages and refusals limit log lines to one of each in 10 s, however often Redis comes and goes.
	outages, refusals rate.Sometimes
	// clock is the last reading of Redis's clock; nil before the first.
	clock atomic.Pointer[reading]

	base   context.Context // ends with Close; background work lives on it
	cancel context.CancelFunc
	wg     sync.WaitGroup // background work; Add is called with mu held and closed false

	mu     sync.Mutex // guards what follows; no other lock is taken while it is held
	closed bool
	uses   []*Use
}

// reading is Redis's time at a local moment. The local one is monotonic: a step of the local clock changes nothing.
type reading struct{ redis, local time.Time }

// New returns the fleet's Redis behind client, which it closes in the end. It doesn't wait for Redis.
func New(client redis.UniversalClient, o Options) *Redis {
	r := &Redis{
		client: client, prefix: o.Prefix, timeout: o.Timeout, log: o.Log,
		outages: rate.Sometimes{First: 1, Interval: 10 * time.Second}, refusals: rate.Sometimes{First: 1, Interval: 10 * time.Second},
	}
	if r.timeout <= 0 {
		r.timeout = 250 * time.Millisecond
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.base, r.cancel = context.WithCancel(context.Background())
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

// Ahead returns how far Redis's clock is ahead of this machine's, to within a round trip. known is false before the first answer of
// Redis.
func (r *Redis) Ahead() (d time.Duration, known bool) {
	if r.clock.Load() == nil {
		return 0, false
	}
	return time.Until(r.Now()), true // by the wall clock: what Redis says has no other
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
