package fleet

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"roomgate/internal/lru"
)

// maxLimited is the number of keys that one limit keeps in memory, at about 130 bytes each. Beyond that the least recently used
// key is evicted, and starts again with a full burst.
const maxLimited = 1 << 17

// Limit allows Burst requests at once, and refills them evenly at Burst per Per (the generic cell rate algorithm, GCRA). A Burst of
// 0 is no limit.
type Limit struct {
	Burst int
	Per   time.Duration
}

// every is the time in which one request is refilled. Burst must not be 0.
func (l Limit) every() time.Duration { return l.Per / time.Duration(l.Burst) }

// LimitError is the error of a request that is over a limit.
type LimitError struct {
	// Name is the limiter's name.
	Name  string
	Limit Limit
	// RetryAfter is how long to wait until a request can pass; over 0.
	RetryAfter time.Duration
}

// Error implements error.
func (e *LimitError) Error() string { return "over the " + e.Name + " limit" }

// LocalLimiter applies one limit to each key, counted on this replica alone. Create it with NewLocalLimiter. It is safe for
// concurrent use and never blocks.
type LocalLimiter struct {
	name  string
	limit Limit
	// every is the time in which one request is refilled, burst the time for all of them. 0 without a limit.
	every, burst time.Duration
	// start is the zero of all buckets.
	start time.Time
	keys  *lru.Cache[string, *bucket]
}

// NewLocalLimiter returns a limiter. name is for its errors.
func NewLocalLimiter(name string, limit Limit) *LocalLimiter {
	l := &LocalLimiter{name: name, limit: limit, start: time.Now()}
	if limit.Burst > 0 {
		l.every = limit.every()
		l.burst = l.every * time.Duration(limit.Burst)
	}
	l.keys = lru.New(maxLimited, func(_ string, b *bucket) { b.full.Store(evicted) })
	return l
}

// bucket is the count of one key. full is when the whole burst is available again, in nanoseconds since the limiter's start; if
// that is past, it is available now.
type bucket struct{ full atomic.Int64 }

// evicted is the value of bucket.full after the bucket was evicted. The limiter may have a new bucket for its key.
const evicted = -1

// Share caches the bucket of one key in one LocalLimiter, to save a look-up with each request. Use it for that key and that limiter
// only. The zero value is ready. It is safe for concurrent use and must not be copied.
type Share struct{ bucket atomic.Pointer[bucket] }

// Take counts one request of key. The error is a *LimitError; then the request isn't counted.
func (l *LocalLimiter) Take(key string) error { return l.TakeShare(key, nil) }

// TakeShare is Take for a caller that keeps the key's Share. With nil it looks the key up. All shares of a key have the same count.
func (l *LocalLimiter) TakeShare(key string, share *Share) error {
	if l.limit.Burst == 0 {
		return nil
	}
	if share == nil {
		share = new(Share)
	}
	wait, counts := time.Duration(0), false
	for b, now := share.bucket.Load(), time.Since(l.start); !counts; {
		if b == nil || b.full.Load() == evicted {
			b = l.bucket(key)
			share.bucket.Store(b)
		}
		wait, counts = l.take(b, now)
	}
	if wait > 0 {
		return &LimitError{Name: l.name, Limit: l.limit, RetryAfter: wait}
	}
	return nil
}

// take counts one request at now, or returns how long to wait until one can pass. counts is false if b is evicted: then nothing was
// counted, and the caller needs the key's new bucket.
func (l *LocalLimiter) take(b *bucket, now time.Duration) (wait time.Duration, counts bool) {
	for {
		full := b.full.Load()
		if full == evicted {
			return 0, false
		}
		next := max(time.Duration(full), now) + l.every
		if wait := next - now - l.burst; wait > 0 {
			return wait, true
		}
		if b.full.CompareAndSwap(full, int64(next)) {
			return 0, true
		}
	}
}

// bucket returns the key's bucket. If there is none, it adds one with a full burst.
func (l *LocalLimiter) bucket(key string) *bucket {
	if b, ok := l.keys.Get(key); ok {
		return b
	}
	return l.keys.GetOrAdd(key, new(bucket))
}

// Limiter applies one limit to each client, counted in Redis for all replicas together. If Redis fails, each replica
// applies the limit on its own. It is safe for concurrent use.
type Limiter struct {
	local *LocalLimiter
	use   *Use // nil: each replica counts for itself
}

// NewLimiter returns a limiter. name is for its errors and for its keys in Redis: limiters with the same name, on all
// replicas, share their counts and must have the same limit. If r is nil, this replica counts alone.
func NewLimiter(r *Redis, name string, limit Limit) *Limiter {
	l := &Limiter{local: NewLocalLimiter(name, limit)}
	if r != nil {
		l.use = r.Use("rate limits", "limit:")
	}
	return l
}

//go:embed limiter_take.lua
var takeLua string

var takeScript = redis.NewScript(takeLua)

// key returns the name of a client's count, after the use's space. Clients are named by address or account id, so it has only a
// hash of the name.
func (l *Limiter) key(client string) string {
	digest := sha256.Sum256([]byte(client))
	return l.local.name + ":" + hex.EncodeToString(digest[:16])
}

// Take counts one request of key, a client's name. The error is a *LimitError, or ctx's if that has ended: then the request may
// have been counted. It waits for Redis for at most one timeout.
func (l *Limiter) Take(ctx context.Context, key string) error {
	if l.local.limit.Burst == 0 {
		return nil
	}
	name := l.key(key)
	if l.use == nil {
		return l.local.Take(name)
	}
	var wait int64
	err := l.use.Do(ctx, l.use.Key(name), func(ctx context.Context) (err error) {
		every := max(1, l.local.every.Microseconds())
		wait, err = takeScript.Run(ctx, l.use.Client(), []string{l.use.Key(name)}, every, l.local.limit.Burst).Int64()
		return err
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return l.local.Take(name)
	case wait > 0:
		return &LimitError{Name: l.local.name, Limit: l.local.limit, RetryAfter: time.Duration(wait) * time.Microsecond}
	}
	// Count here too. If Redis fails next, this replica goes on from its own count, and not with another full burst.
	_ = l.local.Take(name)
	return nil
}
