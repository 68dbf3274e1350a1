package tokencache

// This file is the fleet's shared memory: what is kept in Redis for a key, and the scripts that change it atomically.
// All names of one key carry the same hash tag, so that a script touches one slot of a Cluster.

import (
	"context"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"roomgate/internal/fleet"
)

// What lies in Redis under <prefix>token:v1:{<id>}: …
//
//	:token    "<generation>:<base64 of the sealed entry>"; the generation in clear is for the fence, the one inside is believed
//	:lock     the holder's random name, for as long as its lease
//	:fence    the greatest generation given out
//	:failure  "<class>:<attempts>" of the last failed fetch, for as long as everybody should back off
//	:refused  the generation that was turned down although fresh
//
// Another version of this layout gets another name: during a rollout the versions ignore each other.
const space = "token:v1:"

// store reads and changes the entries. A nil *store is a fleet of one replica without Redis.
type store struct {
	redis  *fleet.Redis
	use    *fleet.Use
	client redis.UniversalClient // for commands within use.Do
}

func newStore(r *fleet.Redis) *store {
	use := r.Use("tokens", space)
	return &store{redis: r, use: use, client: use.Client()}
}

// name returns the Redis name of a part of the key.
func (s *store) name(k Key, part string) string { return s.use.Key("{" + k.id + "}:" + part) }

// do runs one call about k within the timeout, or not at all while Redis is down.
func (s *store) do(ctx context.Context, k Key, call func(context.Context) error) error {
	return s.use.Do(ctx, s.name(k, "token"), call)
}

// view is what one look at a key has shown.
type view struct {
	token        *Token        // nil: none that opens and lives
	lockLeft     time.Duration // rest of the holder's lease; 0: nobody holds the lock, or it has no end
	failure      *FetchError   // nil: no failure is remembered; RetryAfter is the rest of its backoff
	attempts     int           // failed in a row, where failure is set
	refused      uint64        // generation; 0: none
	refusedUntil time.Time
}

//go:embed load.lua
var loadLua string

var loadScript = redis.NewScript(loadLua)

// load takes one look. An entry that doesn't open is removed on the way.
func (s *store) load(ctx context.Context, k Key) (view, error) {
	before := time.Now()
	var reply []any
	err := s.do(ctx, k, func(ctx context.Context) (err error) {
		reply, err = loadScript.Run(ctx, s.client, []string{
			s.name(k, "token"), s.name(k, "lock"), s.name(k, "failure"), s.name(k, "refused")}).Slice()
		return err
	})
	if err != nil {
		return view{}, fmt.Errorf("look in redis: %w", err)
	}
	if len(reply) != 8 {
		return view{}, errors.New("look in redis: unexpected answer")
	}
	s.redis.LearnClock(reply[0], before)
	var v view
	if raw, _ := reply[1].(string); raw != "" {
		if v.token = s.openToken(k, raw, before, milliseconds(reply[2])); v.token == nil {
			s.evict(ctx, k, raw)
		}
	}
	v.lockLeft = max(0, milliseconds(reply[3]))
	v.failure, v.attempts = readNote(text(reply[4]), milliseconds(reply[5]))
	v.refused, _ = strconv.ParseUint(text(reply[6]), 10, 64)
	v.refusedUntil = before.Add(milliseconds(reply[7]))
	return v, nil
}

// readNote reads a note of failure. One that nobody here would have written does not count: without an end it would
// keep the fleet from ever fetching again.
func readNote(note string, left time.Duration) (failure *FetchError, attempts int) {
	class, count, _ := strings.Cut(note, ":")
	n, err := strconv.ParseUint(count, 10, 31)
	if ours := err == nil && left > 0; !ours {
		return nil, 0
	}
	switch Class(class) {
	case Transient, Throttled, Garbage, Denied:
		return &FetchError{Class: Class(class), RetryAfter: left, Err: errors.New("another replica failed")}, int(n)
	}
	return nil, 0
}

// openToken returns the token of an entry, or nil where it can't be believed. left is the rest of Redis's TTL; the
// sealed expiry can only shorten it.
func (s *store) openToken(k Key, raw string, now time.Time, left time.Duration) *Token {
	clear, box, _ := strings.Cut(raw, ":")
	blob, err := base64.RawStdEncoding.DecodeString(box)
	if err != nil {
		return nil
	}
	in, err := k.open(s.name(k, "token"), blob)
	if err != nil || strconv.FormatUint(in.generation, 10) != clear {
		return nil
	}
	inside := in.expiry.Sub(s.redis.Now())
	if left > 0 {
		inside = min(inside, left)
	}
	if inside <= 0 {
		return nil
	}
	return &Token{value: NewSecret(string(in.value)), expiry: now.Add(inside), life: in.life, generation: in.generation}
}

