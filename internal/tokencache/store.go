package tokencache

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"strconv"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"roomgate/internal/fleet"
	"roomgate/internal/secret"
)

// space begins the names of all keys in Redis, after the fleet's prefix. One key has these, as <prefix>token:v2:{<id>}:token and
// so on:
//
//	:token    an entry: the token, or the tombstone of a rejected one
//	:lock     the random name of the lock's holder; its TTL is the lease
//	:fence    the greatest generation so far
//	:failure  an entry, the note of the last failed fetch; its TTL is the backoff
//	:refused  an entry, the note of a refused generation; its TTL is Options.RefusedTTL
//
// Entries are sealed: see sealed.go. The {<id>} is a hash tag: it keeps all names of a key in one slot of a cluster, so that
// one script can use them. If this layout changes, so does its version; replicas of two versions share nothing.
const space = "token:v2:"

// store is the state that the fleet shares. Each method that changes it is one transition, made by one script or command. Each call
// of Redis waits for at most one timeout. load makes a second call if it finds an entry that doesn't open. save and release make
// one if the connection breaks. Every error but fleet.ErrOutage and that of ctx means that Redis has failed. It is safe for
// concurrent use.
type store struct {
	redis  *fleet.Redis
	use    *fleet.Use
	client redis.UniversalClient // only for use within do
}

// newStore returns the store in r. It doesn't wait for Redis.
func newStore(r *fleet.Redis) *store {
	use := r.Use("tokens", space)
	return &store{redis: r, use: use, client: use.Client()}
}

// name returns the name in Redis of a part of k: "token", "lock", "fence", "failure" or "refused".
func (s *store) name(k Key, part string) string { return s.use.Key("{" + k.id + "}:" + part) }

// do runs one call about k within the timeout. While Redis is known to be down it runs nothing and returns fleet.ErrOutage.
func (s *store) do(ctx context.Context, k Key, call func(context.Context) error) error {
	return s.use.Do(ctx, s.name(k, "token"), call)
}

// view is the result of one look at a key in Redis. Somebody else may have written there: no time in it is longer than a replica would
// have written, except lockLeft.
type view struct {
	// token is nil if there is none, or none that opens and hasn't expired.
	token *Token
	// tombstone is the generation of the tombstone. 0: there is none.
	tombstone uint64
	// lockLeft is the lock's TTL. 0: there is no lock, or it has no TTL. It may be longer than a lease, if somebody else has
	// written it.
	lockLeft time.Duration
	// failure is the note of the last failed fetch. Its RetryAfter is the rest of the backoff. nil: there is no note.
	failure *FetchError
	// attempts is the number of failed fetches in a row; 0 without a failure.
	attempts int
	// note is the failure's note as Redis has it.
	note string
	// refused is the generation that isn't to be replaced before refusedUntil. 0: there is none.
	refused      uint64
	refusedUntil time.Time
}

//go:embed load.lua
var loadLua string

var loadScript = redis.NewScript(loadLua)

// load reads all parts of k at one moment. It changes nothing, except that it removes a token's entry that doesn't open. It also
// sets the fleet's clock from the answer.
func (s *store) load(ctx context.Context, k Key) (view, error) {
	before := time.Now()
	var reply []any
	err := s.do(ctx, k, func(ctx context.Context) (err error) {
		reply, err = loadScript.Run(ctx, s.client, []string{
			s.name(k, "token"), s.name(k, "lock"), s.name(k, "failure"), s.name(k, "refused")}).Slice()
		return err
	})
	if err != nil {
		return view{}, fmt.Errorf("read redis: %w", err)
	}
	if len(reply) != 8 {
		return view{}, errors.New("read redis: unexpected answer")
	}
	s.redis.LearnClock(reply[0], before)
	v := view{lockLeft: max(0, milliseconds(reply[3]))}
	raw := text(reply[1])
	if v.token, v.tombstone = s.openToken(k, raw, before, milliseconds(reply[2])); raw != "" && v.token == nil && v.tombstone == 0 {
		s.evict(ctx, k, "token", raw)
	}
	if left, in := s.openNote(k, "failure", reply[4], reply[5]); left > 0 {
		v.failure = &FetchError{Class: Class(in.value), RetryAfter: left, Err: errors.New("another replica failed")}
		v.attempts, v.note = int(min(in.generation, maxAttempts)), text(reply[4])
	}
	if left, in := s.openNote(k, "refused", reply[6], reply[7]); left > 0 {
		v.refused, v.refusedUntil = in.generation, before.Add(left)
	}
	return v, nil
}

