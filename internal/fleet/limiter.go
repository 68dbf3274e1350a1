package fleet

// This file keeps clients to their rates: for the whole fleet through Redis, or for one replica in memory.

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

// maxLimited bounds the keys of one limit in memory, at about 130 bytes each. An evicted key starts with a full burst.
const maxLimited = 1 << 17

// Limit is a burst, refilled at Burst per Per (GCRA). A Burst of 0 is no limit.
type Limit struct {
	Burst int
	Per   time.Duration
}

// every is the time in which one request is refilled.
func (l Limit) every() time.Duration { return l.Per / time.Duration(l.Burst) }

// LimitError is a request over its limit.
type LimitError struct {
	Name  string // of the limit
	Limit Limit
	// RetryAfter is when the next request may pass; never 0.
	RetryAfter time.Duration
}

// Error implements error.
func (e *LimitError) Error() string { return "over the " + e.Name + " limit" }

// LocalLimiter counts in this process. It is safe for concurrent use.
type LocalLimiter struct {
	name         string
	limit        Limit
	every, burst time.Duration // of one request, and of all that may come at once
	start        time.Time     // buckets count from here
	keys         *lru.Cache[string, *bucket]
}

// NewLocalLimiter returns a limiter that calls itself name in its errors.
func NewLocalLimiter(name string, limit Limit) *LocalLimiter {
	l := &LocalLimiter{name: name, limit: limit, start: time.Now()}
	if limit.Burst > 0 {
		l.every = limit.every()
		l.burst = l.every * time.Duration(limit.Burst)
	}
	l.keys = lru.New(maxLimited, func(_ string, b *bucket) { b.full.Store(evicted) })
	return l
}

// bucket is the count of one key: the time when it is full again, since the limiter's start. The zero value is full.
type bucket struct{ full atomic.Int64 }

// evicted is the count of a bucket that counts no more: the limiter may have another one for its key.
const evicted = -1

// Share remembers where one key of one limiter is counted: with it a request of the key needs no look-up. The zero value is ready.
// It must not be copied, and is safe for concurrent use.
type Share struct{ bucket atomic.Pointer[bucket] }

// Take counts one request of key. The error is a *LimitError. It doesn't block.
func (l *LocalLimiter) Take(key string) error { return l.TakeShare(key, nil) }

// TakeShare is Take for one who keeps the key's share; nil: it is looked up. All shares of one key have one count.
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

// take counts one request (GCRA), or nothing where it has to wait. It doesn't count in a bucket that is evicted.
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

// bucket returns the key's bucket, a full one if there was none.
func (l *LocalLimiter) bucket(key string) *bucket {
	if b, ok := l.keys.Get(key); ok {
		return b
	}
	return l.keys.GetOrAdd(key, new(bucket))
}

// Limiter counts for all replicas. While Redis is out it counts on this replica alone: a lost Redis neither admits
// everybody nor shuts anybody out. It is safe for concurrent use.
type Limiter struct {
	local *LocalLimiter
	use   *Use // nil: each replica counts for itself
}

// NewLimiter returns a limiter that calls itself name in its errors. All replicas' limiters of one name share a count. If r
// is nil, this replica counts for itself.
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

// key is the name of a client's count. It tells nobody who the client is: those are addresses and account ids.
func (l *Limiter) key(client string) string {
	digest := sha256.Sum256([]byte(client))
	return l.local.name + ":" + hex.EncodeToString(digest[:16])
}

// Take counts one request of key in the fleet. The error is a *LimitError or ctx's. It waits for Redis for one timeout at
// most.
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
	// If Redis goes now, this replica's own count begins with what it has admitted, not with another full burst.
	_ = l.local.Take(name)
	return nil
}
