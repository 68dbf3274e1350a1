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

	"golang.org/x/time/rate"
)

const (
	circuitThreshold = 3 // consecutive failures that open it
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
	lastErr  error
}

// closed reports whether Redis may be asked.
func (c *circuit) closed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.open
}

// record takes the outcome of a call that was let through.
func (c *circuit) record(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.failures, c.lastErr = 0, nil
		return
	}
	c.lastErr = err
	if c.failures++; c.failures < circuitThreshold || c.open || !c.spawn(c.recover) {
		return
	}
	c.open = true
	c.talk.Do(func() { c.log.Warn("redis is down; going on without it", "error", err.Error()) })
}

// recover probes until Redis works again or the cache is closed.
func (c *circuit) recover() {
	wait := probeFirst
	for {
		if err := sleep(c.base, jitter(wait)); err != nil {
			return
		}
		err := c.probe(c.base)
		c.mu.Lock()
		if err == nil {
			c.open, c.failures, c.lastErr = false, 0, nil
			c.mu.Unlock()
			c.talk.Do(func() { c.log.Info("redis is back") })
			return
		}
		c.lastErr = err
		c.mu.Unlock()
		wait = min(2*wait, probeMost)
	}
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
