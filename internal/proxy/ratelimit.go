package proxy

// A refusal by a rate limit has the IETF's RateLimit fields (draft-ietf-httpapi-ratelimit-headers).

import (
	"fmt"
	"math"

	"roomgate/internal/fleet"
)

// rateLimitPolicy returns the value of RateLimit-Policy: the limit.
func rateLimitPolicy(e *fleet.LimitError) string {
	return fmt.Sprintf("%q;q=%d;w=%d", e.Name, e.Limit.Burst, int(math.Ceil(e.Limit.Per.Seconds())))
}

// rateLimitState returns the value of RateLimit: nothing is left, and in how many seconds there is more.
func rateLimitState(e *fleet.LimitError) string {
	return fmt.Sprintf("%q;r=0;t=%d", e.Name, int(math.Ceil(e.RetryAfter.Seconds())))
}