// openToken reads the entry of a token: it returns the token, or the generation of a tombstone, or neither if the entry doesn't
// open or has expired. now is the time of the look, ttl the entry's TTL in Redis.
func (s *store) openToken(k Key, raw string, now time.Time, ttl time.Duration) (t *Token, tombstone uint64) {
	if in, err := s.unpack(k, "token", markTombstone, raw); err == nil {
		return nil, in.generation
	}
	in, err := s.unpack(k, "token", markValue, raw)
	left := s.rest(in, ttl)
	if err != nil || left <= 0 {
		return nil, 0
	}
	return &Token{value: secret.New(string(in.value)), expiry: now.Add(left), life: in.life, generation: in.generation}, 0
}

// openNote reads the note of a failure or a refusal. left is for how much longer it holds. It is 0 or less if there is no note, or if
// the note has no TTL or doesn't open.
func (s *store) openNote(k Key, part string, raw, ttl any) (left time.Duration, in sealed) {
	in, err := s.unpack(k, part, markValue, text(raw))
	if err != nil || milliseconds(ttl) <= 0 {
		return 0, sealed{}
	}
	return s.rest(in, milliseconds(ttl)), in
}

//go:embed lock.lua
var lockLua string

var lockScript = redis.NewScript(lockLua)

// lock tries to take k's lock for owner, for the time of lease. It returns the generation for the token to fetch, which is greater
// than seen. 0: another holds the lock. After an error the lock may be taken or not.
//
// A lock without a TTL, or with one longer than lease, is replaced. A fence a day ahead of both Redis's clock and seen is ignored.
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

