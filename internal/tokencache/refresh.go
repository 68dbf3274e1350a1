package tokencache

// This file decides what happens after a flight: when the next one is due, how long to back off, and when interest has
// lapsed.

import (
	"math/rand/v2"
	"time"
)

// The windows before expiry, as shares of the life and at most so long.
const (
	advisoryShare, advisoryMost   = 7, 5 * time.Minute   // a seventh: at a fifth, six-second tokens cost 13 fetches a minute
	mandatoryShare, mandatoryMost = 10, 30 * time.Second // a tenth
)

// Backoff bounds. Without a token callers are turned away: then the wait stays short, so that they are served soon after
// the issuer is back. With a token that is still valid there is time.
const (
	backoffLeast, backoffMost             = 250 * time.Millisecond, 10 * time.Second
	backoffDeniedLeast, backoffDeniedMost = time.Second, time.Minute
	backoffUrgent                         = 1500 * time.Millisecond
	backoffMandatory                      = time.Second
	backoffForgotten                      = 2 * backoffDeniedMost // a failure so long ago lengthens no backoff
)

// settle takes in a new token, or the present one once more, and arms its refresh.
func (c *Cache) settle(e *entry, t *Token) {
	same := e.token.Load() == t // the issuer has nothing newer yet
	e.adopt(t)
	if same {
		c.arm(e, max(time.Until(t.expiry)/2, backoffLeast))
		return
	}
	c.arm(e, time.Until(t.expiry)+margin(t.life)-advisory(t.life))
}

// advisory is how long before expiry the refresh begins, spread by ±20 %; by ±5 % where the window is too short to give
// that much of it away.
func advisory(life time.Duration) time.Duration {
	window := min(life/advisoryShare, advisoryMost)
	spread := window / 5
	if window < 5*time.Second {
		spread = window / 20
	}
	return window - spread + rand.N(2*spread+1)
}

// mandatory is how long before expiry the attempts begin to follow each other faster.
func mandatory(life time.Duration) time.Duration { return min(life/mandatoryShare, mandatoryMost) }

// settleFailure remembers a failed flight, arms the next attempt and returns what callers see.
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

// backoff draws the wait before the next attempt, with full jitter, and counts the failed one.
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
	default: // not beyond the moment from which it is to try harder
		most = min(most, t.expiry.Sub(now)-mandatory(t.life))
	}
	ceiling := min(most, least<<min(attempts, 16))
	return attempts, max(least, rand.N(ceiling)+1, failure.RetryAfter)
}

// arm has the entry awake after a while, unless the cache is closed.
func (c *Cache) arm(e *entry, after time.Duration) {
	if c.base.Err() == nil {
		e.arm(after, func() { c.awake(e) })
	}
}

// awake runs when the timer fires: it starts a flight where one is wanted, or lets the key lapse.
func (c *Cache) awake(e *entry) {
	now := time.Now()
	idle := now.Sub(c.started) - time.Duration(e.asked.Load())
	t := e.token.Load()
	e.mu.Lock()
	unwanted := e.failure == nil || idle > now.Sub(e.failedAt)
	e.mu.Unlock()
	switch {
	case t.valid(now) && idle > t.life:
		// Nobody has asked for a whole life. Somebody may before it expires, so look again, ever closer to the end.
		c.arm(e, max(t.expiry.Sub(now)/4, 50*time.Millisecond))
	case !t.valid(now) && unwanted:
		e.lapse() // expired unused, or nobody has asked since the failure: the next caller tries again
	default:
		c.launch(e)
	}
}
