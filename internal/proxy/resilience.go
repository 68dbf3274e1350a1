package proxy

// This file keeps a slow or dead upstream from taking the gateway, and the other upstream, with it.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/semaphore"
)

// The circuit opens when half of at least breakerLeast calls within breakerWindow failed, and lets a few through again
// after breakerPause.
const (
	breakerLeast   = 20
	breakerWindow  = 10 * time.Second
	breakerPause   = time.Second
	breakerHalfway = 3
)

// errCircuit is a call that was not made because those before it failed.
var errCircuit = errors.New("upstream circuit is open")

// gate bounds the calls of one upstream that are under way at once, and makes none for a while after too many have failed.
// Only the upstream's own faults count: no answer, a late one, or none that is HTTP. Its error statuses are answers, and
// a client could provoke them.
type gate struct {
	next    http.RoundTripper
	slots   *semaphore.Weighted
	breaker *gobreaker.CircuitBreaker[*http.Response]
}

func newGate(upstream string, most int, next http.RoundTripper) *gate {
	return &gate{next: next, slots: semaphore.NewWeighted(int64(max(1, most))), breaker: gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{
		Name:         upstream,
		MaxRequests:  breakerHalfway,
		Interval:     breakerWindow,
		BucketPeriod: time.Second,
		Timeout:      breakerPause,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.Requests >= breakerLeast && c.TotalFailures*2 >= c.Requests
		},
		IsExcluded: clientFault,
	})}
}

// clientFault is what fails a call without the upstream's doing.
func clientFault(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, errBody) || errors.Is(err, errBodySize) || errors.Is(err, errGuard)
}

// RoundTrip implements http.RoundTripper. The place is held until the answer's body is closed. The error is errOverloaded
// or errCircuit where no call was made.
func (g *gate) RoundTrip(r *http.Request) (*http.Response, error) {
	if !g.slots.TryAcquire(1) {
		return nil, errOverloaded
	}
	answer, err := g.breaker.Execute(func() (*http.Response, error) {
		answer, err := g.next.RoundTrip(r)
		if cause := exchangeOf(r).bodyErr.Load(); err != nil && cause != nil {
			err = *cause
		}
		return answer, err
	})
	if err != nil {
		g.slots.Release(1)
		if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
			err = fmt.Errorf("%s: %w", g.breaker.Name(), errCircuit)
		}
		return nil, err
	}
	answer.Body = &heldBody{answer.Body, sync.OnceFunc(func() { g.slots.Release(1) })}
	return answer, nil
}

// heldBody gives something back when the body is closed.
type heldBody struct {
	io.ReadCloser
	done func()
}

// Close implements io.Closer.
func (b *heldBody) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}