// save stores t for the fleet, removes the note of failure, and releases the lock if owner still holds it. If Redis has a token
// with a greater generation, or a tombstone with the same or a greater one, t isn't stored and stored is false. The same
// happens if t has expired.
func (s *store) save(ctx context.Context, k Key, owner string, t *Token) (stored bool, err error) {
	left := time.Until(t.expiry)
	if left <= 0 {
		_, err := s.release(ctx, k, owner, failureNote{})
		return false, err
	}
	entry := s.pack(k, "token", markValue, sealed{life: t.life, generation: t.generation, value: []byte(t.Value())}, left)
	err = s.conclude(ctx, k, func(ctx context.Context) error {
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

// conclude runs call, which releases a lock. If its connection breaks, it runs call once more, on another: Redis closes connections
// when a password or a certificate is replaced. Without that, all replicas would have to wait until the lease ends.
func (s *store) conclude(ctx context.Context, k Key, call func(context.Context) error) error {
	err := s.do(ctx, k, call)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		err = s.do(ctx, k, call)
	}
	return err
}

// failureNote is a failed fetch as the fleet is told of it. The zero value stands for no note.
type failureNote struct {
	class    Class
	attempts int           // failed fetches in a row
	backoff  time.Duration // until the next fetch; also the note's TTL
}

//go:embed release.lua
var releaseLua string

var releaseScript = redis.NewScript(releaseLua)

// release releases the lock that owner holds, and stores n for the other replicas unless it is zero. If owner no longer holds
// the lock, nothing changes and mine is false.
func (s *store) release(ctx context.Context, k Key, owner string, n failureNote) (mine bool, err error) {
	entry, ttl := "", int64(0)
	if n.class != "" {
		entry, ttl = s.pack(k, "failure", markValue, sealed{generation: uint64(n.attempts), value: []byte(n.class)}, n.backoff), roundUp(n.backoff)
	}
	err = s.conclude(ctx, k, func(ctx context.Context) error {
		n, err := releaseScript.Run(ctx, s.client, []string{s.name(k, "lock"), s.name(k, "failure")}, owner, entry, ttl).Int()
		mine = n == 1
		return err
	})
	if err != nil {
		return false, fmt.Errorf("release the lock: %w", err)
	}
	return mine, nil
}

// forgive removes the note of a failed fetch, so that the next look leads to a try. It leaves the note if the issuer has asked to wait.
func (s *store) forgive(ctx context.Context, k Key) error {
	seen, err := s.load(ctx, k)
	if err == nil && seen.failure != nil && seen.failure.Class != Throttled {
		s.evict(ctx, k, "failure", seen.note)
	}
	return err
}

// tombstoneLife is the TTL of tombstones. A holder that stands still for less is sure to find that its token is outdated. The
// fence has the same TTL, in lock.lua.
const tombstoneLife = 30 * 24 * time.Hour

//go:embed drop.lua
var dropLua string

var dropScript = redis.NewScript(dropLua)

// drop replaces the token of this generation, an older one or none with a tombstone. A newer token stays. If the fleet has
// refused this generation, nothing changes, and refused is for how much longer that holds. A note of refusal that doesn't open
// is removed first. All calls together wait for at most one timeout.
func (s *store) drop(ctx context.Context, k Key, generation uint64) (refused time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.redis.Timeout())
	defer cancel()
	entry := s.pack(k, "token", markTombstone, sealed{generation: generation}, tombstoneLife)
	for range 2 {
		var reply []any
		err := s.do(ctx, k, func(ctx context.Context) (err error) {
			reply, err = dropScript.Run(ctx, s.client, []string{s.name(k, "token"), s.name(k, "refused")},
				format(generation), entry, roundUp(tombstoneLife)).Slice()
			return err
		})
		if err != nil {
			return 0, fmt.Errorf("drop the token: %w", err)
		}
		if len(reply) != 2 || text(reply[0]) == "" {
			return 0, nil
		}
		if left, _ := s.openNote(k, "refused", reply[0], reply[1]); left > 0 {
			return left, nil
		}
		s.evict(ctx, k, "refused", text(reply[0]))
	}
	return 0, errors.New("drop the token: the note of refusal can't be removed")
}

// refuse leaves a note that this generation isn't to be replaced for ttl. It replaces the note of any other generation.
func (s *store) refuse(ctx context.Context, k Key, generation uint64, ttl time.Duration) error {
	entry := s.pack(k, "refused", markValue, sealed{generation: generation}, ttl)
	return s.do(ctx, k, func(ctx context.Context) error {
		return s.client.Set(ctx, s.name(k, "refused"), entry, ttl).Err()
	})
}

//go:embed evict.lua
var evictLua string

var evictScript = redis.NewScript(evictLua)

// evict removes an entry that doesn't open, or a note, if it still is what was read. Its errors are ignored: the next save overwrites such
// an entry as well, unless the generation in clear at its beginning is greater, and a note expires.
func (s *store) evict(ctx context.Context, k Key, part, raw string) {
	_ = s.do(ctx, k, func(ctx context.Context) error {
		return evictScript.Run(ctx, s.client, []string{s.name(k, part)}, raw).Err()
	})
}

// milliseconds reads a PTTL: -1 for a key without a TTL, -2 for none. Anything that isn't a number is 0.
func milliseconds(reply any) time.Duration {
	n, _ := reply.(int64)
	return time.Duration(n) * time.Millisecond
}

// text reads a string; "" if reply is something else.
func text(reply any) string {
	s, _ := reply.(string)
	return s
}

// format writes a generation as the scripts expect it. Lua's numbers hold it exactly up to 2^53: microseconds until the year 2255.
func format(generation uint64) string { return strconv.FormatUint(generation, 10) }
