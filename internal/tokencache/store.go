package tokencache

// This file is the fleet's side of the protocol: each method is one transition of the fleet, which a script makes atomically.
// All names of one key carry the same hash tag, so that a script touches one slot of a Cluster.

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"roomgate/internal/fleet"
)

// What lies in Redis under <prefix>token:v2:{<id>}: …
//
//	:token    an entry: the token, or the tombstone of one that was rejected
//	:lock     the holder's random name, for as long as its lease
//	:fence    the greatest generation given out
//	:failure  an entry: the last failed fetch, for as long as everybody should back off
//	:refused  an entry: the generation that was rejected although it was fetched after a rejection
//
// Entries are sealed: see sealed.go. Another version of this layout gets another name: during a rollout the versions ignore
// each other.
const space = "token:v2:"

// store reads and changes what the fleet shares. A nil *store is a fleet of one replica without Redis. Each method waits for
// one timeout of Redis at most.
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

// view is what one look at a key has shown, within the bounds of what a replica would have written.
type view struct {
	token        *Token        // nil: none that opens and lives
	buried       uint64        // the generation of the tombstone; 0: there is none
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
	v := view{lockLeft: max(0, milliseconds(reply[3]))}
	raw := text(reply[1])
	if v.token, v.buried = s.openToken(k, raw, before, milliseconds(reply[2])); raw != "" && v.token == nil && v.buried == 0 {
		s.evict(ctx, k, "token", raw)
	}
	if left, in := s.note(k, "failure", reply[4], reply[5]); left > 0 {
		v.failure = &FetchError{Class: Class(in.value), RetryAfter: left, Err: errors.New("another replica failed")}
		v.attempts = int(min(in.generation, maxAttempts))
	}
	if left, in := s.note(k, "refused", reply[6], reply[7]); left > 0 {
		v.refused, v.refusedUntil = in.generation, before.Add(left)
	}
	return v, nil
}

// openToken returns the token of an entry, or nil where it can't be believed or lives no longer. Of a tombstone it returns the
// generation. ttl is the rest of Redis's TTL.
func (s *store) openToken(k Key, raw string, now time.Time, ttl time.Duration) (t *Token, buried uint64) {
	if in, err := s.unpack(k, "token", markTombstone, raw); err == nil {
		return nil, in.generation
	}
	in, err := s.unpack(k, "token", markValue, raw)
	left := s.rest(in, ttl)
	if err != nil || left <= 0 {
		return nil, 0
	}
	return &Token{value: NewSecret(string(in.value)), expiry: now.Add(left), life: in.life, generation: in.generation}, 0
}

// note opens a note. What has no end in Redis, or isn't sealed with the key, doesn't count.
func (s *store) note(k Key, part string, raw, ttl any) (left time.Duration, in sealed) {
	in, err := s.unpack(k, part, markValue, text(raw))
	if err != nil || milliseconds(ttl) <= 0 {
		return 0, sealed{}
	}
	return s.rest(in, milliseconds(ttl)), in
}

//go:embed lock.lua
var lockLua string

var lockScript = redis.NewScript(lockLua)

