package tokencache

// This file is one flight: the way from "this replica has no usable token" to a token for everybody who waits.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"roomgate/internal/fleet"
)

// pollEvery is how often a replica looks for the result of another's fetch.
const pollEvery = 60 * time.Millisecond

// fly runs a flight to its end, whoever is still waiting, and settles the entry's state.
func (c *Cache) fly(e *entry) (landed, error) {
	ctx, cancel := context.WithTimeout(c.base, c.patience())
	defer cancel()
	in, err := c.obtain(ctx, e)
	if err == nil && !in.token.valid(time.Now()) {
		err = errLate
	}
	if err != nil {
		return landed{}, c.settleFailure(e, err)
	}
	c.settle(e, in.token)
	return in, nil
}

// errLate is the failure of a token that expired before anybody could use it.
var errLate = &FetchError{Class: Transient, Err: errors.New("the token expired on its way here")}

// obtain looks in Redis, takes the lock, or waits for who holds it, until one of them gives an outcome.
func (c *Cache) obtain(ctx context.Context, e *entry) (landed, error) {
	if c.store == nil {
		return c.fetch(ctx, e, nextGeneration(e, time.Now()))
	}
	// Before the fetch, a slow Redis costs a caller one timeout, not one for each step.
	began := time.Now()
	first, cancel := context.WithTimeout(ctx, c.redisTimeout)
	defer cancel()
	held := false
	for look := first; ; look = ctx {
		seen, err := c.look(look, e)
		if err != nil {
			return c.fetchAlone(ctx, e)
		}
		if seen.token != nil {
			return landed{seen.token, Redis}, nil
		}
		if seen.failure != nil {
			return landed{}, &followed{FetchError: seen.failure, attempts: seen.attempts}
		}
		// No replica sets a lock without an end, or one this long. Taking the lock replaces it.
		if seen.lockLeft == 0 || seen.lockLeft > foreignLease*c.lease() {
			owner := rand.Text()
			generation, err := c.store.lock(look, e.key, owner, c.lease())
			switch {
			case err != nil:
				c.metrics.locks.WithLabelValues("error").Inc()
				// It may have been taken all the same, the answer being late: nobody is to wait for it.
				c.spawn(func() { c.giveUp(c.base, e.key, owner) })
				return c.fetchAlone(ctx, e)
			case generation > 0:
				c.metrics.locks.WithLabelValues("acquired").Inc()
				left := c.redisTimeout
				if look == first {
					left -= time.Since(began)
				}
				return c.fetchLocked(ctx, e, owner, generation, left)
			}
		}
		if !held {
			held = true
			c.metrics.locks.WithLabelValues("held").Inc()
		}
		if err := sleep(ctx, jitter(pollEvery)); err != nil {
			return landed{}, &FetchError{Class: Transient, Err: fmt.Errorf("waiting for another replica's fetch: %w", err)}
		}
	}
}

