package proxy

// This file lets room GETs that ask the same share one answer: those that ask at the same time, and where the operator
// wants it those that ask a little later. Each of them has been admitted before.

import (
	"context"
	"fmt"
	"hash/maphash"
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
	// shards is how many locks there are, each for as large a part of all questions.
	shards = 16
)

// sharing is safe for concurrent use.
type sharing struct {
	share        bool          // among those that ask at the same time
	ttl          time.Duration // how long an answer is kept; 0: not at all
	patience     time.Duration // how long a member waits for an answer, at most
	failing      func() bool   // nobody is to wait for another's call; nil: never
	shared, hits prometheus.Counter
	seed         maphash.Seed // of the questions' hashes
	shards       [shards]shard
}

// shard is what there is to a part of all questions, by their hashes. Two questions of one hash share nothing.
type shard struct {
	of *sharing

	mu      sync.Mutex // guards what follows, and the flights
	flights map[uint64]*flight
	kept    *simplelru.LRU[uint64, *keptAnswer]
	apart   *simplelru.LRU[uint64, time.Time] // until when
	size    int                               // of all kept, in bytes
	writes  int                               // grows with every request that may change something
}

// flight is a question with the calls that are under way for it and the members who wait.
type flight struct {
	question question
	hash     uint64
	shard    *shard
	calls    []*callContext // they don't end with the client that began them, as long as others wait
	began    time.Time      // the latest call
	waiting  int            // members, those among them who make the calls
	writes   int            // the shard's when it began
	landed   bool

	// done is closed when it has landed. What follows is set before that and never changed: an answer or an error for all,
	// or neither where the answer is not for sharing.
	done   chan struct{} // nil until somebody follows
	answer *answer
	err    error

	first    callContext // most flights have one call
	firstOne [1]*callContext
}

// newSharing returns nil where nothing is shared.
func newSharing(share bool, ttl, patience time.Duration, m *metrics) *sharing {
	if !share && ttl == 0 {
		return nil
	}
	s := &sharing{
		share: share, ttl: ttl, patience: patience, seed: maphash.MakeSeed(),
		shared: m.answers.WithLabelValues("shared"), hits: m.answers.WithLabelValues("kept"),
	}
	for i := range s.shards {
		p := &s.shards[i]
		p.of, p.flights = s, make(map[uint64]*flight)
		p.kept, _ = simplelru.NewLRU(maxKeptCount/shards, func(_ uint64, k *keptAnswer) { p.size -= len(k.text) }) // fails for sizes below 1 only
		p.apart, _ = simplelru.NewLRU[uint64, time.Time](maxApart/shards, nil)
	}
	return s
}

// get returns the answer to q: a kept one, another member's, or that of call, which it makes for others too. The error is
// call's or ctx's, or wraps upstream.ErrTimeout.
func (s *sharing) get(ctx context.Context, q *question, call func(context.Context) (*answer, error)) (*answer, error) {
	hash := maphash.Comparable(s.seed, *q)
	f, own, kept := s.shards[hash%shards].join(ctx, q, hash)
	switch {
	case kept != nil:
		s.hits.Inc()
		return kept, nil
	case own != nil:
		return s.lead(ctx, own, f, call)
	case f != nil:
		return s.follow(ctx, f, call)
	}
	return call(ctx)
}

// join finds what there is to a question: a kept answer, a flight to follow, or one to make a call for, whose context is own then. Neither:
// the member makes a call alone.
func (s *shard) join(ctx context.Context, q *question, hash uint64) (f *flight, own *callContext, kept *answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.of.ttl > 0 {
		if kept = s.fresh(q, hash, now); kept != nil {
			return nil, nil, kept
		}
	}
	if s.apart.Len() > 0 && s.isApart(hash, now) {
		return nil, nil, nil
	}
	f = s.flights[hash]
	switch {
	case f == nil:
		f = &flight{question: *q, hash: hash, shard: s, writes: s.writes}
		own, f.calls = &f.first, f.firstOne[:0]
		s.flights[hash] = f
	case !s.of.share, f.question != *q, s.of.failing != nil && s.of.failing():
		return nil, nil, nil
	case now.Sub(f.began) < joinTime:
		if f.done == nil {
			f.done = make(chan struct{})
		}
		f.waiting++
		return f, nil, nil
	default:
		own = new(callContext)
	}
	own.Context = detach(ctx)
	f.calls = append(f.calls, own)
	f.began = now
	f.waiting++
	return f, own, nil
}

