package fleet

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
	// circuitThreshold is the number of failures in a row that opens a circuit. One is enough if Redis has answered with an error.
	circuitThreshold = 3
	// The wait before a probe starts with probeFirst and doubles up to probeMost, with jitter.
	probeFirst = 100 * time.Millisecond
	probeMost  = time.Second
)

// ErrOutage is the error of a call that wasn't made because Redis is known to be down. Test for it with errors.Is.
var ErrOutage = errors.New("redis is considered down")

// circuit keeps requests from waiting for a node that is down: after a few failures it opens, and calls fail at once until a probe in
// the background succeeds. There is one for each use and node. It is safe for concurrent use.
type circuit struct {
	use  *Use
	node string // a key of Use.circuits

	// mu guards all fields below. While it is held, only Redis.mu and the locks of log lines may be taken.
	mu sync.Mutex
	// key is the key of the latest failure. A probe uses a key beside it, so that the same node and the same rights apply.
	key string
	// failures is the number of failures in a row.
	failures int
	// open: no call is made.
	open bool
	// probing: recover runs.
	probing bool
	// lastErr is the latest failure. nil: a call or a probe has succeeded since. It isn't nil while the circuit is open.
	lastErr error
	// refused is the latest refusal. See Use.Refusal.
	refused error
}

// outage returns the latest failure if the circuit is open, otherwise nil.
func (c *circuit) outage() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return nil
	}
	return c.lastErr
}

// refusal returns the refusal that hasn't ended, or nil.
func (c *circuit) refusal() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.refused
}

// record updates the circuit after a call about key. It returns true if the call counts as a failure of the node.
func (c *circuit) record(key string, err error) (failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.refused = nil
		if !c.open { // if it is open, the call began before; only a probe closes a circuit
			c.failures, c.lastErr = 0, nil
		}
		return false
	}
	c.key = key
	// The first failure starts the probes. Their failures count as well: a replica with few calls would otherwise take hours to
	// see three failures in a row.
	c.watch()
	if isRefusal(err) {
		c.refuse(err)
		return false
	}
	c.lastErr = err
	c.fail(answered(err))
	return true
}

// suspect starts probes, because the node has failed for another use.
func (c *circuit) suspect() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watch()
}

// watch starts recover unless it runs, or Redis is closed. The caller holds c.mu.
func (c *circuit) watch() {
	if !c.probing {
		c.probing = c.use.redis.spawn(c.recover)
	}
}

// answered reports whether err is an answer of Redis, such as READONLY, OOM, NOAUTH or LOADING. One such answer opens the circuit:
// it is certain. Also, it may be for writes only, and then reads that succeed would keep the failures from adding up.
func answered(err error) bool {
	_, is := errors.AsType[redis.Error](err)
	return is
}

// The error codes of refusals.
const (
	noRights  = "NOPERM"
	wrongType = "WRONGTYPE"
)

// isRefusal reports whether Redis works but refuses the key: its user has no rights to it, or the key has another type.
func isRefusal(err error) bool { return says(err, noRights) || says(err, wrongType) }

// says reports whether err is an answer of Redis with this code. The code may be anywhere in the text: before Redis 7, an error in
// a script begins with words about the script.
func says(err error, code string) bool {
	answer, is := errors.AsType[redis.Error](err)
	return is && strings.Contains(answer.Error(), code+" ")
}

// log returns the logger, with the use and, in a cluster, the node.
func (c *circuit) log() *slog.Logger {
	log := c.use.redis.log.With("use", c.use.name)
	if c.node != "" {
		log = log.With("node", c.node)
	}
	return log
}

// refuse stores a refusal, and logs it if it is new. The caller holds c.mu.
func (c *circuit) refuse(err error) {
	if c.refused == nil {
		c.use.redis.refusals.Do(func() { c.log().Warn("redis refuses; going on without it", "error", err.Error()) })
	}
	c.refused = err
}

// fail counts a failure. It opens the circuit, and logs that, after enough failures, or at once if certain. It never opens it
// without running probes, which would have to close it. The caller holds c.mu.
func (c *circuit) fail(certain bool) {
	c.failures++
	if c.open || !c.probing || c.failures < circuitThreshold && !certain {
		return
	}
	c.open = true
	c.use.redis.outages.Do(func() { c.log().Warn("redis is down; going on without it", "error", c.lastErr.Error()) })
}

// recover probes the node until it works for this use or Redis is closed.
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

// settle updates the circuit after a probe. It returns true if no more probes are needed. A refused probe closes the circuit, since
// the node works, but probes go on.
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
	if says(c.refused, noRights) { // the user has rights again; a probe doesn't show the type of another key
		c.refused = nil
	}
	c.probing = false
	return true
}

//go:embed probe.lua
var probeLua string

var probeScript = redis.NewScript(probeLua)

// probe checks that the node of key runs scripts and accepts writes. If node is "" in a cluster, it checks that the cluster tells
// which node has key. It waits for at most one timeout.
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

// beside returns the name of a key for probes. It begins with key, so that the same rights apply, and is in the same slot of a
// cluster. Only if the fleet's prefix has a single opening brace, it may be in another slot.
func beside(key string) string {
	if _, after, found := strings.Cut(key, "{"); found && strings.Index(after, "}") > 0 {
		return key + ":probe" // the hash tag alone makes the slot
	}
	return key + ":probe:{" + key + "}"
}
