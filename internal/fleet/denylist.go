package fleet

// This file keeps the names that the fleet turns away. An operator's command writes them. Every replica reads them from
// its own memory, also while Redis is gone.

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// denyPoll is how often a replica looks for changes. With a timeout of half a second it stays below DenyDelay.
const denyPoll = 400 * time.Millisecond

// denyChanges is how many changes Redis keeps. A replica that has missed more reads the whole list.
const denyChanges = 1000

// denyPage is how many names one call reads or gives back: a long list takes several, each within the timeout.
const denyPage = 2000

// DenyDelay is the longest until every replica that reaches Redis knows of a change, with a timeout of up to half a second.
const DenyDelay = time.Second

// DenyList is a set of names, each with an end. It is safe for concurrent use.
type DenyList struct {
	redis *Redis // nil: the list is empty and can't be changed
	use   *Use   // nil without redis
	size  atomic.Int64

	looking sync.Mutex   // held for a look with its consequences; mu may be taken while it is held
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
	d := &DenyList{redis: r}
	if r != nil {
		d.use = r.Use("deny list", "deny:v1:")
		r.spawn(func() { d.follow(r.base) })
	}
	return d
}

// Empty reports whether nobody is denied. It asks nobody.
func (d *DenyList) Empty() bool { return d.size.Load() == 0 }

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

// follow looks for changes until ctx ends. After a failed look, what was known stays.
func (d *DenyList) follow(ctx context.Context) {
	for {
		_ = d.refresh(ctx)
		if Sleep(ctx, Jitter(denyPoll)) != nil {
			return
		}
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

//go:embed denylist_load.lua
var denyLoadLua string

var denyLoadScript = redis.NewScript(denyLoadLua)

// refresh takes over what has changed. If Redis has an older list than this replica, or none, it gives Redis this one: a
// failover or a flush has lost it.
func (d *DenyList) refresh(ctx context.Context) error {
	d.looking.Lock()
	defer d.looking.Unlock()
	d.mu.RLock()
	known := d.version
	d.mu.RUnlock()
	reply, err := d.load(ctx, known, 0)
	if err != nil {
		return err
	}
	version := text(reply[1])
	switch {
	case len(reply) > 3:
		return d.replace(ctx, version, reply[3])
	case len(reply) > 2:
		d.apply(version, reply[2])
	case version != known:
		return d.restore(ctx, version)
	}
	return nil
}

// load asks for what has changed since a version, or for the page of the whole list that begins at a rank. The answer has two
// parts at least: TIME and version.
func (d *DenyList) load(ctx context.Context, known string, from int) ([]any, error) {
	before := time.Now()
	answer, err := d.run(ctx, denyLoadScript, known, from, from+denyPage-1)
	reply, _ := answer.([]any)
	if err == nil && len(reply) < 2 {
		err = errors.New("short answer")
	}
	if err != nil {
		return nil, fmt.Errorf("read the deny list: %w", err)
	}
	d.redis.LearnClock(reply[0], before)
	return reply, nil
}

// replace takes over the whole list, whose first page is names and their ends in turn. If it changes meanwhile, the next look
// begins anew.
func (d *DenyList) replace(ctx context.Context, version string, page any) error {
	until := map[string]int64{}
	for from := 0; ; from += denyPage {
		pairs, _ := page.([]any)
		for pair := range slices.Chunk(pairs, 2) {
			if len(pair) == 2 {
				until[text(pair[0])], _ = strconv.ParseInt(text(pair[1]), 10, 64)
			}
		}
		if len(pairs) < 2*denyPage {
			break
		}
		reply, err := d.load(ctx, "", from+denyPage)
		if err != nil {
			return err
		}
		if text(reply[1]) != version || len(reply) < 4 {
			return errors.New("the deny list has changed while it was read")
		}
		page = reply[3]
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.version, d.until = version, until
	d.size.Store(int64(len(until)))
	return nil
}

// apply takes over changes: each is a text of version, the one before, end or -1, and name.
func (d *DenyList) apply(version string, list any) {
	changes, _ := list.([]any)
	now := d.redis.Now().UnixMilli()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, change := range changes {
		parts := strings.SplitN(text(change), ":", 4)
		if len(parts) < 4 {
			continue
		}
		name, end := strings.Clone(parts[3]), int64(-1)
		if n, err := strconv.ParseInt(parts[2], 10, 64); err == nil {
			end = n
		}
		if end < 0 {
			delete(d.until, name)
		} else {
			d.until[name] = end
		}
	}
	maps.DeleteFunc(d.until, func(_ string, end int64) bool { return end > 0 && end <= now }) // as Redis does
	d.version = version
	d.size.Store(int64(len(d.until)))
}

//go:embed denylist_restore.lua
var denyRestoreLua string

var denyRestoreScript = redis.NewScript(denyRestoreLua)

// restore gives Redis, which has the version found, the list that this replica knows.
func (d *DenyList) restore(ctx context.Context, found string) error {
	now := d.redis.Now().UnixMilli()
	d.mu.RLock()
	version, pairs := d.version, make([]any, 0, 2*len(d.until))
	for name, until := range d.until {
		if until == 0 || now < until {
			pairs = append(pairs, name, until)
		}
	}
	d.mu.RUnlock()
	for {
		part, mark := pairs[:min(len(pairs), 2*denyPage)], "more"
		if pairs = pairs[len(part):]; len(pairs) == 0 {
			mark = "last"
		}
		replaced, err := d.run(ctx, denyRestoreScript, append([]any{version, mark}, part...)...)
		if err != nil {
			return fmt.Errorf("restore the deny list: %w", err)
		}
		if mark != "last" {
			continue
		}
		if replaced == int64(1) {
			d.redis.log.Info("audit", "schema_version", AuditVersion, "event", "deny_list_restored", "reason", "redis had an older one", "version", version, "found", found)
		}
		return nil
	}
}

//go:embed denylist_change.lua
var denyChangeLua string

var denyChangeScript = redis.NewScript(denyChangeLua)

// Deny adds a name for ttl; 0 is without end.
func (d *DenyList) Deny(ctx context.Context, name string, ttl time.Duration) error {
	ms := int64(0)
	if ttl > 0 {
		ms = roundUp(ttl)
	}
	if _, err := d.run(ctx, denyChangeScript, name, ms, denyChanges); err != nil {
		return fmt.Errorf("deny: %w", err)
	}
	return nil
}

// Allow takes a name off the list. It is no error if the name isn't on it.
func (d *DenyList) Allow(ctx context.Context, name string) error {
	if _, err := d.run(ctx, denyChangeScript, name, -1, denyChanges); err != nil {
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
