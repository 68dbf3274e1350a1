package fleet

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// denyPoll is the longest time between two looks for changes. With a timeout of half a second, a change is still known within
	// DenyDelay.
	denyPoll = 400 * time.Millisecond
	// denyChanges is the number of changes that Redis keeps. A replica that has missed more reads the whole list.
	denyChanges = 1000
	// denyPage is the number of names, or about so many, that one call reads or writes. A long list takes several calls, so that
	// each ends within the timeout.
	denyPage = 2000
	// denySweep is the time between two sweeps that drop ended denials from memory. A sweep of a long list takes milliseconds.
	denySweep = time.Minute
)

// DenyDelay is the longest time until all replicas that reach Redis know of a change, if the timeout is at most half a second.
const DenyDelay = time.Second

// DenyList is the set of names that the fleet turns away, each with an end. Operators and logouts write it to Redis. Each replica
// has a copy in memory and looks for changes every few hundred milliseconds. The copy stays in use while Redis is down, and
// is written back if Redis has lost the list. It is safe for concurrent use.
type DenyList struct {
	redis *Redis // nil: the list is empty and can't be changed
	use   *Use   // nil without redis
	// size is the length of until. It can be read without mu.
	size atomic.Int64
	// changes is the result of Changes.
	changes atomic.Uint64
	// looked is closed after the first look.
	looked chan struct{}

	// looking is held during a look and all that follows from it, calls of Redis included. It guards swept. mu may be taken while it
	// is held.
	looking sync.Mutex
	swept   time.Time // the last sweep

	// mu guards version and until. No other lock is taken while it is held.
	mu      sync.RWMutex
	version string           // that of until, a number that grows with each change; "": nothing was read
	until   map[string]int64 // the end of each denial in milliseconds by Redis's clock; 0: it has none
}

// Denial is one line of the list.
type Denial struct {
	Name  string
	Until time.Time // by Redis's clock; zero: without end
}

// NewDenyList returns the fleet's list and keeps it current, in the background, until r is closed. It doesn't wait for the first
// look: see Looked. If r is nil, the list stays empty, and methods that need Redis return ErrOutage.
func NewDenyList(r *Redis) *DenyList {
	d := &DenyList{redis: r, looked: make(chan struct{})}
	following := false
	if r != nil {
		d.use = r.Use("deny list", "deny:v1:")
		following = r.spawn(func() { d.follow(r.base) })
	}
	if !following {
		close(d.looked)
	}
	return d
}

// Looked returns a channel that is closed after the first look in Redis, even if it has failed. That takes at most one timeout, or one
// for each page of a long list. If a replica serves nobody before that, and Redis works, it admits nobody who is denied.
func (d *DenyList) Looked() <-chan struct{} { return d.looked }

// Empty reports whether nobody is denied. It doesn't ask Redis.
func (d *DenyList) Empty() bool { return d.size.Load() == 0 }

// Changes returns a number that grows whenever this replica learns of changes. As long as it stays the same, nobody is denied who
// wasn't denied before. It is 0 if the list has always been empty. It doesn't ask Redis.
func (d *DenyList) Changes() uint64 { return d.changes.Load() }

// Has reports whether at least one of the names is denied now. It doesn't ask Redis.
func (d *DenyList) Has(names ...string) bool {
	if d.Empty() {
		return false
	}
	now := d.redis.Now().UnixMilli()
	d.mu.RLock()
	defer d.mu.RUnlock()
	return slices.ContainsFunc(names, func(name string) bool {
		until, ok := d.until[name]
		return ok && (until == 0 || now < until)
	})
}

// Until returns the end of name's denial; the zero time: it has no end. ok is false if name isn't denied now. It doesn't ask Redis.
func (d *DenyList) Until(name string) (end time.Time, ok bool) {
	if d.Empty() {
		return time.Time{}, false
	}
	now := d.redis.Now().UnixMilli()
	d.mu.RLock()
	defer d.mu.RUnlock()
	until, ok := d.until[name]
	if !ok || until != 0 && until <= now {
		return time.Time{}, false
	}
	return endOf(until), true
}