// foreignLease is how many leases ahead the end of a lock must be for it to be none of a replica, settings being the same
// or nearly so in the fleet.
const foreignLease = 10

//go:embed lock.lua
var lockLua string

var lockScript = redis.NewScript(lockLua)

// lock tries to become the fleet's one fetcher of k. The generation is 0 where another holds the lock; an error is
// neither held nor acquired. A lock without an end, which only a foreign hand can leave, does not count; nor does a
// fence a day ahead of the clock.
func (s *store) lock(ctx context.Context, k Key, owner string, lease time.Duration) (generation uint64, err error) {
	err = s.do(ctx, k, func(ctx context.Context) error {
		answer, err := lockScript.Run(ctx, s.client, []string{s.name(k, "lock"), s.name(k, "fence")}, owner, lease.Milliseconds(), foreignLease).Text()
		if err != nil || answer == "" {
			return err
		}
		generation, err = strconv.ParseUint(answer, 10, 64)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("take the lock: %w", err)
	}
	return generation, nil
}

//go:embed save.lua
var saveLua string

var saveScript = redis.NewScript(saveLua)

// save publishes t and releases the lock if owner still holds it. stored is false where a newer token was present.
func (s *store) save(ctx context.Context, k Key, owner string, t *Token) (stored bool, err error) {
	left := time.Until(t.expiry)
	if left <= 0 {
		_, err := s.release(ctx, k, owner, nil, 0, 0)
		return false, err
	}
	box := k.seal(s.name(k, "token"), sealed{expiry: s.redis.Now().Add(left), life: t.life, generation: t.generation, value: []byte(t.Value())})
	generation := strconv.FormatUint(t.generation, 10)
	err = s.do(ctx, k, func(ctx context.Context) error {
		n, err := saveScript.Run(ctx, s.client, []string{s.name(k, "token"), s.name(k, "lock"), s.name(k, "failure")},
			generation, generation+":"+base64.RawStdEncoding.EncodeToString(box), roundUp(left), owner).Int()
		stored = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("store the token: %w", err)
	}
	return stored, nil
}

//go:embed release.lua
var releaseLua string

var releaseScript = redis.NewScript(releaseLua)

// release gives the lock up; mine is false where owner no longer held it, and then nothing is changed. Where failure is
// set, everybody else learns of it for backoff.
func (s *store) release(ctx context.Context, k Key, owner string, failure *FetchError, attempts int, backoff time.Duration) (mine bool, err error) {
	note, ttl := "", int64(0)
	if failure != nil {
		note, ttl = string(failure.Class)+":"+strconv.Itoa(attempts), roundUp(backoff)
	}
	err = s.do(ctx, k, func(ctx context.Context) error {
		n, err := releaseScript.Run(ctx, s.client, []string{s.name(k, "lock"), s.name(k, "failure")}, owner, note, ttl).Int()
		mine = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("release the lock: %w", err)
	}
	return mine, nil
}

//go:embed drop.lua
var dropLua string

var dropScript = redis.NewScript(dropLua)

// drop removes the token of this generation or an older one, never a newer. Where the fleet remembers the generation as
// refused, it stays, and the rest of that memory is returned.
func (s *store) drop(ctx context.Context, k Key, generation uint64) (refused time.Duration, err error) {
	err = s.do(ctx, k, func(ctx context.Context) error {
		left, err := dropScript.Run(ctx, s.client, []string{s.name(k, "token"), s.name(k, "refused")}, strconv.FormatUint(generation, 10)).Int64()
		refused = time.Duration(left) * time.Millisecond
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("drop the token: %w", err)
	}
	return refused, nil
}

// refuse tells the fleet that this generation was turned down although fresh.
func (s *store) refuse(ctx context.Context, k Key, generation uint64, ttl time.Duration) error {
	return s.do(ctx, k, func(ctx context.Context) error {
		return s.client.Set(ctx, s.name(k, "refused"), strconv.FormatUint(generation, 10), ttl).Err()
	})
}

//go:embed evict.lua
var evictLua string

var evictScript = redis.NewScript(evictLua)

// evict removes an entry that doesn't open, unless it has been replaced since. It is an attempt: who stores next
// overwrites it anyway, unless its clear generation says that it is newer.
func (s *store) evict(ctx context.Context, k Key, raw string) {
	_ = s.do(ctx, k, func(ctx context.Context) error {
		return evictScript.Run(ctx, s.client, []string{s.name(k, "token")}, raw).Err()
	})
}

// roundUp is d in milliseconds, never 0: Redis would read that as an error, or as for ever.
func roundUp(d time.Duration) int64 {
	return max(1, int64((d+time.Millisecond-1)/time.Millisecond))
}

func milliseconds(reply any) time.Duration {
	n, _ := reply.(int64)
	return time.Duration(n) * time.Millisecond
}

func text(reply any) string {
	s, _ := reply.(string)
	return s
}
