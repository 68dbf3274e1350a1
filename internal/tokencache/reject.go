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

// Reject removes exactly this token, or an older one, from memory and Redis; a newer one stays. The next lookup gets
// the newer one or fetches. Where the generation is remembered as refused, nothing is removed and the error is an
// *Unavailable of class Rejected: fetching once more would bring nothing.
func (c *Cache) Reject(ctx context.Context, key Key, t *Token) error {
	e := c.entry(key)
	if err := e.refusal(t.generation); err != nil {
		c.metrics.rejected(key, "refused")
		return err
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

// remove forgets t unless that has been done.
func (c *Cache) remove(ctx context.Context, e *entry, t *Token) error {
	e.mu.Lock()
	done := e.floor >= t.generation
	e.mu.Unlock()
	if done {
		return nil
	}
	if c.store != nil {
		left, err := c.store.drop(context.WithoutCancel(ctx), e.key, t.generation)
		c.quietly(err)
		if left > 0 {
			e.refuse(t.generation, left)
			return e.refusal(t.generation)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.floor = max(e.floor, t.generation)
	if mine := e.token.Load(); mine != nil && mine.generation <= t.generation {
		e.token.Store(nil)
		e.failure = nil // of a refresh: the next caller fetches now that it has to
	}
	return nil
}

// Refuse remembers, here and in the fleet, that t was turned down although it had just been fetched. It goes on being
// handed out, since the refusal may concern one request only, but for RefusedTTL its rejection fetches nothing.
func (c *Cache) Refuse(ctx context.Context, key Key, t *Token) error {
	e := c.entry(key)
	e.refuse(t.generation, c.refusedTTL)
	c.metrics.rejected(key, "refused")
	c.log.With(c.metrics.attrs(key)...).Error("a fresh token was rejected; not fetching another for now", "for", c.refusedTTL.String())
	if c.store != nil {
		c.quietly(c.store.refuse(context.WithoutCancel(ctx), key, t.generation, c.refusedTTL))
	}
	return e.refusal(t.generation)
}

// refuse sets the entry's memory of a refused generation.
func (e *entry) refuse(generation uint64, ttl time.Duration) {
	e.mu.Lock()
	e.refused, e.refusedUntil = generation, time.Now().Add(ttl)
	e.mu.Unlock()
}

// refusal is the error for a remembered generation, nil for any other.
func (e *entry) refusal(generation uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	left := time.Until(e.refusedUntil)
	if e.refused != generation || left <= 0 {
		return nil
	}
	return &Unavailable{Class: Rejected, RetryAfter: max(time.Second, left), Err: errRejected}
}

// Forget ends what this replica does about a key: nothing is refreshed any more, and its token is handed out no longer. In
// Redis it stays until it expires. A later lookup begins anew.
func (c *Cache) Forget(key Key) {
	c.mu.Lock()
	e := c.entries[key.id]
	delete(c.entries, key.id)
	c.mu.Unlock()
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forgotten = true
	if e.wake != nil {
		e.wake.Stop()
	}
}
