package tokencache

import (
	"math/rand/v2"
	"time"
)

// The two windows before expiry: the share of the token's life, as a divisor, and the longest. In the advisory window a token is
// refreshed. In the mandatory one, failed refreshes are repeated faster.
const (
	// With a fifth in place of a seventh, tokens of six seconds would cost 13 fetches a minute.
	advisoryShare, advisoryMost   = 7, 5 * time.Minute
	mandatoryShare, mandatoryMost = 10, 30 * time.Second
)

// Bounds of the wait after a failed fetch.
const (
	// While the token in use is valid for some time yet.
	backoffLeast, backoffMost = 250 * time.Millisecond, 10 * time.Second
	// For class Denied, with or without a token.
	backoffDeniedLeast, backoffDeniedMost = time.Second, time.Minute
	// Without a valid token. Callers get errors, so the wait stays short: they are served soon after the issuer is back.
	backoffUrgent = 1500 * time.Millisecond
	// In the mandatory window.
	backoffMandatory = time.Second
	// A failure longer ago than this doesn't lengthen the wait.
	backoffForgotten = 2 * backoffDeniedMost
)

// settle ends a flight that has a token: it adopts the token and sets the timer for the refresh. If the issuer has only repeated
// the token in use, it asks again after half of the rest.
func (c *Cache) settle(e *entry, t *Token) {
	same := e.token.Load() == t
	e.adopt(t)
	if same {
		c.arm(e, max(time.Until(t.expiry)/2, backoffLeast))
		return
	}
	c.arm(e, time.Until(t.expiry)+margin(t.life)-advisory(t.life))
}

// advisoryWindow is the length of the advisory window.
func advisoryWindow(life time.Duration) time.Duration { return min(life/advisoryShare, advisoryMost) }

// advisory draws how long before its end a token is refreshed. Replicas spread over ±20 % of the window. A window under 5 s is
// needed for the fetch, so there it is ±5 %.
func advisory(life time.Duration) time.Duration {
	window := advisoryWindow(life)
	spread := window / 5
	if window < 5*time.Second {
		spread = window / 20
	}
	return window - spread + rand.N(2*spread+1)
}

// mandatory is the length of the mandatory window.
func mandatory(life time.Duration) time.Duration { return min(life/mandatoryShare, mandatoryMost) }

// settleFailure ends a flight that has failed: it stores the failure in the entry, logs the first in a row, and sets the
// timer for the next attempt. It returns the error for callers: ErrClosed or an *Unavailable.
func (c *Cache) settleFailure(e *entry, out outcome) error {
	if c.base.Err() != nil {
		return ErrClosed
	}
	if out.attempts == 0 {
		out.attempts, out.wait = c.backoff(e, out.failure)
	}
	failure, first := e.fail(out.failure, out.attempts, out.wait)
	if first {
		c.log.With(c.metrics.attrs(e.key)...).Warn("no new token", "class", string(failure.Class), "error", failure.Err.Error())
	}
	c.arm(e, out.wait)
	return &Unavailable{Class: failure.Class, RetryAfter: max(time.Second, out.wait), Err: failure.Err}
}

// backoff returns how many fetches have failed in a row, this failure included, and draws the wait before the next one. The upper
// bound doubles each time, and the wait is evenly random below it (full jitter). It changes nothing.
func (c *Cache) backoff(e *entry, failure *FetchError) (attempts int, wait time.Duration) {
	now, t := time.Now(), e.token.Load()
	e.mu.Lock()
	attempts = e.attempts + 1
	if now.Sub(e.failedAt) > backoffForgotten {
		attempts = 1
	}
	e.mu.Unlock()
	if failure.Class == Budget {
		return attempts, failure.RetryAfter
	}
	least, most := backoffLeast, backoffMost
	switch {
	case failure.Class == Denied:
		least, most = backoffDeniedLeast, backoffDeniedMost
	case !t.valid(now):
		most = backoffUrgent
	case t.expiry.Sub(now) < mandatory(t.life)+backoffMandatory:
		most = backoffMandatory
	default: // not past the beginning of the mandatory window
		most = min(most, t.expiry.Sub(now)-mandatory(t.life))
	}
	ceiling := min(most, least<<min(attempts, 16))
	return attempts, max(least, rand.N(ceiling)+1, failure.RetryAfter)
}

// arm sets the entry's timer. It does nothing once the cache is closed.
func (c *Cache) arm(e *entry, after time.Duration) {
	if c.base.Err() == nil {
		e.arm(after, func() { c.onTimer(e) })
	}
}

// onTimer runs when the entry's timer fires. If somebody has asked lately it starts a flight. Otherwise it waits until the token
// expires, and then lets the key lapse. It doesn't block.
func (c *Cache) onTimer(e *entry) {
	now := time.Now()
	idle := now.Sub(c.started) - time.Duration(e.asked.Load())
	t := e.token.Load()
	e.mu.Lock()
	unwanted := e.failure == nil || idle > now.Sub(e.failedAt)
	e.mu.Unlock()
	switch {
	case t.valid(now) && idle > t.life:
		// Nobody has asked for a whole life. Somebody still may before the token expires: check again after a quarter of the rest.
		c.arm(e, max(t.expiry.Sub(now)/4, 50*time.Millisecond))
	case !t.valid(now) && unwanted:
		e.lapse() // it expired unused, or nobody has asked since the failure
	default:
		c.startFlight(e)
	}
}

// TryNow starts a flight for each key whose last flight has failed, without waiting for the end of the backoff. It is for an operator
// who knows that the cause is gone. Where a flight is under way, another one follows if that fails: it began before the cause was
// gone. A key whose issuer has asked to wait is left out. TryNow doesn't wait for the flights. Other replicas find a new token in
// Redis when their own backoff ends.
func (c *Cache) TryNow() {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return
	}
	for _, e := range c.entries {
		if fetches, ok := e.impatient(); ok {
			c.wg.Go(func() { c.tryAgain(e, fetches) })
		}
	}
}

// tryAgain waits for a flight that fetches. fetches is how many fetches had begun when it was asked for.
func (c *Cache) tryAgain(e *entry, fetches uint64) {
	for range 2 { // a flight that was under way may leave its note after forgive
		if c.store != nil {
			c.logRedis(c.store.forgive(c.base, e.key))
		}
		<-c.startFlight(e)
		if now, ok := e.impatient(); !ok || now > fetches {
			return
		}
	}
}
