package fleet

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed denylist_load.lua
var denyLoadLua string

var denyLoadScript = redis.NewScript(denyLoadLua)

// refresh makes this replica's list and Redis's the same. Usually it applies the changes since the last look, or reads the whole list.
// If a failover or a flush has lost denials in Redis, it writes them back. There are two cases: Redis's list is older or gone, and
// is replaced by this replica's; or somebody has changed an older list since, and the missing names are added to it.
func (d *DenyList) refresh(ctx context.Context) error {
	d.looking.Lock()
	defer d.looking.Unlock()
	d.mu.RLock()
	known := d.version
	d.mu.RUnlock()
	reply, err := d.load(ctx, known, "0")
	if err != nil {
		return err
	}
	version := text(reply[1])
	switch len(reply) {
	case 2:
		if version != known {
			return d.restore(ctx, version)
		}
		return nil
	case 3:
		d.apply(version, reply[2])
		return nil
	case 4:
		if err := d.merge(ctx, version); err != nil {
			return err
		}
		if reply, err = d.load(ctx, "", "0"); err != nil {
			return err
		}
	}
	return d.replace(ctx, reply)
}

// load asks Redis for the changes since the version known, or, if that is "", for the page of the list at cursor; "0" is the first. The
// forms of the answer are in denylist_load.lua. It has at least TIME and the version. load also sets the fleet's clock.
func (d *DenyList) load(ctx context.Context, known, cursor string) ([]any, error) {
	before := time.Now()
	answer, err := d.run(ctx, denyLoadScript, known, cursor, denyPage)
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

// replace reads the whole list, of which reply is the first page. A change during that may be missing. The list gets the version of
// the first page, so the next look brings such changes.
func (d *DenyList) replace(ctx context.Context, reply []any) (err error) {
	until, first := map[string]int64{}, text(reply[1])
	for {
		if len(reply) < 5 || versionOf(reply[1]) < versionOf(first) {
			return errors.New("the deny list was lost while it was read")
		}
		pairs, _ := reply[4].([]any)
		for pair := range slices.Chunk(pairs, 2) {
			if len(pair) == 2 {
				until[text(pair[0])], _ = strconv.ParseInt(text(pair[1]), 10, 64)
			}
		}
		if text(reply[3]) == "0" {
			break
		}
		if reply, err = d.load(ctx, "", text(reply[3])); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.version, d.until = first, until
	d.size.Store(int64(len(until)))
	d.changes.Add(1)
	return nil
}

// versionOf returns a version as a number; 0 if it isn't one.
func versionOf(reply any) int64 {
	n, _ := strconv.ParseInt(text(reply), 10, 64)
	return n
}

// apply applies changes to this replica's list, which then has this version. Each change is a text "version:the version
// before:end:name"; an end of -1 means that the name was taken off the list.
func (d *DenyList) apply(version string, list any) {
	changes, _ := list.([]any)
	over := d.over()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range over {
		delete(d.until, name)
	}
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
	d.version = version
	d.size.Store(int64(len(d.until)))
	d.changes.Add(1)
}

// over returns the names whose denials have ended, for a sweep; none if the last sweep is less than denySweep ago. The caller holds
// looking.
func (d *DenyList) over() (names []string) {
	if time.Since(d.swept) < denySweep {
		return nil
	}
	d.swept = time.Now()
	now := d.redis.Now().UnixMilli()
	d.mu.RLock() // only for reading, so that requests aren't held up
	defer d.mu.RUnlock()
	for name, end := range d.until {
		if end > 0 && end <= now {
			names = append(names, name)
		}
	}
	return names
}

// known returns the version of this replica's list, and its names, each followed by its end.
func (d *DenyList) known() (version string, pairs []any) {
	now := d.redis.Now().UnixMilli()
	d.mu.RLock()
	defer d.mu.RUnlock()
	pairs = make([]any, 0, 2*len(d.until))
	for name, until := range d.until {
		if until == 0 || now < until {
			pairs = append(pairs, name, until)
		}
	}
	return d.version, pairs
}

//go:embed denylist_restore.lua
var denyRestoreLua string

var denyRestoreScript = redis.NewScript(denyRestoreLua)

// restore replaces Redis's list, whose version is found, by this replica's. If Redis has this version or a later one by
// then, it stays as it is. The list is written under another name until it is complete.
func (d *DenyList) restore(ctx context.Context, found string) error {
	version, pairs := d.known()
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
			d.tellRestored("redis had an older one", version, found)
		}
		return nil
	}
}

//go:embed denylist_merge.lua
var denyMergeLua string

var denyMergeScript = redis.NewScript(denyMergeLua)

// merge adds to Redis's list, whose version is found, the names of this replica's list that it doesn't have.
func (d *DenyList) merge(ctx context.Context, found string) error {
	version, pairs := d.known()
	merged := int64(0)
	for part := range slices.Chunk(pairs, 2*denyPage) {
		added, err := d.run(ctx, denyMergeScript, part...)
		if err != nil {
			return fmt.Errorf("merge the deny list: %w", err)
		}
		n, _ := added.(int64)
		merged += n
	}
	if merged > 0 {
		d.tellRestored("redis had lost a part", version, found)
	}
	return nil
}

// tellRestored writes the audit event that denials were written back to Redis, and why.
func (d *DenyList) tellRestored(reason, version, found string) {
	d.redis.log.Info("audit", "schema_version", AuditVersion, "event", "deny_list_restored", "reason", reason, "version", version, "found", found)
}
