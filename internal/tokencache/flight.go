package tokencache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"roomgate/internal/fleet"
)

// pollEvery is the longest time between two looks for the result of another replica's fetch. The shortest is half of it.
const pollEvery = 60 * time.Millisecond

// outcome is the result of a flight, or of a step of one: a token or a failure. The zero value is neither: the flight goes on.
type outcome struct {
	token   *Token
	layer   Layer // where the token is from
	failure *FetchError
	// attempts is the number of failed fetches in a row, this one included. 0: attempts and wait aren't known yet.
	attempts int
	// wait is the time until the next attempt.
	wait time.Duration
}

// done reports whether the flight has its result.
func (o outcome) done() bool { return o.token != nil || o.failure != nil }

// failed returns the outcome of an error whose backoff isn't known yet.
func failed(err error) outcome { return outcome{failure: asFetchError(err)} }

// outcome returns the token that a look has found, otherwise the failure. If it has found neither, the outcome is zero: somebody has to
// fetch.
func (v view) outcome() outcome {
	switch {
	case v.token != nil:
		return outcome{token: v.token, layer: Redis}
	case v.failure != nil:
		// The note ends at the same moment for all replicas. Jitter keeps them from asking for the lock all at once.
		return outcome{failure: v.failure, attempts: max(1, v.attempts), wait: v.failure.RetryAfter + fleet.Jitter(pollEvery)}
	}
	return outcome{}
}

// errExpired is the failure of a token that expired before anybody could use it.
var errExpired = &FetchError{Class: Transient, Err: errors.New("the token expired before it could be used")}

// runFlight is a flight: it obtains a token and puts the result into the entry. It goes on when those who wait have left. The
// error is ErrClosed or an *Unavailable.
func (c *Cache) runFlight(e *entry) (flightResult, error) {
	ctx, cancel := context.WithTimeout(c.base, c.flightTimeout())
	defer cancel()
	out := c.obtain(ctx, e)
	switch {
	case out.failure != nil:
	case !out.token.valid(time.Now()):
		out = failed(errExpired)
	case e.dropped(out.token.generation): // it was rejected during the flight
		out = failed(errRejected)
	}
	if out.failure != nil {
		return flightResult{}, c.settleFailure(e, out)
	}
	c.settle(e, out.token)
	return flightResult{out.token, out.layer}, nil
}

// obtain repeats step until there is an outcome. If Redis fails it fetches for this replica alone. The outcome isn't zero.
func (c *Cache) obtain(ctx context.Context, e *entry) outcome {
	if c.store == nil {
		return c.fetch(ctx, e, nextGeneration(e, time.Now()))
	}
	// All calls of Redis in the first step share one timeout: that is what a slow Redis costs a caller.
	first, cancel := context.WithTimeout(ctx, c.redisTimeout)
	defer cancel()
	held := false
	for redisCtx := first; ; redisCtx = ctx {
		began := time.Now()
		out, err := c.step(ctx, redisCtx, e, began)
		switch {
		case err != nil:
			return c.fetchAlone(ctx, e)
		case out.done():
			return out
		}
		if !held {
			held = true
			c.metrics.locks.WithLabelValues("held").Inc()
		}
		if err := fleet.Sleep(ctx, fleet.Jitter(pollEvery)); err != nil {
			return failed(fmt.Errorf("waiting for another replica's fetch: %w", err))
		}
	}
}

// step looks in Redis. If there is neither a token nor a failure, and nobody holds the lock, it takes the lock and fetches. The
// zero outcome asks for another step, after a moment. The error is Redis's.
//
// redisCtx is the context of the look and of taking the lock, ctx that of all that follows. began is when the step began to wait for
// Redis: what is left of one timeout is for the calls after the lock.
func (c *Cache) step(ctx, redisCtx context.Context, e *entry, began time.Time) (outcome, error) {
	seen, err := c.look(redisCtx, e)
	if err != nil {
		return outcome{}, err
	}
	if out := seen.outcome(); out.done() {
		return out, nil
	}
	// No replica sets a lock without a TTL, or one longer than a lease. Such a lock is replaced.
	if seen.lockLeft > 0 && seen.lockLeft <= c.lease() {
		return outcome{}, nil
	}
	owner := rand.Text()
	generation, err := c.store.lock(redisCtx, e.key, owner, c.lease(), e.greatest())
	if err != nil {
		c.metrics.locks.WithLabelValues("error").Inc()
		// Redis may have set the lock, and only the answer is late. Release it, or others wait for a whole lease.
		c.spawn(func() { c.giveUp(c.base, e.key, owner) })
		return outcome{}, err
	}
	if generation == 0 {
		return outcome{}, nil
	}
	c.metrics.locks.WithLabelValues("acquired").Inc()
	return c.fetchLocked(ctx, e, owner, generation, c.redisTimeout-time.Since(began)), nil
}