// follow looks for changes until ctx ends. A failed look leaves the list as it was.
func (d *DenyList) follow(ctx context.Context) {
	_ = d.refresh(ctx)
	close(d.looked)
	for {
		if Sleep(ctx, Jitter(denyPoll)) != nil {
			return
		}
		_ = d.refresh(ctx)
	}
}

// keys returns the list's keys in Redis, in the order of KEYS in the scripts: the names by their ends, the version, the latest
// changes, and the list that is being written back. The hash tag keeps them in one slot of a cluster.
func (d *DenyList) keys() []string {
	return []string{d.use.Key("{deny}:names"), d.use.Key("{deny}:version"), d.use.Key("{deny}:changes"), d.use.Key("{deny}:restored")}
}

// run runs a script on the list, within one timeout.
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

//go:embed denylist_change.lua
var denyChangeLua string

var denyChangeScript = redis.NewScript(denyChangeLua)

// ErrFull is the error of Add and AddUntil if the list has as many names as it may have. Test for it with errors.Is.
var ErrFull = errors.New("the deny list is full")

// Deny puts name on the list in Redis for ttl, and replaces its end if it is there already. 0: without end. There is no limit to
// the list's length. Replicas learn of it within DenyDelay; this one before Deny returns, if Redis goes on answering. After an error
// name may be on the list or not. It waits for Redis for at most one timeout, and one for each step of the look that follows.
func (d *DenyList) Deny(ctx context.Context, name string, ttl time.Duration) error {
	return d.Add(ctx, name, ttl, 0)
}

// Add is Deny with a limit: if the list has most names or more, and name isn't one of them, the error is ErrFull. 0: no limit.
func (d *DenyList) Add(ctx context.Context, name string, ttl time.Duration, most int) error {
	ms := int64(0)
	if ttl > 0 {
		ms = roundUp(ttl)
	}
	return d.add(ctx, name, ms, 0, most)
}

// AddUntil is Add with the end as a time, in milliseconds. Redis's clock doesn't change it. If name has a later end, that stays.
// A denial without end gets this one.
func (d *DenyList) AddUntil(ctx context.Context, name string, end time.Time, most int) error {
	return d.add(ctx, name, 0, end.UnixMilli(), most)
}

// add runs the script for Add, with ttl, and AddUntil, with end; both in milliseconds. 0: the other counts.
func (d *DenyList) add(ctx context.Context, name string, ttl, end int64, most int) error {
	version, err := d.run(ctx, denyChangeScript, name, ttl, denyChanges, most, end)
	if err == nil && text(version) == "" {
		err = ErrFull
	}
	if err != nil {
		return fmt.Errorf("deny: %w", err)
	}
	_ = d.refresh(ctx) // if it fails, this replica learns of the change as the others do
	return nil
}

// Allow takes name off the list in Redis. If it isn't on the list, that is no error. All else is as in Deny.
func (d *DenyList) Allow(ctx context.Context, name string) error {
	if _, err := d.run(ctx, denyChangeScript, name, -1, denyChanges, 0, 0); err != nil {
		return fmt.Errorf("allow: %w", err)
	}
	_ = d.refresh(ctx)
	return nil
}

// All looks in Redis for changes, and returns the list sorted by name, without denials that have ended. It waits for Redis for one
// timeout, or one for each page of a long list. The error is Redis's.
func (d *DenyList) All(ctx context.Context) ([]Denial, error) {
	if err := d.refresh(ctx); err != nil {
		return nil, err
	}
	now := d.redis.Now()
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := []Denial{}
	for name, ms := range d.until {
		if until := endOf(ms); until.IsZero() || now.Before(until) {
			list = append(list, Denial{name, until})
		}
	}
	slices.SortFunc(list, func(a, b Denial) int { return cmp.Compare(a.Name, b.Name) })
	return list, nil
}

// endOf returns an end as in DenyList.until as a time; zero for 0.
func endOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
