package tokencache

// This file calls the issuer: for the fleet or for this replica alone, and judges what it brings.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"
)

// fetchAlone fetches for this replica while Redis is out, within the budget.
func (c *Cache) fetchAlone(ctx context.Context, e *entry) outcome {
	e.mu.Lock()
	reservation := e.budget.Reserve()
	e.mu.Unlock()
	if wait := reservation.Delay(); wait > 0 {
		reservation.Cancel()
		return failed(&FetchError{Class: Budget, RetryAfter: wait, Err: errors.New("redis is down and the replica's own fetches are used up")})
	}
	return c.fetch(ctx, e, nextGeneration(e, c.store.redis.Now()))
}

// fetch calls the issuer once and checks what it brings.
func (c *Cache) fetch(ctx context.Context, e *entry, generation uint64) outcome {
	ctx, cancel := context.WithTimeout(ctx, c.fetchTimeout)
	defer cancel()
	before, after := time.Now(), e.rejections()
	issued, err := e.callFetch(ctx)
	token := &Token{
		value: issued.Value, life: issued.Life, generation: generation, after: after,
		expiry: before.Add(issued.Life - margin(issued.Life)),
	}
	if err == nil {
		err = usable(issued, token)
	}
	if mine := e.token.Load(); err == nil && mine != nil && mine.Value() == token.Value() {
		token = mine.again(token, time.Now())
	} else if err == nil && mine.valid(time.Now()) && !token.expiry.After(mine.expiry) {
		err = &FetchError{Class: Transient, Err: errors.New("the issued token is no newer than the one in use")}
	}
	c.metrics.fetched(e.key, err, time.Since(before))
	if err != nil {
		return failed(err)
	}
	return outcome{token: token, layer: Fetched}
}

// usable is the error of a token that can't be handed out.
func usable(issued Issued, token *Token) error {
	switch {
	case issued.Value.Reveal() == "":
		return &FetchError{Class: Garbage, Err: errors.New("the issued token is empty")}
	case issued.Life <= 0:
		return &FetchError{Class: Garbage, Err: fmt.Errorf("the issued token lives %v", issued.Life)}
	case !token.valid(time.Now()): // the fetch took longer than the token lives
		return errLate
	}
	return nil
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
	if last := e.greatest(); last >= uint64(now.UnixMicro()) {
		return last + stride()
	}
	return uint64(now.UnixMicro())
}

// stride is how far above the last generation one is that the clock doesn't give. It is random: two replicas that count on from
// the same one, because a failover has lost a draw, get different ones.
func stride() uint64 { return 1 + rand.Uint64N(1<<20) }

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
