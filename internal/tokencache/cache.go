package tokencache

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"roomgate/internal/fleet"
)

// Options configures a Cache. Every field may be left zero.
type Options struct {
	// Redis is shared by the fleet. Nil: this replica is the whole fleet. The cache doesn't close it. Each call waits for at
	// most its timeout. All calls of one lookup together wait no longer either, unless it waits for another replica's fetch.
	Redis *fleet.Redis
	// FetchTimeout bounds one call of a fetch function. The lease of the fleet's lock is longer. 0: 5 s.
	FetchTimeout time.Duration
	// RefusedTTL is how long a refused token isn't replaced. A token is refused if it was fetched to replace a rejected one, and is
	// rejected too. 0: 60 s.
	RefusedTTL time.Duration
	// Labels are the names that belong to the values in Key.Labels. Nil: keys have no labels.
	Labels []Label
	// Log gets the first failure of each outage and each refusal. Nil: nothing is logged.
	Log *slog.Logger
	// Metrics is where the package's collectors are registered. Nil: they aren't.
	Metrics prometheus.Registerer
}

// Label is a label that every key has in metrics and logs. Each value makes further time series, so there must be few.
type Label struct {
	// Name is used as it is, in metrics and logs.
	Name string
	// Values lists the values for the metrics' help texts. "": the help texts don't list them.
	Values string
}

// Cache holds the tokens of all keys. It is safe for concurrent use. Create it with New and end it with Close.
type Cache struct {
	store        *store // nil without Redis
	fetchTimeout time.Duration
	redisTimeout time.Duration // 0 without Redis
	refusedTTL   time.Duration
	log          *slog.Logger
	metrics      *metrics
	// flights joins calls that are under way: lookups by the id of their key, rejections by "reject", generation and id.
	flights singleflight.Group
	// started is the zero of entry.asked.
	started time.Time

	// base is the context of flights and timers. It ends with Close; no caller's context ends it.
	base   context.Context
	cancel context.CancelFunc
	// wg counts the work that Close waits for. Add is called with mu held and closed false.
	wg sync.WaitGroup

	// mu guards entries and closed. An entry's mu may be taken while it is held.
	mu      sync.RWMutex
	entries map[string]*entry // by Key.id
	closed  bool
}

// New returns an empty cache. It doesn't wait for Redis. The error is that of registering the metrics.
func New(o Options) (*Cache, error) {
	c := &Cache{
		fetchTimeout: orDefault(o.FetchTimeout, 5*time.Second),
		refusedTTL:   orDefault(o.RefusedTTL, time.Minute),
		log:          o.Log,
		started:      time.Now(),
		entries:      make(map[string]*entry),
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	c.base, c.cancel = context.WithCancel(context.Background())
	if o.Redis != nil {
		c.store, c.redisTimeout = newStore(o.Redis), o.Redis.Timeout()
	}
	c.metrics = newMetrics(o.Labels)
	if o.Metrics != nil {
		if err := c.metrics.register(o.Metrics, c); err != nil {
			c.cancel()
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return c, nil
}

// orDefault returns d, or otherwise if d is 0 or less.
func orDefault(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// Close cancels flights and refreshes and waits until they have ended. How long that takes is up to the fetch functions; for
// Redis it waits for a few timeouts at most. Afterwards tokens in memory are still returned. A lookup that would need a flight
// fails with ErrClosed, or with the key's last failure. Close may be called more than once.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	for _, e := range c.entries {
		e.forget()
	}
	c.mu.Unlock()
	c.cancel()
	c.wg.Wait()
}

// Token returns a valid token for key and the layer that it came from.
//
// With a token in memory it doesn't block. Without one it waits for the key's flight, but never beyond ctx, and not at all
// while the key's last fetch has failed: then it returns that failure. fetch must not be nil. If no token is in memory, it is
// kept and used for all later fetches, those in the background too, until a lookup brings another.
//
// The error is ctx's, ErrClosed or an *Unavailable.
func (c *Cache) Token(ctx context.Context, key Key, fetch Fetch) (*Token, Layer, error) {
	e := c.entry(key)
	now := time.Now()
	e.asked.Store(int64(now.Sub(c.started)))
	if t := e.token.Load(); t.valid(now) {
		e.hits.Inc()
		return t, Memory, nil
	}
	e.remember(fetch)
	if err := e.failing(now); err != nil {
		c.metrics.lookups.WithLabelValues("none", "error").Inc()
		return nil, "", err
	}
	t, layer, err := c.join(ctx, e)
	if err != nil {
		c.metrics.lookups.WithLabelValues("none", "error").Inc()
		return nil, "", err
	}
	c.metrics.lookups.WithLabelValues(string(layer), "hit").Inc()
	return t, layer, nil
}

// known returns the key's entry, or nil if there is none.
func (c *Cache) known(key Key) *entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.entries[key.id]
}

// entry returns the key's entry and creates it if there is none.
func (c *Cache) entry(key Key) *entry {
	if e := c.known(key); e != nil {
		return e
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[key.id]
	if e == nil {
		e = newEntry(key, c.metrics)
		c.entries[key.id] = e
	}
	return e
}

// flightResult is the result of a flight, as the lookups that wait for it get it.
type flightResult struct {
	token *Token
	layer Layer
}

// join waits for the key's flight and starts it if none is under way. The error is as in Token.
func (c *Cache) join(ctx context.Context, e *entry) (*Token, Layer, error) {
	wait, cancel := context.WithTimeout(ctx, c.flightTimeout())
	defer cancel()
	select {
	case <-wait.Done():
		if err := ctx.Err(); err != nil {
			return nil, "", err
		}
		return nil, "", &Unavailable{Class: Transient, RetryAfter: time.Second, Err: wait.Err()}
	case result := <-c.startFlight(e):
		if result.Err != nil {
			return nil, "", result.Err
		}
		in := result.Val.(flightResult)
		return in.token, in.layer, nil
	}
}

// startFlight starts the key's flight unless one is under way. The channel gets its result. It is buffered: a caller may leave.
func (c *Cache) startFlight(e *entry) <-chan singleflight.Result {
	return c.flights.DoChan(e.key.id, func() (any, error) {
		if !c.begin() {
			return nil, ErrClosed
		}
		defer c.wg.Done()
		return c.runFlight(e)
	})
}

// begin announces work that Close waits for. The caller ends it with wg.Done. It returns false, and announces nothing, once
// the cache is closed.
func (c *Cache) begin() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.closed {
		c.wg.Add(1)
	}
	return !c.closed
}

// spawn runs f in the background, and Close waits for it. It returns false, and doesn't run f, once the cache is closed.
func (c *Cache) spawn(f func()) bool {
	if !c.begin() {
		return false
	}
	go func() {
		defer c.wg.Done()
		f()
	}()
	return true
}

// flightTimeout bounds a flight, and so the wait of a caller. In the worst case the lock's holder has died: the flight waits until
// the lease ends, and then fetches itself.
func (c *Cache) flightTimeout() time.Duration { return c.lease() + c.fetchTimeout + 2*c.redisTimeout }

// lease is the TTL of the fleet's lock. It is longer than a fetch with the calls of Redis before and after it. So a holder
// loses the lock only if its process stands still.
func (c *Cache) lease() time.Duration {
	return c.fetchTimeout + 2*c.redisTimeout + 250*time.Millisecond
}
