package tokencache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"
)

// fetchAlone fetches for this replica only, because Redis has failed. Beyond the budget it fails at once with class Budget. The
// token isn't stored in Redis.
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

// fetch calls the issuer once and checks the answer. The outcome is the token or a failure. If the issuer has repeated the token in
// use, the outcome is that one. Another token that expires no later is a failure: the issuer has nothing newer yet.
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
		token = mine.repeated(token, time.Now())
	} else if err == nil && mine.valid(time.Now()) && !token.expiry.After(mine.expiry) {
		err = &FetchError{Class: Transient, Err: errors.New("the issued token is no newer than the one in use")}
	}
	c.metrics.fetched(e.key, err, time.Since(before))
	if err != nil {
		return failed(err)
	}
	return outcome{token: token, layer: Fetched}
}

// usable returns why an issued token can't be used, or nil.
func usable(issued Issued, token *Token) error {
	switch {
	case issued.Value.Reveal() == "":
		return &FetchError{Class: Garbage, Err: errors.New("the issued token is empty")}
	case issued.Life <= 0:
		return &FetchError{Class: Garbage, Err: fmt.Errorf("the issued token has a lifetime of %v", issued.Life)}
	case !token.valid(time.Now()): // the fetch took longer than the token lives
		return errExpired
	}
	return nil
}

// errPanic is the cause of a failure where the fetch function panicked.
var errPanic = errors.New("fetch panicked")

// callFetch calls the fetch function. A panic in it becomes an error: it would end the process otherwise.
func (e *entry) callFetch(ctx context.Context) (issued Issued, err error) {
	e.mu.Lock()
	fetch := e.fetch
	e.fetches++
	e.mu.Unlock()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", errPanic, r)
		}
	}()
	return fetch(ctx)
}

// margin is how long before its end a token counts as expired: a tenth of its life, at most 1 s. An issuer that counts in whole
// seconds may have rounded down by nearly a second.
func margin(life time.Duration) time.Duration { return min(time.Second, life/10) }

// nextGeneration draws the generation for a fetch without the lock, in the same way as lock.lua does with it. now is by Redis's clock if
// that is known.
func nextGeneration(e *entry, now time.Time) uint64 {
	if last := e.greatest(); last >= uint64(now.UnixMicro()) {
		return last + stride()
	}
	return uint64(now.UnixMicro())
}

// stride returns the step from the last generation to the next where the clock is behind. It is random, between 1 and about a
// million. If a failover loses a draw, two replicas may start from the same generation; they should not draw the same one.
func stride() uint64 { return 1 + rand.Uint64N(1<<20) }

// newBudget returns the budget of one key's fetches while Redis is down, with a burst of 2. life is that of its tokens; 0: unknown.
func newBudget(life time.Duration) *rate.Limiter { return rate.NewLimiter(budgetRate(life), 2) }

// budgetRate is one fetch per 10 s, or per third of life if that is shorter.
func budgetRate(life time.Duration) rate.Limit {
	every := 10 * time.Second
	if life > 0 {
		every = min(every, life/3)
	}
	return rate.Every(max(every, time.Millisecond))
}

// budgetFor adapts the budget to a token's real lifetime. The caller holds e.mu.
func (e *entry) budgetFor(life time.Duration) {
	if limit := budgetRate(life); limit != e.budget.Limit() {
		e.budget.SetLimit(limit)
	}
}
