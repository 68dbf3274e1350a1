package fleet

// This file keeps clients to their rates: for the whole fleet through Redis, or for one replica in memory.

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"
)

// maxLimited bounds the keys of one limit in memory, at about 300 bytes each. An evicted key starts with a full burst.
const maxLimited = 50_000

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
	name  string
	limit Limit
	keys  *lru.Cache[string, *rate.Limiter]
}

// NewLocalLimiter returns a limiter that calls itself name in its errors.
func NewLocalLimiter(name string, limit Limit) (*LocalLimiter, error) {
	keys, err := lru.New[string, *rate.Limiter](maxLimited)
	if err != nil {
		return nil, fmt.Errorf("limit %s: %w", name, err)
	}
	return &LocalLimiter{name: name, limit: limit, keys: keys}, nil
}

// Take counts one request of key. The error is a *LimitError. It doesn't block.
func (l *LocalLimiter) Take(key string) error {
	if l.limit.Burst == 0 {
		return nil
	}
	// Not Reserve and Cancel: of those refused at the same time, Cancel gives back only the last one's.
	bucket, now := l.bucket(key), time.Now()
	if bucket.AllowN(now, 1) {
		return nil
	}
	missing := 1 - bucket.TokensAt(now)
	wait := max(1, time.Duration(missing*float64(l.limit.every())))
	return &LimitError{Name: l.name, Limit: l.limit, RetryAfter: wait}
}

// bucket returns the key's bucket, a full one if there was none.
func (l *LocalLimiter) bucket(key string) *rate.Limiter {
	bucket, ok := l.keys.Get(key)
	if !ok {
		bucket = rate.NewLimiter(rate.Every(l.limit.every()), l.limit.Burst)
		if earlier, raced, _ := l.keys.PeekOrAdd(key, bucket); raced {
			bucket = earlier
		}
	}
	return bucket
}

// Limiter counts for all replicas. While Redis is out it counts on this replica alone: a lost Redis neither admits
// everybody nor shuts anybody out. It is safe for concurrent use.
type Limiter struct {
	local *LocalLimiter
	use   *Use // nil: each replica counts for itself
}

// NewLimiter returns a limiter that calls itself name in its errors. All replicas' limiters of one name share a count. If r
// is nil, this replica counts for itself.
func NewLimiter(r *Redis, name string, limit Limit) (*Limiter, error) {
	local, err := NewLocalLimiter(name, limit)
	if err != nil {
		return nil, err
	}
	l := &Limiter{local: local}
	if r != nil {
		l.use = r.Use("rate limits", "limit:")
	}
	return l, nil
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
		every := max(1, l.local.limit.every().Microseconds())
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
	l.local.bucket(name).Allow()
	return nil
}
