package tokencache

// This file is the way back: what happens to a token that was turned down where it was used.

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errRejected is the cause behind every Unavailable of class Rejected.
var errRejected = errors.New("a fresh token was rejected too")

// Reject reports that t was turned down. before is the token that the same request was turned down with earlier; nil: none.
//
// If t was fetched by this replica after before had been rejected, another fetch would bring nothing: t is refused. It goes on
// being handed out, since the refusal may concern one request only, but for RefusedTTL its rejection fetches nothing, here and
// in the fleet. Then, and where that is so already, the error is an *Unavailable of class Rejected.
//
// Any other t, or an older token, is removed from memory and Redis; a newer one stays. The next lookup gets the newer one or
// fetches. The error is nil. Reject waits for Redis at most one timeout. ctx ending doesn't undo it.
func (c *Cache) Reject(ctx context.Context, key Key, t, before *Token) error {
	ctx = context.WithoutCancel(ctx)
	e := c.known(key)
	if e == nil { // forgotten: others may still use it
		if c.store != nil {
			_, err := c.store.drop(ctx, key, t.generation)
			c.quietly(err)
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
	// The first to report a generation removes it; the others wait for that, or they would find it in Redis again.
	_, err, _ := c.flights.Do(fmt.Sprintf("reject %d %s", t.generation, key.id), func() (any, error) { return nil, c.remove(ctx, e, t) })
	if err != nil {
		c.metrics.rejected(key, "refused")
		return err
	}
	c.metrics.rejected(key, "dropped")
	return nil
}

// remove forgets t unless that has been done. The error is as in Reject.
func (c *Cache) remove(ctx context.Context, e *entry, t *Token) error {
	if e.dropped(t.generation) {
		return nil
	}
	if c.store != nil {
		left, err := c.store.drop(ctx, e.key, t.generation)
		c.quietly(err)
		if left > 0 {
			e.refuse(t.generation, left)
			return e.refusal(t.generation)
		}
	}
	e.drop(t.generation)
	return nil
}

// refuse remembers, here and in the fleet, that t is not to be replaced for now. It returns the error to answer with.
func (c *Cache) refuse(ctx context.Context, e *entry, t *Token) error {
	e.refuse(t.generation, c.refusedTTL)
	c.metrics.rejected(e.key, "refused")
	c.log.With(c.metrics.attrs(e.key)...).Error("a fresh token was rejected; not fetching another for now", "for", c.refusedTTL.String())
	if c.store != nil {
		c.quietly(c.store.refuse(ctx, e.key, t.generation, c.refusedTTL))
	}
	return &Unavailable{Class: Rejected, RetryAfter: max(time.Second, c.refusedTTL), Err: errRejected}
}

// Forget ends what this replica does about a key: nothing is refreshed any more, and its token is handed out no longer. In
// Redis it stays until it expires. A later lookup begins anew.
func (c *Cache) Forget(key Key) {
	c.mu.Lock()
	e := c.entries[key.id]
	delete(c.entries, key.id)
	c.mu.Unlock()
	if e != nil {
		e.forget()
	}
}
