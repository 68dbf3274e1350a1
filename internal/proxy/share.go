package proxy

// Room GETs that ask the same question share one answer: those that ask at the same time (ROOM_COALESCE), and those that ask a little
// later (ROOM_CACHE_TTL). Each of them has been admitted before.

import (
	"bytes"
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
	maxShared = 1 << 20 // the longest answer that is shared, in bytes
	// joinTime is how long others may join a call. After that, the next request makes a second call beside it. So a lost packet
	// doesn't hold everybody up.
	joinTime = time.Second
	// apartTime is how long the gateway remembers that a question's answer must not be shared (hit-for-miss). During that time nobody
	// waits for another's answer.
	apartTime = 10 * time.Second
	maxApart  = 4096 // the most questions that are remembered for apartTime
	// shards is the number of locks. Each is for an equal part of all questions.
	shards = 16
)

// sharing shares answers. It is safe for concurrent use.
type sharing struct {
	share        bool          // share among concurrent requests
	ttl          time.Duration // how long an answer is kept; 0: not at all
	patience     time.Duration // how long a member waits for another's call and then for the member's own, in sum
	failing      func() bool   // reports that nobody should wait for another's call; nil: never
	shared, hits prometheus.Counter
	seed         maphash.Seed // for the questions' hashes
	flights      sync.Pool    // of *flight: those of one request alone
	shards       [shards]shard
}

// shard holds one part of the questions, by their hashes. Two questions with the same hash share no answer.
type shard struct {
	of *sharing

	mu      sync.Mutex // guards the fields below, and those of the flights
	flights map[uint64]*flight
	kept    *simplelru.LRU[uint64, *keptAnswer]
	apart   *simplelru.LRU[uint64, time.Time] // questions whose answers aren't shared, and until when
	size    int                               // of the kept answers, in bytes
	writes  int                               // grows with every request that may change something
}

// flight is a question that is being asked: the calls under way for it, and the members who wait.
type flight struct {
	question question
	hash     uint64
	shard    *shard
	calls    []*callContext // while others wait, a call goes on without the client that began it
	began    time.Time      // when the latest call began
	waiting  int            // how many members wait, including those who make the calls
	writes   int            // shard.writes when the flight began
	landed   bool           // the outcome is set
	others   bool           // more than one request has, or had, the flight

	// done is closed when the flight has landed. The fields answer and err are set before that and never changed. They hold an answer
	// or an error for all, or neither if the answer must not be shared.
	done   chan struct{} // nil until somebody follows
	answer *answer
	err    error

	first     callContext // of the first call; most flights have no other
	firstOne  [1]*callContext
	leaveFunc func() // leave, made once to save an allocation
}

// newSharing returns nil if neither concurrent nor later requests share answers.
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

// get returns the answer to q. It is a kept answer, the answer to another member's call, or that of call. Others may join call while
// it runs. The error is call's or ctx's, or wraps upstream.ErrTimeout.
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

// join decides how the member gets an answer to a question:
//   - kept isn't nil: that is the answer.
//   - own isn't nil: the member makes a call for the flight f, with own as its context.
//   - only f isn't nil: the member waits for f.
//   - all are nil: the member makes a call that nobody shares.
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
		f = s.of.newFlight()
		f.question, f.hash, f.shard, f.writes = *q, hash, s, s.writes
		own, f.calls = &f.first, f.firstOne[:0]
		s.flights[hash] = f
	case !s.of.share, f.question != *q, s.of.failing != nil && s.of.failing():
		return nil, nil, nil
	case now.Sub(f.began) < joinTime:
		if f.done == nil {
			f.done = make(chan struct{})
		}
		f.waiting++
		f.others = true
		return f, nil, nil
	default:
		own, f.others = new(callContext), true
	}
	own.Context = detach(ctx)
	f.calls = append(f.calls, own)
	f.began = now
	f.waiting++
	return f, own, nil
}

