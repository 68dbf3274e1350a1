package fleet

// This file keeps a dead, frozen or refusing Redis from costing requests anything: after a few failures nobody asks it
// until a probe in the background succeeds.

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	circuitThreshold = 3 // consecutive failures that open it; one is enough where Redis answers with an error
	probeFirst       = 100 * time.Millisecond
	probeMost        = time.Second
)

// ErrOutage is the error of a call that wasn't made because Redis is known to be down.
var ErrOutage = errors.New("redis is considered down")

// circuit is closed while a node works for a use. It is safe for concurrent use.
type circuit struct {
	use  *Use
	node string // "" for the only one

	// mu guards what follows. No other lock is taken while it is held, but that of Redis.spawn.
	mu       sync.Mutex
	key      string // that probes go by: the one of the latest failure
	failures int    // in a row
	open     bool
	probing  bool  // the prober runs
	lastErr  error // of the latest failure; nil after a success
	refused  error // of the latest refusal; nil after a success
}

// outage returns the latest failure while the node may not be asked, else nil.
func (c *circuit) outage() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return nil
	}
	return c.lastErr
}

// refusal returns the latest refusal unless a call has succeeded since.
func (c *circuit) refusal() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused
}

// record takes the outcome of a call about key that was let through. It reports whether the node itself has failed.
func (c *circuit) record(key string, err error) (failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.refused = nil
		if !c.open { // else the call began before it opened; only a probe closes it
			c.failures, c.lastErr = 0, nil
		}
		return false
	}
	c.key = key
	// The first failure starts the prober. A replica that seldom asks would otherwise take hours to see three failures,
	// and tell nobody meanwhile.
	c.watch()
	if isRefusal(err) {
		c.refuse(err)
		return false
	}
	c.lastErr = err
	c.fail(answered(err))
	return true
}

// suspect probes the node, because it has failed another use.
func (c *circuit) suspect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch()
}

// watch starts the prober unless it runs. The caller holds c.mu.
func (c *circuit) watch() {
	if !c.probing {
		c.probing = c.use.redis.spawn(c.recover)
	}
}

// answered reports whether Redis itself answered with the error, such as READONLY, OOM, NOAUTH or LOADING. That needs no
// second opinion. And it may concern writes alone: with reads in between there would never be three failures in a row.
func answered(err error) bool {
	_, is := errors.AsType[redis.Error](err)
	return is
}

// Codes of Redis's errors.
const (
	noRights  = "NOPERM"
	wrongType = "WRONGTYPE"
)

// isRefusal reports whether Redis works, but not on this key: its user may not, or the key has another type.
func isRefusal(err error) bool { return says(err, noRights) || says(err, wrongType) }

// says reports whether Redis answered with an error of this code. Before Redis 7 the code of a command in a script comes
// after words about the script.
func says(err error, code string) bool {
	answer, is := errors.AsType[redis.Error](err)
	return is && strings.Contains(answer.Error(), code+" ")
}

// log is where the circuit's lines go.
func (c *circuit) log() *slog.Logger {
	log := c.use.redis.log.With("use", c.use.name)
	if c.node != "" {
		log = log.With("node", c.node)
	}
	return log
}

// refuse remembers a refusal. The caller holds c.mu.
func (c *circuit) refuse(err error) {
	if c.refused == nil {
		c.use.redis.refusals.Do(func() { c.log().Warn("redis refuses; going on without it", "error", err.Error()) })
	}
	c.refused = err
}

// fail counts a failure and opens the circuit when there are enough, or at once if certain. The caller holds c.mu.
func (c *circuit) fail(certain bool) {
	c.failures++
	if c.open || !c.probing || c.failures < circuitThreshold && !certain {
		return
	}
	c.open = true
	c.use.redis.outages.Do(func() { c.log().Warn("redis is down; going on without it", "error", c.lastErr.Error()) })
}

// recover probes until the node works again or Redis is closed.
func (c *circuit) recover() {
	base := c.use.redis.base
	for wait := probeFirst; ; wait = min(2*wait, probeMost) {
		if err := Sleep(base, Jitter(wait)); err != nil {
			return
		}
		c.mu.Lock()
		key := c.key
		c.mu.Unlock()
		if err := c.use.redis.probe(base, c.node, key); c.settle(err) {
			return
		}
	}
}

// settle takes the outcome of a probe; true ends the probing.
func (c *circuit) settle(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && !isRefusal(err) {
		c.lastErr = err
		c.fail(answered(err))
		return false
	}
	if c.open {
		c.use.redis.outages.Do(func() { c.log().Info("redis is back") })
	}
	c.open, c.failures, c.lastErr = false, 0, nil
	if err != nil {
		c.refuse(err)
		return false
	}
	if says(c.refused, noRights) { // they have come back; a probe's key says nothing about another key's type
		c.refused = nil
	}
	c.probing = false
	return true
}

//go:embed probe.lua
var probeLua string

var probeScript = redis.NewScript(probeLua)

// probe proves that the node of key runs scripts and takes writes. If node is "" in a cluster, it wasn't known: then it
// proves that the cluster tells which node that is.
func (r *Redis) probe(ctx context.Context, node, key string) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	if cluster, is := r.client.(*redis.ClusterClient); is && node == "" {
		_, err := cluster.MasterForKey(ctx, key)
		return err //nolint:wrapcheck // Use.at wraps it in the same way
	}
	if err := probeScript.Run(ctx, r.client, []string{beside(key)}).Err(); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	return nil
}

// beside returns the name of a probe's key. It begins like key, so that the same rights count, and is in the same slot of
// a cluster. Only for a fleet's prefix with a single brace it is in another.
func beside(key string) string {
	if _, after, found := strings.Cut(key, "{"); found && strings.Index(after, "}") > 0 {
		return key + ":probe" // the hash tag alone makes the slot
	}
	return key + ":probe:{" + key + "}"
}