// isApart reports whether a question's answer was not for sharing lately. The caller holds s.mu.
func (s *shard) isApart(hash uint64, now time.Time) bool {
	until, ok := s.apart.Peek(hash)
	if ok && !now.Before(until) {
		s.apart.Remove(hash)
	}
	return ok && now.Before(until)
}

// lead makes a call of the flight in the caller's goroutine. The call ends with ctx only if nobody else waits.
func (s *sharing) lead(ctx context.Context, own *callContext, f *flight, call func(context.Context) (*answer, error)) (*answer, error) {
	stay := afterFunc(ctx, f.leave)
	returned := false
	defer func() {
		if !returned { // a panic: the others must not wait for what won't come
			_, _ = f.settle(own, stay(), nil, errPanic)
			own.cancel()
		}
	}()
	got, err := call(own)
	returned = true
	if err == nil && got.shared && got.rest != nil && f.wanted() {
		got, err = got.complete(maxShared)
	}
	outcome, err := f.settle(own, stay(), got, err)
	if err == nil && outcome.rest != nil {
		// What is left is for this member alone, and ends with it.
		outcome.rest = &leftBody{outcome.rest, afterFunc(ctx, own.cancel)}
	}
	return outcome, err
}

// settle ends a call of the flight: its outcome is everybody's, unless another's came first. stayed tells that the
// member who made it is still there.
func (f *flight) settle(own *callContext, stayed bool, got *answer, err error) (*answer, error) {
	s := f.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	f.calls = slices.DeleteFunc(f.calls, func(c *callContext) bool { return c == own })
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
			s.apart.Add(f.hash, time.Now().Add(apartTime))
		}
		f.land(nil, nil)
	default:
		f.keepLent(got)
		f.land(got, err)
	}
	return got, err
}

// keepLent keeps the answer's memory from being lent again where others have the answer, too. got may be nil. The shard is locked.
func (f *flight) keepLent(got *answer) {
	if got != nil && (f.done != nil || len(f.calls) > 0 || f.shard.of.ttl > 0) {
		got.lent = nil
	}
}

// follow waits for the flight.
func (s *sharing) follow(ctx context.Context, f *flight, call func(context.Context) (*answer, error)) (*answer, error) {
	began, late := time.Now(), time.NewTimer(s.patience)
	defer late.Stop()
	select {
	case <-f.done:
	case <-ctx.Done():
		f.leave()
		return nil, context.Cause(ctx)
	case <-late.C:
		f.leave()
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
	got.rest = &leftBody{got.rest, func() bool { cancel(nil); return true }}
	return got, nil
}

// errWaited is the end of a member's patience.
var errWaited = fmt.Errorf("%s: another member's call: %w", upstreamInterwater, upstream.ErrTimeout)

// leave tells that a member's client has gone. With the last one the calls end.
func (f *flight) leave() {
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	f.waiting--
	if f.waiting > 0 || f.landed {
		return
	}
	f.land(nil, context.Canceled)
}

// land gives the flight's outcome to all who wait, and ends its other calls where there is one for all. The caller holds
// the shard's mu.
func (f *flight) land(got *answer, err error) {
	s := f.shard
	f.landed, f.answer, f.err = true, got, err
	if s.flights[f.hash] == f {
		delete(s.flights, f.hash)
	}
	if s.of.ttl > 0 {
		s.keep(f)
	}
	if f.done != nil {
		close(f.done)
	}
	if got != nil || err != nil {
		for _, other := range f.calls {
			other.cancel()
		}
	}
}

// wanted reports whether anybody but the one who makes the call has use for the answer.
func (f *flight) wanted() bool {
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	return f.shard.of.ttl > 0 || f.waiting > 1
}
