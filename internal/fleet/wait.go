package fleet

import (
	"context"
	"math/rand/v2"
	"time"
)

// Sleep waits for d and returns nil. If ctx ends before that, it returns ctx's error at once.
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

// Jitter returns a random duration between half of d and d, so that replicas don't act all at once. d must not be negative.
func Jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
