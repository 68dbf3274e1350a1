package proxy

// This file keeps a slow or dead upstream from taking the gateway, and the other upstream, with it.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/sync/semaphore"

	"roomgate/internal/bridge"
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
	metrics upstreamMetrics
}

func newGate(upstream string, most int, m *metrics, next http.RoundTripper) *gate {
	settings := gobreaker.Settings{
		Name:         upstream,
		MaxRequests:  breakerHalfway,
		Interval:     breakerWindow,
		BucketPeriod: time.Second,
		Timeout:      breakerPause,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			// Not c.Requests: calls under way and those that clients gave up, as they do when an upstream hangs, would count
			// as good ones.
			ended := c.TotalFailures + c.TotalSuccesses
			return ended >= breakerLeast && c.TotalFailures*2 >= ended
		},
		IsExcluded: clientFault,
	}
	breaker := gobreaker.NewCircuitBreaker[*http.Response](settings) //nolint:bodyclose // a type, no answer
	return &gate{next: next, slots: semaphore.NewWeighted(int64(max(1, most))), breaker: breaker, metrics: m.upstream(upstream)}
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
	place := &heldBody{slots: g.slots}
	held := false
	defer func() {
		if !held { // an error or a panic
			place.release()
		}
	}()
	answer, err := g.breaker.Execute(func() (*http.Response, error) { return g.timed(r) })
	if err != nil {
		if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
			err = fmt.Errorf("%s: %w", g.breaker.Name(), errCircuit)
		}
		return nil, err
	}
	place.ReadCloser, held = answer.Body, true
	answer.Body = place
	return answer, nil
}

// timed measures a call.
func (g *gate) timed(r *http.Request) (*http.Response, error) {
	began := time.Now()
	answer, err := g.call(r)
	took := time.Since(began)
	exchangeOf(r).took.upstream += took
	g.metrics.call(answer, err, took)
	return answer, err
}

// call lays what the client has done to the client's account.
func (g *gate) call(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return g.next.RoundTrip(r)
	}
	began := time.Now()
	body := &awaitedBody{ReadCloser: r.Body}
	watched := *r
	watched.Body = body
	answer, err := g.next.RoundTrip(&watched)
	if err == nil {
		return answer, nil
	}
	if cause := exchangeOf(r).bodyErr.Load(); cause != nil {
		return nil, *cause
	}
	if errors.Is(err, bridge.ErrUpstreamTimeout) && 2*body.waited.Load() > int64(time.Since(began)) {
		return nil, fmt.Errorf("%w: too slow", errBody) // most of the upstream's time went by before it had the request
	}
	return nil, err
}

// awaitedBody knows how long the client was waited for.
type awaitedBody struct {
	io.ReadCloser
	waited atomic.Int64 // nanoseconds
}

// Read implements io.Reader.
func (b *awaitedBody) Read(p []byte) (int, error) {
	began := time.Now()
	defer func() { b.waited.Add(int64(time.Since(began))) }()
	return b.ReadCloser.Read(p)
}

// heldBody gives a place back when the body is closed.
type heldBody struct {
	io.ReadCloser
	slots *semaphore.Weighted
	given atomic.Bool
}

func (b *heldBody) release() {
	if !b.given.Swap(true) {
		b.slots.Release(1)
	}
}

// Close implements io.Closer.
func (b *heldBody) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}
