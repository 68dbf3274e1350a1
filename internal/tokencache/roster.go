package tokencache

// This file is the fleet's roster: every replica announces itself in Redis every few seconds and reads who else did. It is
// for people who look at one replica and want to know of the others; nothing is decided by it.

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/redis/go-redis/v9"

	"roomgate/internal/fleet"
)

const (
	// RosterDelay is the longest until a replica that has died is on no roster any more.
	RosterDelay = rosterKeep + rosterEvery
	rosterKeep  = 15 * time.Second // without an announcement
	rosterEvery = 3 * time.Second
)

// What comes back from Redis may have been written by anybody who has its password.
const (
	rosterMost  = 256 // replicas that are read
	rosterEntry = 512 // bytes of one entry
	rosterText  = 64  // characters of one text in it
)

// Replica is one line of the roster. Everybody who reaches Redis or the operations listener may read it.
type Replica struct {
	// ID tells two processes apart: letters and digits. Whoever announces leaves it empty: it is made at random.
	ID      string    `json:"id"`
	Version string    `json:"version"`
	Host    string    `json:"host"` // "": unknown
	Started time.Time `json:"started"`
	// Seen is when it last announced itself, by this replica's clock.
	Seen time.Time `json:"-"`
	// Self marks the replica that reads.
	Self bool `json:"-"`
}

// Roster is the replicas seen in Redis. It is safe for concurrent use.
type Roster struct {
	use    *fleet.Use // nil: never anybody
	id     string
	member string // what Redis holds of this replica
	known  atomic.Pointer[muster]
}

// muster is the roster at one moment. It is never changed.
type muster struct {
	at       time.Time
	replicas []Replica
}

// Roster announces self and keeps the list of all replicas current until Close, which takes self off it. Without Redis
// it is empty for ever. An error is one of registering the gauge.
func (c *Cache) Roster(self Replica) (*Roster, error) {
	self.ID = rand.Text()
	entry, err := json.Marshal(clean(self))
	if err != nil {
		return nil, fmt.Errorf("announce the replica: %w", err)
	}
	r := &Roster{id: self.ID, member: string(entry)}
	if c.store != nil {
		r.use = c.store.redis.Use("replicas")
	}
	r.known.Store(&muster{})
	if c.registerer != nil {
		if err := c.registerer.Register(newReplicas(r)); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	if c.store != nil {
		c.spawn(func() { r.follow(c.base) })
	}
	return r, nil
}

// All is who was there at the last look, this replica first, the others by host and id. It asks nobody. While Redis is
// considered down it is empty.
func (r *Roster) All() []Replica {
	known := r.known.Load()
	if r.use == nil || r.use.Outage() != nil || time.Since(known.at) >= rosterKeep {
		return nil
	}
	return slices.Clone(known.replicas)
}

// follow announces and looks until ctx ends, then leaves. A look that fails leaves what is known.
func (r *Roster) follow(ctx context.Context) {
	for {
		_ = r.refresh(ctx)
		if sleep(ctx, jitter(rosterEvery)) != nil {
			break
		}
	}
	_ = r.leave(context.WithoutCancel(ctx)) // an attempt: the others miss its announcements soon
}

// The roster is one sorted set: entries by Redis's time of their last announcement, in milliseconds. No replica announces
// in the future; and what isn't a sorted set isn't ours, and must not look like a broken Redis for ever.
var rosterScript = redis.NewScript(`
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'zset' and kind ~= 'none' then redis.call('DEL', KEYS[1]) end
local t = redis.call('TIME')
local now, keep = t[1] * 1000 + math.floor(t[2] / 1000), tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - keep + 1))
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%.0f', now), '+inf')
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local found = {}
for i, v in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, ARGV[3] - 1, 'WITHSCORES')) do
  if i % 2 == 1 then found[i] = #v <= tonumber(ARGV[4]) and v or '' else found[i] = string.format('%.0f', now - v) end
end
return found`)

func (r *Roster) key() []string { return []string{r.use.Key("")} }

// refresh announces this replica and takes over who else is there.
func (r *Roster) refresh(ctx context.Context) error {
	before := time.Now()
	var reply []any
	err := r.use.Do(ctx, r.key()[0], func(ctx context.Context) (err error) {
		reply, err = rosterScript.Run(ctx, r.use.Client(), r.key(),
			r.member, rosterKeep.Milliseconds(), rosterMost, rosterEntry).Slice()
		return err
	})
	if err != nil {
		return fmt.Errorf("read the roster: %w", err)
	}
	next := &muster{at: before}
	ids := make(map[string]bool)
	for pair := range slices.Chunk(reply, 2) {
		if len(pair) < 2 {
			break
		}
		replica, err := readReplica(text(pair[0]), text(pair[1]), before)
		if err != nil || ids[replica.ID] {
			continue
		}
		ids[replica.ID] = true
		replica.Self = replica.ID == r.id
		next.replicas = append(next.replicas, replica)
	}
	slices.SortFunc(next.replicas, func(a, b Replica) int {
		switch {
		case a.Self:
			return -1
		case b.Self:
			return 1
		}
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.ID, b.ID))
	})
	r.known.Store(next)
	return nil
}

// leave takes this replica off the roster.
func (r *Roster) leave(ctx context.Context) error {
	return r.use.Do(ctx, r.key()[0], func(ctx context.Context) error {
		return r.use.Client().ZRem(ctx, r.key()[0], r.member).Err()
	})
}

var errReplica = errors.New("not a replica's entry")

// readReplica reads one entry, announced so many milliseconds before now.
func readReplica(entry, ago string, now time.Time) (Replica, error) {
	var replica Replica
	if len(entry) > rosterEntry || json.Unmarshal([]byte(entry), &replica) != nil || !isID(replica.ID) {
		return Replica{}, errReplica
	}
	ms, err := strconv.ParseUint(ago, 10, 31)
	if err != nil {
		return Replica{}, errReplica
	}
	replica.Seen = now.Add(-time.Duration(ms) * time.Millisecond)
	return clean(replica), nil
}

// clean keeps of a replica's texts what can stand on a page and in a terminal.
func clean(r Replica) Replica {
	r.Version, r.Host = printable(r.Version), printable(r.Host)
	r.Started = r.Started.UTC().Truncate(time.Second)
	return r
}

// printable drops what can't be seen and what comes after rosterText characters.
func printable(s string) string {
	kept := []rune(strings.Map(func(c rune) rune {
		if c == unicode.ReplacementChar || !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, s))
	return string(kept[:min(len(kept), rosterText)])
}

// isID accepts [A-Za-z0-9]{1,64}.
func isID(s string) bool {
	return s != "" && len(s) <= rosterText && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
	})
}