// isApart reports whether a recent answer to the question must not be shared. The caller holds s.mu.
func (s *shard) isApart(hash uint64, now time.Time) bool {
	until, ok := s.apart.Peek(hash)
	if ok && !now.Before(until) {
		s.apart.Remove(hash)
	}
	return ok && now.Before(until)
}

// lead makes a call for the flight in the caller's goroutine. The end of ctx ends the call only if nobody else waits.
func (s *sharing) lead(ctx context.Context, own *callContext, f *flight, call func(context.Context) (*answer, error)) (*answer, error) {
	stay := afterFunc(ctx, f.leaveFunc)
	returned := false
	defer func() {
		if !returned { // after a panic, the others must not wait
			_, _ = f.settle(own, stay(), nil, errPanic)
			own.cancel()
		}
	}()
	got, err := call(own)
	returned = true
	if err == nil && got.shared && got.rest != nil && f.wanted() {
		got, err = got.complete(maxShared)
	}
	stayed := stay()
	outcome, err := f.settle(own, stayed, got, err)
	switch {
	case err == nil && outcome.rest != nil:
		// The rest of the body is for this member alone. It ends with the member's request.
		outcome.rest = &leftBody{outcome.rest, afterFunc(ctx, own.cancel)}
	case stayed && f.unshared():
		s.reuse(f)
	}
	return outcome, err
}

// newFlight returns an empty flight.
func (s *sharing) newFlight() *flight {
	f, ok := s.flights.Get().(*flight)
	if !ok {
		f = new(flight)
		f.leaveFunc = f.leave
	}
	return f
}

// unshared reports whether nobody but the caller, whose call has landed the flight, has it or its context. Then nobody will: a landed
// flight can't be joined.
func (f *flight) unshared() bool {
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	return f.landed && !f.others && !f.first.isHeld()
}

// reuse keeps the memory of an unshared flight for another one.
func (s *sharing) reuse(f *flight) {
	*f = flight{leaveFunc: f.leaveFunc, first: callContext{one: afterEnd{stopFunc: f.first.one.stopFunc}}}
	s.flights.Put(f)
}

// settle ends a call of the flight and returns the caller's outcome. The first outcome of a flight is for all who wait. stayed: the
// client of the member who made the call is still there.
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
		return f.answer, f.err // another call was faster
	case f.landed:
	case err != nil && len(f.calls) > 0 && f.waiting > 0: // another call may still get an answer
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

// keepLent makes sure that the answer's memory isn't lent again while others have the answer. got may be nil. The caller holds the
// shard's mu.
func (f *flight) keepLent(got *answer) {
	if got == nil || !got.lent || !f.others && f.shard.of.ttl == 0 {
		return
	}
	got.lent = false
	if got.memory == nil || f.shard.of.ttl > 0 { // the text belongs to the upstream's answer, or holds more memory than it needs
		got.text, got.memory = bytes.Clone(got.text), nil
	}
}

// follow waits for the flight. If its answer must not be shared, it makes a call for this member alone.
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
	// The answer must not be shared. A call of the member's own gets the rest of the time.
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

// errWaited means that a member has waited too long for another member's call.
var errWaited = fmt.Errorf("%s: another member's call: %w", upstreamInterwater, upstream.ErrTimeout)

// leave says that a member's client has gone. When the last one leaves, the calls end.
func (f *flight) leave() {
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	f.waiting--
	if f.waiting > 0 || f.landed {
		return
	}
	f.land(nil, context.Canceled)
}

// land gives the flight's outcome to all who wait. With an answer or an error, it also ends the flight's other calls. The caller
// holds the shard's mu.
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

// wanted reports whether the answer is of use to anybody but the member who makes the call.
func (f *flight) wanted() bool {
	f.shard.mu.Lock()
	defer f.shard.mu.Unlock()
	return f.shard.of.ttl > 0 || f.waiting > 1
}