// lock tries to become the fleet's one fetcher of k. The generation is above seen; it is 0 where another holds the lock. An
// error is neither held nor acquired. A lock longer than a lease doesn't count; nor does a fence a day ahead of the clock.
func (s *store) lock(ctx context.Context, k Key, owner string, lease time.Duration, seen uint64) (generation uint64, err error) {
	err = s.do(ctx, k, func(ctx context.Context) error {
		answer, err := lockScript.Run(ctx, s.client, []string{s.name(k, "lock"), s.name(k, "fence")}, owner,
			lease.Milliseconds(), format(seen), format(stride())).Text()
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

// save publishes t and releases the lock if owner still holds it. stored is false where a newer token was present, or one no
// older was rejected.
func (s *store) save(ctx context.Context, k Key, owner string, t *Token) (stored bool, err error) {
	left := time.Until(t.expiry)
	if left <= 0 {
		_, err := s.release(ctx, k, owner, note{})
		return false, err
	}
	entry := s.pack(k, "token", markValue, sealed{life: t.life, generation: t.generation, value: []byte(t.Value())}, left)
	err = s.do(ctx, k, func(ctx context.Context) error {
		n, err := saveScript.Run(ctx, s.client, []string{s.name(k, "token"), s.name(k, "lock"), s.name(k, "failure")},
			format(t.generation), entry, roundUp(left), owner).Int()
		stored = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("store the token: %w", err)
	}
	return stored, nil
}

// note is a failed fetch as the fleet remembers it. The zero value is none.
type note struct {
	class    Class
	attempts int // in a row
	backoff  time.Duration
}

//go:embed release.lua
var releaseLua string

var releaseScript = redis.NewScript(releaseLua)

// release gives the lock up; mine is false where owner no longer held it, and then nothing is changed. Everybody else learns
// of n, unless that is zero, for its backoff.
func (s *store) release(ctx context.Context, k Key, owner string, n note) (mine bool, err error) {
	entry, ttl := "", int64(0)
	if n.class != "" {
		entry, ttl = s.pack(k, "failure", markValue, sealed{generation: uint64(n.attempts), value: []byte(n.class)}, n.backoff), roundUp(n.backoff)
	}
	err = s.do(ctx, k, func(ctx context.Context) error {
		n, err := releaseScript.Run(ctx, s.client, []string{s.name(k, "lock"), s.name(k, "failure")}, owner, entry, ttl).Int()
		mine = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("release the lock: %w", err)
	}
	return mine, nil
}

// tombstoneLife is how late a holder may come and still find that its token is outdated; the fence lives as long.
const tombstoneLife = 30 * 24 * time.Hour

//go:embed drop.lua
var dropLua string

var dropScript = redis.NewScript(dropLua)

// drop buries the token of this generation or an older one, never a newer. Where the fleet remembers the generation as
// refused, it stays, and the rest of that memory is returned. A note of refusal that doesn't open is removed.
func (s *store) drop(ctx context.Context, k Key, generation uint64) (refused time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.redis.Timeout()) // for all steps together
	defer cancel()
	grave := s.pack(k, "token", markTombstone, sealed{generation: generation}, tombstoneLife)
	for range 2 {
		var reply []any
		err := s.do(ctx, k, func(ctx context.Context) (err error) {
			reply, err = dropScript.Run(ctx, s.client, []string{s.name(k, "token"), s.name(k, "refused")},
				format(generation), grave, roundUp(tombstoneLife)).Slice()
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("drop the token: %w", err)
		}
		if len(reply) != 2 || text(reply[0]) == "" {
			return 0, nil
		}
		if left, _ := s.note(k, "refused", reply[0], reply[1]); left > 0 {
			return left, nil
		}
		s.evict(ctx, k, "refused", text(reply[0]))
	}
	return 0, errors.New("drop the token: the note of refusal can't be removed")
}

// refuse tells the fleet that this generation was rejected although it was fetched after a rejection.
func (s *store) refuse(ctx context.Context, k Key, generation uint64, ttl time.Duration) error {
	entry := s.pack(k, "refused", markValue, sealed{generation: generation}, ttl)
	return s.do(ctx, k, func(ctx context.Context) error {
		return s.client.Set(ctx, s.name(k, "refused"), entry, ttl).Err()
	})
}

//go:embed evict.lua
var evictLua string

var evictScript = redis.NewScript(evictLua)

// evict removes what doesn't open, unless it has been replaced since. It is an attempt: who stores next overwrites it anyway,
// unless its clear generation says that it is newer.
func (s *store) evict(ctx context.Context, k Key, part, raw string) {
	_ = s.do(ctx, k, func(ctx context.Context) error {
		return evictScript.Run(ctx, s.client, []string{s.name(k, part)}, raw).Err()
	})
}

func milliseconds(reply any) time.Duration {
	n, _ := reply.(int64)
	return time.Duration(n) * time.Millisecond
}

func text(reply any) string {
	s, _ := reply.(string)
	return s
}

func format(generation uint64) string { return strconv.FormatUint(generation, 10) }
