package bridge

// This file lets many callers who want the same of Glory wait for one call of it.

import (
	"context"
	"time"

	"golang.org/x/sync/singleflight"
)

// flights joins calls that are under way for the same member token. The zero value is ready; it is safe for concurrent use.
type flights[T any] struct{ group singleflight.Group }

// join waits for the one call for this token that is in the air, or starts it. The call belongs to no caller: its context
// ends after timeout, whoever leaves meanwhile. The error is call's, or ctx's.
func (f *flights[T]) join(
	ctx context.Context, digest [32]byte, timeout time.Duration, call func(context.Context) (T, error),
) (result T, err error) {
	landed := f.group.DoChan(string(digest[:]), func() (any, error) {
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
		defer cancel()
		return call(own)
	})
	select {
	case <-ctx.Done():
		return result, ctx.Err()
	case in := <-landed:
		if in.Err != nil {
			return result, in.Err
		}
		return in.Val.(T), nil
	}
}
