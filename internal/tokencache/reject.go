package tokencache

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errRejected is the cause in every Unavailable of class Rejected.
var errRejected = errors.New("a fresh token was rejected too")

// Reject reports that t, which a lookup has returned, was rejected where it was used. before is the token that the same request
// was rejected with earlier; nil: there was none.
//
// If this replica fetched t after before had been rejected, another fetch wouldn't help, and t is refused. Lookups still return it,
// because the rejection may concern this request only. No replica replaces it for Options.RefusedTTL. The error is then an
// *Unavailable of class Rejected, for this and each further rejection in that time.
//
// Otherwise t, or an older token, is removed from memory and Redis, and the error is nil. A newer token stays. The next lookup
// returns the newer token or fetches one.
//
// Reject waits for Redis for at most one timeout. It goes on when ctx ends.
func (c *Cache) Reject(ctx context.Context, key Key, t, before *Token) error {
	ctx = context.WithoutCancel(ctx)
	e := c.known(key)
	if e == nil { // forgotten on this replica; others may still use the token
		if c.store != nil {
			_, err := c.store.drop(ctx, key, t.generation)
			c.logRedis(err)
		}
		return nil
	}
	if err := e.refusal(t.generation); err != nil {
		c.metrics.rejected(key, "refused")
		return err
	}
	if before != nil && t.after >= before.generation {
		return c.refuse(ctx, e, t)
	}
	// The first caller removes the token and the others wait for it. If they didn't, their next lookup could find it in Redis again.
	_, err, _ := c.flights.Do(fmt.Sprintf("reject %d %s", t.generation, key.id), func() (any, error) { return nil, c.remove(ctx, e, t) })
	if err != nil {
		c.metrics.rejected(key, "refused")
		return err
	}
	c.metrics.rejected(key, "dropped")
	return nil
}

// remove drops t in Redis and in memory, unless that has been done. If the fleet has refused t, it stays. The error is as in
// Reject. If Redis fails, t is dropped in memory alone.
func (c *Cache) remove(ctx context.Context, e *entry, t *Token) error {
	if e.dropped(t.generation) {
		return nil
	}
	if c.store != nil {
		left, err := c.store.drop(ctx, e.key, t.generation)
		c.logRedis(err)
		if left > 0 {
			e.refuse(t.generation, left)
			return e.refusal(t.generation)
		}
	}
	e.drop(t.generation)
	return nil
}

// refuse remembers for RefusedTTL, on this replica and in the fleet, that t isn't to be replaced. The error is as in Reject.
func (c *Cache) refuse(ctx context.Context, e *entry, t *Token) error {
	e.refuse(t.generation, c.refusedTTL)
	c.metrics.rejected(e.key, "refused")
	c.log.With(c.metrics.attrs(e.key)...).Error("a fresh token was rejected; not fetching another for now", "for", c.refusedTTL.String())
	if c.store != nil {
		c.logRedis(c.store.refuse(ctx, e.key, t.generation, c.refusedTTL))
	}
	return &Unavailable{Class: Rejected, RetryAfter: max(time.Second, c.refusedTTL), Err: errRejected}
}

// Forget removes a key from this replica: its token is no longer refreshed or returned. In Redis the token stays until it
// expires. A lookup after Forget starts anew, and may find it there. A flight that is under way still ends, for those who wait.
func (c *Cache) Forget(key Key) {
	c.mu.Lock()
	e := c.entries[key.id]
	delete(c.entries, key.id)
	c.mu.Unlock()
	if e != nil {
		e.forget()
	}
}
