package fleet

// This file is how loops wait: apart from each other, and no longer than they have to.

import (
	"context"
	"math/rand/v2"
	"time"
)

// Sleep waits for d or the end of ctx, whose error it returns.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// Jitter spreads d evenly over 50 % to 100 % of itself.
func Jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
