package tokencache

import (
	"context"
	"time"

	"roomgate/internal/fleet"
)

// Standing is the state of a key in Redis, for an operator. It holds no secret.
type Standing struct {
	// Token: Redis has a token that opens and hasn't expired.
	Token bool `json:"in_redis"`
	// ExpiresInSeconds is 0 without a token.
	ExpiresInSeconds float64 `json:"expires_in_seconds"`
	// Fetching: a replica holds the lock.
	Fetching bool `json:"fetching"`
	// Failure is the Class of the last failed fetch, during its backoff. "": none.
	Failure string `json:"last_error"`
	// Refused: the token is rejected where it is used, but isn't replaced for now. See Cache.Reject.
	Refused bool `json:"refused"`
}

// Peek looks up a key in Redis, and nowhere else. It fetches nothing and doesn't change this replica. Like every look, it removes
// a token's entry that doesn't open. It waits for Redis as Vault.Load does. The error is Redis's; without Redis, or
// while it is known to be down, it is fleet.ErrOutage.
func (c *Cache) Peek(ctx context.Context, key Key) (Standing, error) {
	if c.store == nil {
		return Standing{}, fleet.ErrOutage
	}
	seen, err := c.store.load(ctx, key)
	if err != nil {
		return Standing{}, err
	}
	s := Standing{Fetching: seen.lockLeft != 0}
	if seen.failure != nil {
		s.Failure = string(seen.failure.Class)
	}
	if seen.token != nil {
		s.Token, s.ExpiresInSeconds = true, time.Until(seen.token.expiry).Seconds()
		s.Refused = seen.refused == seen.token.generation && time.Now().Before(seen.refusedUntil)
	}
	return s, nil
}
