package tokencache

// This file looks at a key without doing anything about it: for an operator who asks where a token stands.

import (
	"context"
	"time"

	"roomgate/internal/fleet"
)

// Standing is what the fleet has of a key.
type Standing struct {
	Token            bool    `json:"in_redis"`           // one that opens and lives
	ExpiresInSeconds float64 `json:"expires_in_seconds"` // of it
	Fetching         bool    `json:"fetching"`           // a replica is fetching right now
	Failure          string  `json:"last_error"`         // class of the failure that the fleet remembers; "" for none
	Refused          bool    `json:"refused"`            // the token was rejected although fresh, and is not replaced for now
}

// Peek looks in Redis. It fetches and changes nothing, but for an entry that doesn't open, which is removed as any look
// does. The error is Redis's.
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
