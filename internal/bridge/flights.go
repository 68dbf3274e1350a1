package bridge

import (
	"context"
	"time"

	"golang.org/x/sync/singleflight"
)

// flights lets all callers who ask Glory about the same member token at once share one call. The zero value is ready. It is safe for
// concurrent use.
type flights[T any] struct{ group singleflight.Group }

// join waits for the call about this token, and starts it if none is under way. The call belongs to no caller: its context ends
// after timeout, and it goes on when callers leave. The error is call's, or ctx's.
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
