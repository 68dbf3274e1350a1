package fleet

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
	// Prefix is the beginning of every key's name. Fleets with different prefixes can share a Redis.
	Prefix string
	// Timeout is the longest that one call waits for Redis. 0: 250 ms.
	Timeout time.Duration
	// Log gets outages, refusals and recoveries, each kind of line at most once in 10 s. Nil: nothing is logged.
	Log *slog.Logger
}

// Redis is the fleet's Redis: the client, its background work and its clock. It is safe for concurrent use. Create it with New
// and end it with Close.
type Redis struct {
	client  redis.UniversalClient
	prefix  string
	timeout time.Duration
	log     *slog.Logger
	// outages and refusals let one log line through in 10 s each. Lines that an outage has begun or ended share outages, so a
	// short outage may be logged without its end.
	outages, refusals rate.Sometimes
	// clock is the last reading of Redis's clock; nil before the first.
	clock atomic.Pointer[reading]

	// base is the context of background work. It ends with Close.
	base   context.Context
	cancel context.CancelFunc
	// wg counts the background work. Add is called with mu held and closed false.
	wg sync.WaitGroup

	// mu guards closed and uses. No other lock is taken while it is held.
	mu     sync.Mutex
	closed bool
	uses   []*Use // one for each space
}

// reading is the time by Redis's clock at a local time. The local time is monotonic: setting the local clock changes nothing.
type reading struct{ redis, local time.Time }

// New returns a Redis that uses client, and closes it in Close. It doesn't wait for Redis.
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

// Close ends the background work, waits for it, and closes the client. Probes stop; the roster takes this replica off, which
// may take one timeout. Calls of Redis fail afterwards.
func (r *Redis) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.cancel()
	r.wg.Wait()
	_ = r.client.Close()
}

// spawn runs f in the background, and Close waits for it. f must return soon after base has ended. After Close it returns false
// and doesn't run f.
func (r *Redis) spawn(f func()) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.wg.Go(f)
	return true
}

// Timeout returns the longest that one call waits for Redis.
func (r *Redis) Timeout() time.Duration { return r.timeout }

// LearnClock sets Redis's clock. reply is the answer to TIME, as a script returns it: seconds and microseconds. asked is the time
// just before the question was sent. Anything that isn't a pair is ignored.
func (r *Redis) LearnClock(reply any, asked time.Time) {
	parts, _ := reply.([]any)
	if len(parts) != 2 {
		return
	}
	seconds, _ := strconv.ParseInt(text(parts[0]), 10, 64)
	micros, _ := strconv.ParseInt(text(parts[1]), 10, 64)
	r.clock.Store(&reading{redis: time.Unix(seconds, micros*1000), local: asked})
}

// Now returns the time by Redis's clock, without asking it. All replicas have the same time, whatever their own clocks say. It may
// be ahead by as long as the last answer to TIME took. Before the first answer it is the local time.
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
	return time.Until(r.Now()), true // by the wall clock: a time from Redis has no monotonic reading
}

// text reads a string; "" if reply is something else.
func text(reply any) string {
	s, _ := reply.(string)
	return s
}

// roundUp returns d in milliseconds, rounded up, at least 1. For Redis a TTL of 0 is an error; on the deny list 0 is no end.
func roundUp(d time.Duration) int64 {
	return max(1, int64((d+time.Millisecond-1)/time.Millisecond))
}
