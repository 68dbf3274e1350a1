package proxy

// This file lets room GETs that ask the same share one answer: those that ask at the same time, and where the operator
// wants it those that ask a little later. Each of them has been admitted before.

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"

	"roomgate/internal/upstream"
)

const (
	maxShared = 1 << 20 // longest answer that is shared, in bytes
	// joinTime is how long others may join a call. After that a second call is made beside it: a lost packet must not hold
	// everybody up.
	joinTime = time.Second
	// apartTime is how long a question is remembered whose answer was not for sharing (hit-for-miss): nobody waits for an
	// answer of somebody else's.
	apartTime = 10 * time.Second
	maxApart  = 4096
)

// sharing is safe for concurrent use.
type sharing struct {
	share        bool          // among those that ask at the same time
	ttl          time.Duration // how long an answer is kept; 0: not at all
	patience     time.Duration // how long a member waits for an answer, at most
	shared, hits prometheus.Counter

	mu      sync.Mutex // guards what follows, and the flights
	flights map[question]*flight
	kept    *simplelru.LRU[question, *keptAnswer]
	apart   *simplelru.LRU[question, time.Time] // until when
	size    int                                 // of all kept, in bytes
	writes  int                                 // grows with every request that may change something
}

// flight is a question with the calls that are under way for it and the members who wait.
type flight struct {
	question question
	calls    []*ownCall
	began    time.Time // the latest call
	waiting  int       // members, those among them who make the calls
	writes   int       // the sharing's when it began
	landed   bool

	// done is closed when it has landed. What follows is set before that and never changed: an answer or an error for all,
	// or neither where the answer is not for sharing.
	done   chan struct{} // nil until somebody follows
	answer *answer
	err    error

	first    ownCall     // most flights have one call
	firstOne [1]*ownCall // holds calls
}

// ownCall is one call of a flight. It doesn't end with the client that began it, as long as others wait.
type ownCall struct{ cancel context.CancelCauseFunc }

// newSharing returns nil where nothing is shared.
func newSharing(share bool, ttl, patience time.Duration, m *metrics) *sharing {
	if !share && ttl == 0 {
		return nil
	}
	s := &sharing{
		share: share, ttl: ttl, patience: patience, flights: make(map[question]*flight),
		shared: m.answers.WithLabelValues("shared"), hits: m.answers.WithLabelValues("kept"),
	}
	s.kept, _ = simplelru.NewLRU(maxKeptCount, func(_ question, k *keptAnswer) { s.size -= len(k.text) }) // fails for sizes below 1 only
	s.apart, _ = simplelru.NewLRU[question, time.Time](maxApart, nil)
	return s
}

// role is what a member does for a flight.
type role int

const (
	alone   role = iota // no flight
	leads               // makes a call for all
	follows             // waits
)

// get returns the answer to q: a kept one, another member's, or that of call, which it makes for others too. The error is
// call's or ctx's, or wraps upstream.ErrTimeout.
func (s *sharing) get(ctx context.Context, q question, call func(context.Context) (*answer, error)) (*answer, error) {
	f, kept, role := s.join(q)
	switch {
	case kept != nil:
		s.hits.Inc()
		return kept, nil
	case role == leads:
		return s.lead(ctx, f, call)
	case role == follows:
		return s.follow(ctx, f, call)
	}
	return call(ctx)
}

// join finds what there is to a question.
func (s *sharing) join(q question) (*flight, *answer, role) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.ttl > 0 {
		if kept := s.fresh(q, now); kept != nil {
			return nil, kept, alone
		}
	}
	if until, ok := s.apart.Peek(q); ok {
		if now.Before(until) {
			return nil, nil, alone
		}
		s.apart.Remove(q)
	}
	f := s.flights[q]
	switch {
	case f == nil:
		f = &flight{question: q, writes: s.writes}
		f.calls = f.firstOne[:0]
		s.flights[q] = f
	case !s.share:
		return nil, nil, alone
	case now.Sub(f.began) < joinTime:
		if f.done == nil {
			f.done = make(chan struct{})
		}
		f.waiting++
		return f, nil, follows
	}
	f.began = now
	f.waiting++
	return f, nil, leads
}

// lead makes a call in the caller's goroutine. The call ends with ctx only if nobody else waits.
func (s *sharing) lead(ctx context.Context, f *flight, call func(context.Context) (*answer, error)) (*answer, error) {
	detached, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	own := s.begin(f, cancel)
	stay := context.AfterFunc(ctx, func() { s.leave(f) })
	returned := false
	defer func() {
		if !returned { // a panic: the others must not wait for what won't come
			_, _ = s.settle(f, own, stay(), nil, errPanic)
			cancel(nil)
		}
	}()
	got, err := call(detached)
	returned = true
	if err == nil && got.shared && got.rest != nil && s.wanted(f) {
		got, err = got.complete(maxShared)
	}
	outcome, err := s.settle(f, own, stay(), got, err)
	if err != nil || outcome.rest == nil {
		cancel(nil)
		return outcome, err
	}
	// What is left is for this member alone, and ends with it.
	outcome.rest = &leftBody{outcome.rest, context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) }), cancel}
	return outcome, nil
}

