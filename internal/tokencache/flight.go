package tokencache

// This file is one flight: the way from "this replica has no usable token" to a token for everybody who waits.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"roomgate/internal/fleet"
)

// pollEvery is how often a replica looks for the result of another's fetch.
const pollEvery = 60 * time.Millisecond

// outcome is how a flight ends: with a token or with a failure. The zero value is neither: the flight goes on.
type outcome struct {
	token    *Token
	layer    Layer // of the token
	failure  *FetchError
	attempts int           // failed in a row; 0: not counted yet
	wait     time.Duration // until the next attempt, where attempts are counted
}

// done reports whether the flight has ended.
func (o outcome) done() bool { return o.token != nil || o.failure != nil }

// failed is the outcome of a failure whose backoff isn't drawn yet.
func failed(err error) outcome { return outcome{failure: asFetchError(err)} }

// outcome is what a look alone decides: a token to adopt, or a failure to follow.
func (v view) outcome() outcome {
	switch {
	case v.token != nil:
		return outcome{token: v.token, layer: Redis}
	case v.failure != nil:
		// All replicas wake when the note in Redis has gone; a little apart, so that one takes the lock in peace.
		return outcome{failure: v.failure, attempts: max(1, v.attempts), wait: v.failure.RetryAfter + fleet.Jitter(pollEvery)}
	}
	return outcome{}
}

// errLate is the failure of a token that expired before anybody could use it.
var errLate = &FetchError{Class: Transient, Err: errors.New("the token expired on its way here")}

// fly runs a flight to its end, whoever is still waiting, and settles the entry's state.
func (c *Cache) fly(e *entry) (landed, error) {
	ctx, cancel := context.WithTimeout(c.base, c.patience())
	defer cancel()
	out := c.obtain(ctx, e)
	switch {
	case out.failure != nil:
	case !out.token.valid(time.Now()):
		out = failed(errLate)
	case e.dropped(out.token.generation): // the issuer has repeated a token that was rejected meanwhile
		out = failed(errRejected)
	}
	if out.failure != nil {
		return landed{}, c.settleFailure(e, out)
	}
	c.settle(e, out.token)
	return landed{out.token, out.layer}, nil
}

// obtain looks in Redis, takes the lock, or waits for who holds it, until one of them gives an outcome.
func (c *Cache) obtain(ctx context.Context, e *entry) outcome {
	if c.store == nil {
		return c.fetch(ctx, e, nextGeneration(e, time.Now()))
	}
	// Before the fetch, a slow Redis costs a caller one timeout, not one for each step.
	first, cancel := context.WithTimeout(ctx, c.redisTimeout)
	defer cancel()
	held := false
	for look := first; ; look = ctx {
		began := time.Now()
		out, err := c.step(ctx, look, e, began)
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

// step looks, and takes the lock if nobody holds it. The zero outcome is to be followed by another step. The error is Redis's.
// look bounds both, ctx what comes after them; callers have waited for Redis since began.
func (c *Cache) step(ctx, look context.Context, e *entry, began time.Time) (outcome, error) {
	seen, err := c.look(look, e)
	if err != nil {
		return outcome{}, err
	}
	if out := seen.outcome(); out.done() {
		return out, nil
	}
	// No replica sets a lock without an end, or one longer than a lease. Taking the lock replaces it.
	if seen.lockLeft > 0 && seen.lockLeft <= c.lease() {
		return outcome{}, nil
	}
	owner := rand.Text()
	generation, err := c.store.lock(look, e.key, owner, c.lease(), e.greatest())
	if err != nil {
		c.metrics.locks.WithLabelValues("error").Inc()
		// It may have been taken all the same, the answer being late: nobody is to wait for it.
		c.spawn(func() { c.giveUp(c.base, e.key, owner) })
		return outcome{}, err
	}
	if generation == 0 {
		return outcome{}, nil
	}
	c.metrics.locks.WithLabelValues("acquired").Inc()
	return c.fetchLocked(ctx, e, owner, generation, c.redisTimeout-time.Since(began)), nil
}

// look takes one look in Redis and keeps only what is of use to this entry.
func (c *Cache) look(ctx context.Context, e *entry) (view, error) {
	seen, err := c.store.load(ctx, e.key)
	if err != nil {
		return view{}, err
	}
	return e.learn(seen), nil
}

// fetchLocked fetches for the fleet. It always releases the lock, on a context that outlives the flight. left is how long
// callers may still wait for Redis.
func (c *Cache) fetchLocked(ctx context.Context, e *entry, owner string, generation uint64, left time.Duration) outcome {
	look, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	began := time.Now()
	// Between the look and the lock another holder may have stored, or failed, and released.
	seen, err := c.look(look, e)
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

// announce releases the lock after a failed fetch and tells the fleet of it.
func (c *Cache) announce(ctx context.Context, e *entry, owner string, out outcome) outcome {
	detached := context.WithoutCancel(ctx)
	out.attempts, out.wait = c.backoff(e, out.failure)
	told := note{out.failure.Class, out.attempts, out.wait}
	if errors.Is(ctx.Err(), context.Canceled) { // closing: no fault of the issuer
		told = note{}
	}
	mine, err := c.store.release(detached, e.key, owner, told)
	c.quietly(err)
	if err == nil && !mine {
		// The lease ran out meanwhile, for a process that stood still for one: whoever took over may have succeeded.
		if seen, err := c.look(detached, e); err == nil && seen.token != nil {
			return seen.outcome()
		}
	}
	return out
}

// publish stores the token for the fleet and returns what to hand out: the token, or a newer one that was there already. The
// zero outcome is for a token that is no newer than one that was rejected meanwhile. It returns after left, while the storing
// goes on: callers have waited for Redis long enough.
func (c *Cache) publish(e *entry, owner string, out outcome, left time.Duration) outcome {
	stored := make(chan outcome, 1)
	if !c.spawn(func() { stored <- c.save(e, owner, out) }) {
		return c.save(e, owner, out) // closing: nobody waits
	}
	select {
	case out := <-stored:
		return out
	case <-time.After(left):
		return out
	}
}

// save is publish's work.
func (c *Cache) save(e *entry, owner string, out outcome) outcome {
	ctx := context.WithoutCancel(c.base)
	stored, err := c.store.save(ctx, e.key, owner, out.token)
	c.quietly(err)
	if err != nil || stored {
		return out
	}
	c.metrics.locks.WithLabelValues("fenced").Inc()
	seen, err := c.look(ctx, e)
	switch {
	case err == nil && seen.token != nil:
		return seen.outcome()
	case err == nil && seen.buried >= out.token.generation:
		return outcome{}
	}
	return out
}

// giveUp releases the lock without a word to the fleet.
func (c *Cache) giveUp(ctx context.Context, k Key, owner string) {
	_, err := c.store.release(ctx, k, owner, note{})
	c.quietly(err)
}

// quietly logs what has failed after the outcome was certain; the flight goes on.
func (c *Cache) quietly(err error) {
	if err != nil && !errors.Is(err, fleet.ErrOutage) {
		c.log.Debug("redis could not be told", "error", err.Error())
	}
}
