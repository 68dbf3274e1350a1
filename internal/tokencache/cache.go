package tokencache

// This file is the way in: Options, New, the lookup with its fast path, and Close.

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
	// Redis is shared by the fleet. Nil: this replica is the whole fleet. The cache doesn't close it. A lookup never waits
	// for it longer than its timeout.
	Redis *fleet.Redis
	// FetchTimeout bounds one fetch; the fleet lock outlives it. 0: 5 s.
	FetchTimeout time.Duration
	// RefusedTTL is how long a token that was rejected although it was fetched after a rejection is not replaced. 0: 60 s.
	RefusedTTL time.Duration
	// Labels name the values of Key.Labels. Nil: keys have no labels.
	Labels []Label
	// Log takes what an operator should know. Nil: nothing is logged.
	Log *slog.Logger
	// Metrics takes the package's collectors. Nil: they are not registered.
	Metrics prometheus.Registerer
}

// Label is a label of every key, in metrics and logs. All its values together must be few.
type Label struct {
	Name string
	// Values lists the values for the metrics' help texts. "": the help texts don't list them.
	Values string
}

// Cache holds the tokens of all keys. It is safe for concurrent use. Make one with New and end it with Close.
type Cache struct {
	store        *store // nil without Redis
	fetchTimeout time.Duration
	redisTimeout time.Duration // 0 without Redis
	refusedTTL   time.Duration
	log          *slog.Logger
	metrics      *metrics
	flights      singleflight.Group
	started      time.Time

	base   context.Context // ends with Close; flights and timers live on it, not on a caller's
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.RWMutex // guards what follows; an entry's lock may be taken while it is held
	entries map[string]*entry
	closed  bool
}

// New returns an empty cache. It doesn't wait for Redis.
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

func orDefault(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// Close ends the background work and waits for it. Tokens in memory are still handed out; what needs a flight fails
// with ErrClosed.
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

// Token returns a valid token for key and the layer that it came from. Without one in memory it waits for the key's
// flight, but never beyond ctx, and not at all while a failed fetch is remembered. fetch is kept for refreshes in the
// background. The error is ctx's, ErrClosed or an *Unavailable.
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

// known finds the key's entry; nil: there is none.
func (c *Cache) known(key Key) *entry {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.entries[key.id]
}

// entry finds or makes the key's entry.
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

// landed is what a flight gives to those who wait for it.
type landed struct {
	token *Token
	layer Layer
}

// join waits for the key's flight, starting it if none is in the air.
func (c *Cache) join(ctx context.Context, e *entry) (*Token, Layer, error) {
	patience, cancel := context.WithTimeout(ctx, c.patience())
	defer cancel()
	select {
	case <-patience.Done():
		if err := ctx.Err(); err != nil {
			return nil, "", err
		}
		return nil, "", &Unavailable{Class: Transient, RetryAfter: time.Second, Err: patience.Err()}
	case result := <-c.launch(e):
		if result.Err != nil {
			return nil, "", result.Err
		}
		in := result.Val.(landed)
		return in.token, in.layer, nil
	}
}

// launch starts the key's flight, or gives the one in the air.
func (c *Cache) launch(e *entry) <-chan singleflight.Result {
	return c.flights.DoChan(e.key.id, func() (any, error) {
		if !c.begin() {
			return nil, ErrClosed
		}
		defer c.wg.Done()
		return c.fly(e)
	})
}

// begin announces work that Close will wait for; false once the cache is closed.
func (c *Cache) begin() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.closed {
		c.wg.Add(1)
	}
	return !c.closed
}

// spawn runs f in the background; false once the cache is closed.
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

// patience is the longest that a flight, and so a waiting caller, can take: a lease left behind by a holder that died,
// and a fetch of its own after that.
func (c *Cache) patience() time.Duration { return c.lease() + c.fetchTimeout + 2*c.redisTimeout }

// lease outlives a fetch and the store after it, so that a living holder never loses the lock.
func (c *Cache) lease() time.Duration {
	return c.fetchTimeout + 2*c.redisTimeout + 250*time.Millisecond
}
