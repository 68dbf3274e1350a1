package proxy

import (
	"context"
	"slices"
	"sync"
	"time"
)

// callContext is a context that only cancel ends, with context.Canceled. It has the values of the embedded context, but not its end or
// deadline. It must not be copied. Usually nobody watches it. Then it costs one allocation; one of package context costs ten.
type callContext struct {
	context.Context

	mu    sync.Mutex
	done  chan struct{} // nil until somebody asks; guarded by mu
	err   error         // nil until the end; guarded by mu
	after []*afterEnd   // guarded by mu
	one   afterEnd      // the first element of after, without an allocation
	first [1]*afterEnd  // the memory of after, while one element is enough
}

// afterEnd is a function to be called after the end of a context.
type afterEnd struct {
	of       *callContext
	f        func()      // guarded by of.mu
	stopFunc func() bool // stop, made once to save an allocation
}

// detach returns a context that has the values of ctx and never ends.
func detach(ctx context.Context) context.Context {
	if c, ok := ctx.(*callContext); ok {
		return c.Context
	}
	return context.WithoutCancel(ctx)
}

// cancel ends the context. It doesn't wait for the functions of AfterFunc.
func (c *callContext) cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = context.Canceled
	if c.done != nil {
		close(c.done)
	}
	for _, a := range c.after {
		go a.f()
	}
	c.after = nil
}

// isHeld reports whether the context has ended, or whether somebody may be waiting for that.
func (c *callContext) isHeld() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil || c.done != nil || len(c.after) > 0
}

// Deadline implements context.Context.
func (*callContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements context.Context.
func (c *callContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
	}
	return c.done
}

// Err implements context.Context.
func (c *callContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// AfterFunc is called by context.AfterFunc and does what that promises: f runs in its own goroutine after the end of the context, unless
// stop is called before.
func (c *callContext) AfterFunc(f func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	a := &c.one
	if a.of != nil {
		a = new(afterEnd)
	} else {
		c.after = c.first[:0]
	}
	if a.stopFunc == nil {
		a.stopFunc = a.stop
	}
	a.of, a.f = c, f
	c.after = append(c.after, a)
	return a.stopFunc
}

func (a *afterEnd) stop() bool {
	c := a.of
	c.mu.Lock()
	defer c.mu.Unlock()
	at := slices.Index(c.after, a)
	if at < 0 {
		return false
	}
	c.after = slices.Delete(c.after, at, at+1)
	return true
}

// afterFunc is context.AfterFunc, but cheaper for a *callContext.
func afterFunc(ctx context.Context, f func()) (stop func() bool) {
	if own, ok := ctx.(*callContext); ok {
		return own.AfterFunc(f)
	}
	return context.AfterFunc(ctx, f)
}