// begin adds a call to the flight.
func (s *sharing) begin(f *flight, cancel context.CancelCauseFunc) *ownCall {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := &f.first
	if own.cancel != nil {
		own = new(ownCall)
	}
	own.cancel = cancel
	f.calls = append(f.calls, own)
	return own
}

// settle ends a call of the flight: its outcome is everybody's, unless another's came first. stayed tells that the
// member who made it is still there.
func (s *sharing) settle(f *flight, own *ownCall, stayed bool, got *answer, err error) (*answer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.calls = slices.DeleteFunc(f.calls, func(c *ownCall) bool { return c == own })
	if stayed {
		f.waiting--
	}
	switch {
	case f.landed && err != nil && (f.answer != nil || f.err != nil):
		return f.answer, f.err // overtaken
	case f.landed:
	case err != nil && len(f.calls) > 0: // the others may yet bring an answer
	case err == nil && (!got.shared || got.rest != nil):
		if !got.shared {
			s.apart.Add(f.question, time.Now().Add(apartTime))
		}
		s.land(f, nil, nil)
	default:
		s.land(f, got, err)
	}
	return got, err
}

// follow waits for the flight.
func (s *sharing) follow(ctx context.Context, f *flight, call func(context.Context) (*answer, error)) (*answer, error) {
	began, late := time.Now(), time.NewTimer(s.patience)
	defer late.Stop()
	select {
	case <-f.done:
	case <-ctx.Done():
		s.leave(f)
		return nil, context.Cause(ctx)
	case <-late.C:
		s.leave(f)
		return nil, errWaited
	}
	if f.err != nil {
		return nil, f.err
	}
	if f.answer != nil {
		s.shared.Inc()
		return f.answer, nil
	}
	// The answer wasn't for sharing. What is left of the time is enough for a call, or nothing is.
	limited, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(s.patience-time.Since(began), func() { cancel(errWaited) })
	got, err := call(limited)
	if inTime := timer.Stop(); err != nil && !inTime && ctx.Err() == nil {
		err = errWaited
	}
	if err != nil || got.rest == nil {
		cancel(nil)
		return got, err
	}
	got.rest = &leftBody{got.rest, func() bool { return true }, cancel}
	return got, nil
}

// errWaited is the end of a member's patience.
var errWaited = fmt.Errorf("%s: another member's call: %w", upstreamInterwater, upstream.ErrTimeout)

// leave tells that a member's client has gone. With the last one the calls end.
func (s *sharing) leave(f *flight) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.waiting--
	if f.waiting > 0 || f.landed {
		return
	}
	s.land(f, nil, context.Canceled)
}

// land gives the flight's outcome to all who wait, and ends its other calls where there is one for all. The caller holds
// s.mu.
func (s *sharing) land(f *flight, got *answer, err error) {
	f.landed, f.answer, f.err = true, got, err
	if s.flights[f.question] == f {
		delete(s.flights, f.question)
	}
	if s.ttl > 0 {
		s.keep(f)
	}
	if f.done != nil {
		close(f.done)
	}
	if got != nil || err != nil {
		for _, other := range f.calls {
			other.cancel(context.Canceled)
		}
	}
}

// wanted reports whether anybody but the one who makes the call has use for the answer.
func (s *sharing) wanted(f *flight) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ttl > 0 || f.waiting > 1
}

// complete reads the rest of an answer, up to a length. What is longer keeps a rest.
func (a *answer) complete(most int) (*answer, error) {
	text, err := io.ReadAll(io.LimitReader(a.rest, int64(most-len(a.text)+1)))
	if err != nil {
		_ = a.rest.Close()
		return nil, brokenOff(err)
	}
	whole := *a
	if whole.text = append(slices.Clip(a.text), text...); len(whole.text) <= most {
		whole.rest, whole.length = nil, int64(len(whole.text))
		_ = a.rest.Close()
	}
	return &whole, nil
}

// leftBody releases what holds a call with its end.
type leftBody struct {
	io.ReadCloser
	stay   func() bool
	cancel context.CancelCauseFunc
}

// Close implements io.Closer.
func (b *leftBody) Close() error {
	defer b.cancel(nil)
	defer b.stay()
	return b.ReadCloser.Close()
}
