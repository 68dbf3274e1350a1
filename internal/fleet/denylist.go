package fleet

// This file keeps the names that the fleet turns away. An operator's command writes them. Every replica reads them from
// its own memory, also while Redis is gone.

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// denyPoll is how often a replica looks for changes. With a timeout of half a second it stays below DenyDelay.
const denyPoll = 400 * time.Millisecond

// DenyDelay is the longest until every replica that reaches Redis knows of a change, with a timeout of up to half a second.
const DenyDelay = time.Second

// DenyList is a set of names, each with an end. It is safe for concurrent use.
type DenyList struct {
	redis *Redis // nil: the list is empty and can't be changed
	use   *Use   // nil without redis
	known atomic.Pointer[denials]
}

// denials is the list at one moment. It never changes.
type denials struct {
	version string               // "": nothing was read yet
	until   map[string]time.Time // by Redis's clock; zero: without end
}

// Denial is one line of the list.
type Denial struct {
	Name  string
	Until time.Time // by Redis's clock; zero: without end
}

// NewDenyList returns the fleet's list and keeps it current until r is closed. If r is nil, the list stays empty, and
// methods that need Redis return ErrOutage.
func NewDenyList(r *Redis) *DenyList {
	d := &DenyList{redis: r}
	d.known.Store(&denials{})
	if r != nil {
		d.use = r.Use("deny list", "deny:v1:")
		r.spawn(func() { d.follow(r.base) })
	}
	return d
}

// Empty reports whether nobody is denied. It asks nobody.
func (d *DenyList) Empty() bool { return len(d.known.Load().until) == 0 }

// Has reports whether any of the names is denied now. It asks nobody.
func (d *DenyList) Has(names ...string) bool {
	known := d.known.Load()
	if len(known.until) == 0 {
		return false
	}
	now := d.redis.Now()
	return slices.ContainsFunc(names, func(name string) bool {
		until, ok := known.until[name]
		return ok && (until.IsZero() || now.Before(until))
	})
}

// follow looks for changes until ctx ends. After a failed look, what was known stays.
func (d *DenyList) follow(ctx context.Context) {
	for {
		_ = d.refresh(ctx)
		if Sleep(ctx, Jitter(denyPoll)) != nil {
			return
		}
	}
}

// keys are a sorted set of names by their end in milliseconds (0: none), and a version that changes with it. The hash tag
// keeps both on one node.
func (d *DenyList) keys() []string {
	return []string{d.use.Key("{deny}:names"), d.use.Key("{deny}:version")}
}

// run runs a script on the list.
func (d *DenyList) run(ctx context.Context, script *redis.Script, args ...any) (reply any, err error) {
	if d.use == nil {
		return nil, ErrOutage
	}
	err = d.use.Do(ctx, d.keys()[0], func(ctx context.Context) error {
		reply, err = script.Run(ctx, d.use.Client(), d.keys(), args...).Result()
		return err
	})
	return reply, err
}

//go:embed denylist_load.lua
var denyLoadLua string

var denyLoadScript = redis.NewScript(denyLoadLua)

// refresh takes over what has changed. If Redis has lost the list, for instance in a flush, it gives the list back.
func (d *DenyList) refresh(ctx context.Context) error {
	known, before := d.known.Load(), time.Now()
	answer, err := d.run(ctx, denyLoadScript, known.version)
	reply, _ := answer.([]any)
	if err == nil && len(reply) < 2 {
		err = errors.New("short answer")
	}
	if err != nil {
		return fmt.Errorf("read the deny list: %w", err)
	}
	d.redis.LearnClock(reply[0], before)
	version := text(reply[1])
	if version == "" && known.version != "" {
		return d.restore(ctx, known)
	}
	if len(reply) < 3 {
		return nil // unchanged
	}
	pairs, _ := reply[2].([]any)
	next := &denials{version: version, until: make(map[string]time.Time, len(pairs)/2)}
	for pair := range slices.Chunk(pairs, 2) {
		if len(pair) == 2 {
			end, _ := strconv.ParseInt(text(pair[1]), 10, 64)
			next.until[text(pair[0])] = endOf(end)
		}
	}
	d.known.Store(next)
	return nil
}

// endOf reads a score of the sorted set.
func endOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

//go:embed denylist_change.lua
var denyChangeLua string

var denyChangeScript = redis.NewScript(denyChangeLua)

// restore writes what this replica knows.
func (d *DenyList) restore(ctx context.Context, known *denials) error {
	var args []any
	for name, until := range known.until {
		if left := until.Sub(d.redis.Now()); until.IsZero() {
			args = append(args, name, 0)
		} else if left > 0 {
			args = append(args, name, roundUp(left))
		}
	}
	_, err := d.run(ctx, denyChangeScript, args...)
	return err
}

// Deny adds a name for ttl; 0 is without end.
func (d *DenyList) Deny(ctx context.Context, name string, ttl time.Duration) error {
	ms := int64(0)
	if ttl > 0 {
		ms = roundUp(ttl)
	}
	if _, err := d.run(ctx, denyChangeScript, name, ms); err != nil {
		return fmt.Errorf("deny: %w", err)
	}
	return nil
}

// Allow takes a name off the list. It is no error if the name isn't on it.
func (d *DenyList) Allow(ctx context.Context, name string) error {
	if _, err := d.run(ctx, denyChangeScript, name, -1); err != nil {
		return fmt.Errorf("allow: %w", err)
	}
	return nil
}

// All reads the list from Redis and returns it by name.
func (d *DenyList) All(ctx context.Context) ([]Denial, error) {
	if err := d.refresh(ctx); err != nil {
		return nil, err
	}
	known, now := d.known.Load(), d.redis.Now()
	list := []Denial{}
	for name, until := range known.until {
		if until.IsZero() || now.Before(until) {
			list = append(list, Denial{name, until})
		}
	}
	slices.SortFunc(list, func(a, b Denial) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}
