package proxy

// This file writes a limit that a client has exceeded as the IETF's RateLimit fields
// (draft-ietf-httpapi-ratelimit-headers).

import (
	"fmt"
	"math"

	"roomgate/internal/fleet"
)

// rateLimitPolicy is the value of RateLimit-Policy.
func rateLimitPolicy(e *fleet.LimitError) string {
	return fmt.Sprintf("%q;q=%d;w=%d", e.Name, e.Limit.Burst, int(math.Ceil(e.Limit.Per.Seconds())))
}

// rateLimitState is the value of RateLimit.
func rateLimitState(e *fleet.LimitError) string {
	return fmt.Sprintf("%q;r=0;t=%d", e.Name, int(math.Ceil(e.RetryAfter.Seconds())))
}
