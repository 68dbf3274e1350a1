package fleet

// This file keeps a dead, frozen or refusing Redis from costing requests anything: after a few failures nobody asks it
// until a probe in the background succeeds.

import (
	"context"
	"errors"
	"math/rand/v2"
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

// circuit is closed while Redis works. It is safe for concurrent use.
type circuit struct {
	redis *Redis // runs the prober and has the log

	mu       sync.Mutex // guards what follows
	failures int        // in a row
	open     bool
	probing  bool  // the prober runs
	lastErr  error // of the latest failure; nil after a success
}

// outage returns the latest failure while Redis may not be asked, else nil.
func (c *circuit) outage() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return nil
	}
	return c.lastErr
}

// record takes the outcome of a call that was let through.
func (c *circuit) record(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		if !c.open { // else the call began before it opened; only a probe closes it
			c.failures, c.lastErr = 0, nil
		}
		return
	}
	c.lastErr = err
	// The first failure starts the prober. A replica that seldom asks would otherwise take hours to see three failures,
	// and tell nobody meanwhile.
	if !c.probing {
		c.probing = c.redis.spawn(c.recover)
	}
	c.fail(answered(err))
}

// answered reports whether Redis itself answered with the error, such as READONLY, OOM, NOAUTH or LOADING. That needs no
// second opinion. And it may concern writes alone: with reads in between there would never be three failures in a row.
func answered(err error) bool {
	_, is := errors.AsType[redis.Error](err)
	return is
}

// fail counts a failure and opens the circuit when there are enough, or at once if certain. The caller holds c.mu.
func (c *circuit) fail(certain bool) {
	c.failures++
	if c.open || !c.probing || c.failures < circuitThreshold && !certain {
		return
	}
	c.open = true
	c.redis.talk.Do(func() { c.redis.log.Warn("redis is down; going on without it", "error", c.lastErr.Error()) })
}

// recover probes until Redis works again or is closed.
func (c *circuit) recover() {
	for wait := probeFirst; ; wait = min(2*wait, probeMost) {
		if err := sleep(c.redis.base, jitter(wait)); err != nil {
			return
		}
		if err := c.redis.probe(c.redis.base); c.settle(err) {
			return
		}
	}
}

// settle takes the outcome of a probe; true ends the probing.
func (c *circuit) settle(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.lastErr = err
		c.fail(false)
		return false
	}
	if c.open {
		c.redis.talk.Do(func() { c.redis.log.Info("redis is back") })
	}
	c.open, c.probing, c.failures, c.lastErr = false, false, 0, nil
	return true
}

// sleep waits for d or the end of ctx, whose error it returns.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// jitter spreads d evenly over 50 % to 100 % of itself.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
