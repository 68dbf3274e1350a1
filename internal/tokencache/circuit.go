package tokencache

// This file keeps a dead, frozen or refusing Redis from costing requests anything: after a few failures nobody asks it
// any more until a probe in the background has succeeded.

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"
)

const (
	circuitThreshold = 3 // consecutive failures that open it; one is enough where Redis answers with an error
	probeFirst       = 100 * time.Millisecond
	probeMost        = time.Second
)

// errOutage is returned in place of a call while the circuit is open.
var errOutage = errors.New("redis is considered down")

// circuit is closed while Redis works. All methods may be called concurrently.
type circuit struct {
	// probe tries what a real call needs, a write among it: a read-only Redis answers PING.
	probe func(context.Context) error
	// base ends the prober; spawn starts it, unless the cache is closed.
	base  context.Context
	spawn func(func()) bool
	log   *slog.Logger
	// talk limits log lines to one in 10 s, however often Redis comes and goes.
	talk rate.Sometimes

	mu       sync.Mutex
	failures int
	open     bool
	probing  bool
	lastErr  error
}

// closed reports whether Redis may be asked.
func (c *circuit) closed() bool {
	return c.outage() == nil
}

// outage is the latest failure while Redis may not be asked, else nil.
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
		if !c.open { // else a call from before it opened; only a probe closes it
			c.failures, c.lastErr = 0, nil
		}
		return
	}
	c.lastErr = err
	// An error that Redis itself answers (READONLY, OOM, NOAUTH, LOADING …) needs no second opinion; and it may concern
	// writes alone, so that the reads between them would never let three in a row come together.
	_, answered := errors.AsType[redis.Error](err)
	// The first failure already sets the prober to work: a replica that seldom asks would otherwise take hours to see
	// three of them, and tell nobody meanwhile.
	if !c.probing {
		c.probing = c.spawn(c.recover)
	}
	c.fail(answered)
}

// fail counts a failure and opens the circuit when there are enough. The caller holds c.mu.
func (c *circuit) fail(certain bool) {
	c.failures++
	if c.open || !c.probing || c.failures < circuitThreshold && !certain {
		return
	}
	c.open = true
	c.talk.Do(func() { c.log.Warn("redis is down; going on without it", "error", c.lastErr.Error()) })
}

// recover probes until Redis works again or the cache is closed.
func (c *circuit) recover() {
	for wait := probeFirst; ; wait = min(2*wait, probeMost) {
		if err := sleep(c.base, jitter(wait)); err != nil {
			return
		}
		if err := c.probe(c.base); c.settle(err) {
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
		c.talk.Do(func() { c.log.Info("redis is back") })
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