// look takes one look in Redis and keeps only what is of use to this entry: a token newer than the one in memory and
// than any that was rejected.
func (c *Cache) look(ctx context.Context, e *entry) (view, error) {
	seen, err := c.store.load(ctx, e.key)
	if err != nil {
		return view{}, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if seen.refused > 0 && seen.refused >= e.refused { // what this replica refused while Redis was out counts on
		e.refused, e.refusedUntil = seen.refused, seen.refusedUntil
	}
	if seen.token != nil {
		mine := e.token.Load()
		stale := mine.valid(time.Now()) && mine.generation >= seen.token.generation
		if stale || seen.token.generation <= e.floor {
			seen.token = nil
		}
	}
	return seen, nil
}

// followed is another replica's failure: it sets the backoff here, and the fleet isn't told again.
type followed struct {
	*FetchError
	attempts int
}

// Unwrap gives the failure itself.
func (f *followed) Unwrap() error { return f.FetchError }

// fetchLocked fetches for the fleet. It always releases the lock, on a context that outlives the flight. left is how long
// callers may still wait for Redis.
func (c *Cache) fetchLocked(ctx context.Context, e *entry, owner string, generation uint64, left time.Duration) (landed, error) {
	detached := context.WithoutCancel(ctx)
	look, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	began := time.Now()
	// Between the look and the lock another holder may have stored, or failed, and released.
	seen, err := c.look(look, e)
	left -= time.Since(began)
	if err == nil && (seen.token != nil || seen.failure != nil) {
		c.giveUp(detached, e.key, owner)
		if seen.token == nil {
			return landed{}, &followed{FetchError: seen.failure, attempts: seen.attempts}
		}
		return landed{seen.token, Redis}, nil
	}
	in, err := c.fetch(ctx, e, generation)
	if err != nil {
		failure := asFetchError(err)
		attempts, backoff := c.backoff(e, failure)
		if errors.Is(ctx.Err(), context.Canceled) { // closing: no fault of the issuer
			failure = nil
		}
		mine, told := c.store.release(detached, e.key, owner, failure, attempts, backoff)
		c.quietly(told)
		if told == nil && !mine {
			// The lease ran out meanwhile, for a process that stood still for one: whoever took over may have succeeded.
			if seen, err := c.look(detached, e); err == nil && seen.token != nil {
				return landed{seen.token, Redis}, nil
			}
		}
		return landed{}, &decided{FetchError: asFetchError(err), attempts: attempts, backoff: backoff}
	}
	return c.publish(e, owner, in, left), nil
}

// publish stores the token for the fleet and returns what to hand out: the token, or a newer one that was there already.
// It returns after left, while the storing goes on: callers have waited for Redis long enough.
func (c *Cache) publish(e *entry, owner string, in landed, left time.Duration) landed {
	stored := make(chan landed, 1)
	if !c.spawn(func() { stored <- c.save(e, owner, in) }) {
		return c.save(e, owner, in) // closing: nobody waits
	}
	select {
	case out := <-stored:
		return out
	case <-time.After(left):
		return in
	}
}

// save is publish's work. Fenced off by a newer token, it gives that one.
func (c *Cache) save(e *entry, owner string, in landed) landed {
	ctx := context.WithoutCancel(c.base)
	stored, err := c.store.save(ctx, e.key, owner, in.token)
	c.quietly(err)
	if err == nil && !stored {
		c.metrics.locks.WithLabelValues("fenced").Inc()
		if seen, err := c.look(ctx, e); err == nil && seen.token != nil {
			return landed{seen.token, Redis}
		}
	}
	return in
}

// decided is a failure whose backoff was drawn already, because the fleet was told of it.
type decided struct {
	*FetchError
	attempts int
	backoff  time.Duration
}

// Unwrap gives the failure itself.
func (d *decided) Unwrap() error { return d.FetchError }

// fetchAlone fetches for this replica while Redis is out, within the budget.
func (c *Cache) fetchAlone(ctx context.Context, e *entry) (landed, error) {
	e.mu.Lock()
	reservation := e.budget.Reserve()
	e.mu.Unlock()
	if wait := reservation.Delay(); wait > 0 {
		reservation.Cancel()
		return landed{}, &FetchError{Class: Budget, RetryAfter: wait, Err: errors.New("redis is down and the replica's own fetches are used up")}
	}
	return c.fetch(ctx, e, nextGeneration(e, c.store.redis.Now()))
}

// fetch calls the issuer once and checks what it brings.
func (c *Cache) fetch(ctx context.Context, e *entry, generation uint64) (landed, error) {
	ctx, cancel := context.WithTimeout(ctx, c.fetchTimeout)
	defer cancel()
	before := time.Now()
	issued, err := e.callFetch(ctx)
	if err == nil && issued.Value.Reveal() == "" {
		err = &FetchError{Class: Garbage, Err: errors.New("the issued token is empty")}
	}
	if err == nil && issued.Life <= 0 {
		err = &FetchError{Class: Garbage, Err: fmt.Errorf("the issued token lives %v", issued.Life)}
	}
	token := &Token{value: issued.Value, life: issued.Life, generation: generation, expiry: before.Add(issued.Life - margin(issued.Life))}
	if err == nil && !token.valid(time.Now()) { // the fetch took longer than the token lives
		err = errLate
	}
	if mine := e.token.Load(); err == nil && mine != nil && mine.Value() == token.Value() {
		token = mine.again(token, time.Now())
	} else if err == nil && mine.valid(time.Now()) && !token.expiry.After(mine.expiry) {
		err = &FetchError{Class: Transient, Err: errors.New("the issued token is no newer than the one in use")}
	}
	c.metrics.fetched(e.key, err, time.Since(before))
	if err != nil {
		return landed{}, err
	}
	return landed{token, Fetched}, nil
}

// errPanic stands in for a fetch that panicked.
var errPanic = errors.New("fetch panicked")

// callFetch calls the caller's function; a panic in it is an error like any other.
func (e *entry) callFetch(ctx context.Context) (issued Issued, err error) {
	e.mu.Lock()
	fetch := e.fetch
	e.mu.Unlock()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	return fetch(ctx)
}

// margin is taken off a token's life: an issuer that counts in whole seconds may have rounded down up to one of them.
func margin(life time.Duration) time.Duration { return min(time.Second, life/10) }

// nextGeneration is for fetches without the lock; now is by the same clock as the fence in Redis, as far as it is known.
func nextGeneration(e *entry, now time.Time) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	next := max(uint64(now.UnixMicro()), e.floor+1)
	if t := e.token.Load(); t != nil {
		next = max(next, t.generation+1)
	}
	return next
}

// newBudget allows, without Redis, one fetch per 10 s or third of a life, whichever is shorter, and a burst of 2.
func newBudget(life time.Duration) *rate.Limiter { return rate.NewLimiter(budgetRate(life), 2) }

func budgetRate(life time.Duration) rate.Limit {
	every := 10 * time.Second
	if life > 0 {
		every = min(every, life/3)
	}
	return rate.Every(max(every, time.Millisecond))
}

// budgetFor adapts the budget to the life that tokens turn out to have. The caller holds e.mu.
func (e *entry) budgetFor(life time.Duration) {
	if limit := budgetRate(life); limit != e.budget.Limit() {
		e.budget.SetLimit(limit)
	}
}

// giveUp releases the lock without a word to the fleet.
func (c *Cache) giveUp(ctx context.Context, k Key, owner string) {
	_, err := c.store.release(ctx, k, owner, nil, 0, 0)
	c.quietly(err)
}

// quietly logs what has failed after the outcome was certain; the flight goes on.
func (c *Cache) quietly(err error) {
	if err != nil && !errors.Is(err, fleet.ErrOutage) {
		c.log.Debug("redis could not be told", "error", err.Error())
	}
}
