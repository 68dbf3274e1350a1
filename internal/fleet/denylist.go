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
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// denyPoll is how often a replica looks for changes. With a timeout of half a second it stays below DenyDelay.
const denyPoll = 400 * time.Millisecond

// denyChanges is how many changes Redis keeps. A replica that has missed more reads the whole list.
const denyChanges = 1000

// denyPage is how many names one call reads (about) or gives back: a long list takes several, each within the timeout.
const denyPage = 2000

// denySweep is how often what has ended is dropped from memory. A look at all of a long list takes milliseconds.
const denySweep = time.Minute

// DenyDelay is the longest until every replica that reaches Redis knows of a change, with a timeout of up to half a second.
const DenyDelay = time.Second

// DenyList is a set of names, each with an end. It is safe for concurrent use.
type DenyList struct {
	redis *Redis // nil: the list is empty and can't be changed
	use   *Use   // nil without redis
	size  atomic.Int64

	changes atomic.Uint64
	looked  chan struct{} // closed after the first look

	looking sync.Mutex   // held for a look with its consequences; mu may be taken while it is held
	swept   time.Time    // when what has ended was dropped last; guarded by looking
	mu      sync.RWMutex // guards what follows; no other lock is taken while it is held
	version string       // a later one is a greater number; "": nothing was read yet
	until   map[string]int64
}

// Denial is one line of the list.
type Denial struct {
	Name  string
	Until time.Time // by Redis's clock; zero: without end
}

// NewDenyList returns the fleet's list and keeps it current until r is closed. If r is nil, the list stays empty, and
// methods that need Redis return ErrOutage.
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

// Looked is closed after the first look at Redis, whether or not it has succeeded. It takes one timeout, or one for each page of a
// long list: who serves nobody before that lets nobody in whom Redis knows to be denied.
func (d *DenyList) Looked() <-chan struct{} { return d.looked }

// Empty reports whether nobody is denied. It asks nobody.
func (d *DenyList) Empty() bool { return d.size.Load() == 0 }

// Changes is how often this replica has learned of changes. While it stays the same, nobody is denied who wasn't before. It asks
// nobody, and is 0 while the list has been empty.
func (d *DenyList) Changes() uint64 { return d.changes.Load() }

// Has reports whether any of the names is denied now. It asks nobody.
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

// Until returns when a denial that holds now ends; zero: without end. ok is false where there is none. It asks nobody.
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

// follow looks for changes until ctx ends. After a failed look, what was known stays.
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

// keys are a sorted set of names by their end in milliseconds (0: none), a version that grows with each change, the latest
// changes, and what is being given back. The hash tag keeps them on one node.
func (d *DenyList) keys() []string {
	return []string{d.use.Key("{deny}:names"), d.use.Key("{deny}:version"), d.use.Key("{deny}:changes"), d.use.Key("{deny}:restored")}
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

//go:embed denylist_change.lua
var denyChangeLua string

var denyChangeScript = redis.NewScript(denyChangeLua)

// ErrFull is the error of Add and AddUntil where the list is as long as it may get.
var ErrFull = errors.New("the deny list is full")

// Deny adds a name for ttl; 0 is without end. It is an operator's: the list takes it however long it is.
func (d *DenyList) Deny(ctx context.Context, name string, ttl time.Duration) error {
	return d.Add(ctx, name, ttl, 0)
}

// Add is Deny for a list that is to have most names; 0: any number. The error is ErrFull where it has as many without this one.
func (d *DenyList) Add(ctx context.Context, name string, ttl time.Duration, most int) error {
	ms := int64(0)
	if ttl > 0 {
		ms = roundUp(ttl)
	}
	return d.add(ctx, name, ms, 0, most)
}

// AddUntil is Add for an end that is told to the millisecond, whatever Redis's clock says; a later one that is there stays.
func (d *DenyList) AddUntil(ctx context.Context, name string, end time.Time, most int) error {
	return d.add(ctx, name, 0, end.UnixMilli(), most)
}

func (d *DenyList) add(ctx context.Context, name string, ttl, end int64, most int) error {
	version, err := d.run(ctx, denyChangeScript, name, ttl, denyChanges, most, end)
	if err == nil && text(version) == "" {
		err = ErrFull
	}
	if err != nil {
		return fmt.Errorf("deny: %w", err)
	}
	return nil
}

// Allow takes a name off the list. It is no error if the name isn't on it.
func (d *DenyList) Allow(ctx context.Context, name string) error {
	if _, err := d.run(ctx, denyChangeScript, name, -1, denyChanges, 0, 0); err != nil {
		return fmt.Errorf("allow: %w", err)
	}
	return nil
}

// All reads the list from Redis and returns it by name.
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

// endOf reads an end in milliseconds.
func endOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
