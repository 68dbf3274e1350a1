package proxy

// This file keeps members and those who try passwords to their rates: logins for the whole fleet through Redis, rooms on
// each replica in memory.

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"
)

// maxLimited bounds the keys of one limit in memory, at about 300 bytes each. An evicted key starts with a full burst.
const maxLimited = 50_000

// Limit is a burst, refilled at Burst per Per (GCRA). The zero value is no limit.
type Limit struct {
	Burst int
	Per   time.Duration
}

// every is the time in which one request is refilled.
func (l Limit) every() time.Duration { return l.Per / time.Duration(l.Burst) }

// limitError is a request over its limit.
type limitError struct {
	name       string // of the limit, in RateLimit fields and metrics
	limit      Limit
	retryAfter time.Duration
}

// Error implements error.
func (e *limitError) Error() string { return "over the " + e.name + " limit" }

// localLimiter counts in this process. It is safe for concurrent use.
type localLimiter struct {
	name  string
	limit Limit
	keys  *lru.Cache[string, *rate.Limiter]
}

func newLocalLimiter(name string, limit Limit) (*localLimiter, error) {
	keys, err := lru.New[string, *rate.Limiter](maxLimited)
	if err != nil {
		return nil, fmt.Errorf("limit %s: %w", name, err)
	}
	return &localLimiter{name: name, limit: limit, keys: keys}, nil
}

// take counts one request of key. The error is a *limitError.
func (l *localLimiter) take(key string) error {
	if l.limit.Burst == 0 {
		return nil
	}
	// Not Reserve and Cancel: of those that are refused at the same time, Cancel gives only the last one's back.
	bucket, now := l.bucket(key), time.Now()
	if bucket.AllowN(now, 1) {
		return nil
	}
	missing := 1 - bucket.TokensAt(now)
	wait := max(1, time.Duration(missing*float64(l.limit.every())))
	return &limitError{name: l.name, limit: l.limit, retryAfter: wait}
}

// bucket returns that of key, a full one where there was none.
func (l *localLimiter) bucket(key string) *rate.Limiter {
	bucket, ok := l.keys.Get(key)
	if !ok {
		bucket = rate.NewLimiter(rate.Every(l.limit.every()), l.limit.Burst)
		if earlier, raced, _ := l.keys.PeekOrAdd(key, bucket); raced {
			bucket = earlier
		}
	}
	return bucket
}

// Redis is how the fleet's limits reach Redis.
type Redis struct {
	// Client runs the script. Nil: each replica counts for itself.
	Client redis.UniversalClient
	// Prefix begins every key.
	Prefix string
	// Guarded runs a call within the time that a request may wait for Redis, or refuses it while Redis is known to be down.
	Guarded func(ctx context.Context, call func(context.Context) error) error
}

// fleetLimiter counts for all replicas, and on this one alone while Redis is out: a lost Redis neither opens nor closes
// the way.
type fleetLimiter struct {
	local *localLimiter
	redis Redis
}

func newFleetLimiter(name string, limit Limit, r Redis) (*fleetLimiter, error) {
	local, err := newLocalLimiter(name, limit)
	if err != nil {
		return nil, err
	}
	return &fleetLimiter{local: local, redis: r}, nil
}

// gcra keeps the time at which the key's bucket will be full again, in microseconds of Redis's clock, and answers the
// wait in microseconds; 0 admits. redis_rate does the same, but under key names of its own, out of REDIS_KEY_PREFIX and
// so out of an ACL that goes by it.
var gcra = redis.NewScript(`
local every, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local full = redis.pcall('GET', KEYS[1])
full = type(full) == 'string' and tonumber(full) or now
local fullest = now + every * burst
if not (full <= fullest) then -- nothing that this script wrote; it drains from here
  full = fullest
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
end
full = math.max(full, now) + every
local wait = full - every * burst - now
if wait > 0 then return math.ceil(wait) end
redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', math.ceil((full - now) / 1000))
return 0`)

// take counts one request of key in the fleet. The error is a *limitError or ctx's.
func (l *fleetLimiter) take(ctx context.Context, key string) error {
	if l.local.limit.Burst == 0 {
		return nil
	}
	// Keys are addresses and account ids: names in Redis tell neither.
	digest := sha256.Sum256([]byte(key))
	name := l.redis.Prefix + "limit:" + l.local.name + ":" + hex.EncodeToString(digest[:16])
	if l.redis.Client == nil {
		return l.local.take(name)
	}
	var wait int64
	err := l.redis.Guarded(ctx, func(ctx context.Context) (err error) {
		every := max(1, l.local.limit.every().Microseconds())
		wait, err = gcra.Run(ctx, l.redis.Client, []string{name}, every, l.local.limit.Burst).Int64()
		return err
	})
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return l.local.take(name)
	case wait > 0:
		return &limitError{name: l.local.name, limit: l.local.limit, retryAfter: time.Duration(wait) * time.Microsecond}
	}
	// Should Redis go now, this replica's own count begins with what it has admitted, and not with another full burst.
	l.local.bucket(name).Allow()
	return nil
}

// policy and state are the IETF's RateLimit fields (draft-ietf-httpapi-ratelimit-headers).
func (e *limitError) policy() string {
	return fmt.Sprintf("%q;q=%d;w=%d", e.name, e.limit.Burst, int(math.Ceil(e.limit.Per.Seconds())))
}

func (e *limitError) state() string {
	return fmt.Sprintf("%q;r=0;t=%d", e.name, int(math.Ceil(e.retryAfter.Seconds())))
}