// look takes one look in Redis. The view has a token only if the entry can adopt it. The error is Redis's.
func (c *Cache) look(ctx context.Context, e *entry) (view, error) {
	seen, err := c.store.load(ctx, e.key)
	if err != nil {
		return view{}, err
	}
	return e.learn(seen), nil
}

// fetchLocked fetches for the fleet. The caller has taken the lock as owner, with generation. fetchLocked releases the lock in any
// case, even if ctx has ended. If Redis fails at that moment, the lock ends with its lease. left is for how long callers may
// still wait for Redis, before and after the fetch together.
func (c *Cache) fetchLocked(ctx context.Context, e *entry, owner string, generation uint64, left time.Duration) outcome {
	redisCtx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	began := time.Now()
	// Look again: since the last look another holder may have stored a token, or failed, and released the lock.
	seen, err := c.look(redisCtx, e)
	left -= time.Since(began)
	if out := seen.outcome(); err == nil && out.done() {
		c.giveUp(context.WithoutCancel(ctx), e.key, owner)
		return out
	}
	out := c.fetch(ctx, e, generation)
	if out.failure != nil {
		return c.announce(ctx, e, owner, out)
	}
	return c.publish(e, owner, out, left)
}

// announce releases the lock after a failed fetch and leaves a note of the failure for the fleet. It returns out with its
// backoff, or the token that another replica has stored if this one has lost the lock.
func (c *Cache) announce(ctx context.Context, e *entry, owner string, out outcome) outcome {
	detached := context.WithoutCancel(ctx)
	out.attempts, out.wait = c.backoff(e, out.failure)
	told := failureNote{out.failure.Class, out.attempts, out.wait}
	if errors.Is(ctx.Err(), context.Canceled) { // Close has ended the fetch: the others should not back off
		told = failureNote{}
	}
	mine, err := c.store.release(detached, e.key, owner, told)
	c.logRedis(err)
	if err == nil && !mine {
		// The lease has run out, since the process stood still. Another replica has taken over, and may have succeeded.
		if seen, err := c.look(detached, e); err == nil && seen.token != nil {
			return seen.outcome()
		}
	}
	return out
}

// publish stores the token for the fleet and releases the lock. The outcome is as in save. If Redis takes longer than left, it
// returns the token itself and stores it in the background, because callers have waited for Redis long enough.
func (c *Cache) publish(e *entry, owner string, out outcome, left time.Duration) outcome {
	stored := make(chan outcome, 1)
	if !c.spawn(func() { stored <- c.save(e, owner, out) }) {
		return c.save(e, owner, out) // the cache is closed: no caller waits any more
	}
	select {
	case out := <-stored:
		return out
	case <-time.After(left):
		return out
	}
}

// save stores the token and releases the lock. It returns the token, or a newer one that another replica has stored. It returns the
// zero outcome if the token's generation, or a newer one, was rejected meanwhile: then it must be fetched again.
func (c *Cache) save(e *entry, owner string, out outcome) outcome {
	ctx := context.WithoutCancel(c.base)
	stored, err := c.store.save(ctx, e.key, owner, out.token)
	c.logRedis(err)
	if err != nil || stored {
		return out
	}
	c.metrics.locks.WithLabelValues("fenced").Inc()
	seen, err := c.look(ctx, e)
	switch {
	case err == nil && seen.token != nil:
		return seen.outcome()
	case err == nil && seen.tombstone >= out.token.generation:
		return outcome{}
	}
	return out
}

// giveUp releases the lock and leaves no note. A lock that owner doesn't hold stays.
func (c *Cache) giveUp(ctx context.Context, k Key, owner string) {
	_, err := c.store.release(ctx, k, owner, failureNote{})
	c.logRedis(err)
}

// logRedis logs an error of Redis that changes no outcome. A known outage was logged when it began.
func (c *Cache) logRedis(err error) {
	if err != nil && !errors.Is(err, fleet.ErrOutage) {
		c.log.Debug("could not write to redis", "error", err.Error())
	}
}
