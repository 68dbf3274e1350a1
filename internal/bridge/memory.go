package bridge

// This file remembers what Glory says of member tokens, here and for the fleet: it counts for a while, and for longer while
// Glory can't be asked.

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"roomgate/internal/lru"
	"roomgate/internal/tokencache"
	"roomgate/internal/upstream"
)

const (
	runOutShare   = 5           // an answer is kept for so many TTLs, for the time when Glory can't be asked
	freshPatience = time.Second // for Glory, where an answer that has run out is at hand
	patient       = 16          // so many callers at once have that patience: Glory that hangs holds up no more of them
	recheckEvery  = time.Second // of such an answer, while Glory can't be asked
	runOutNoted   = time.Minute // after the last use of such an answer
)

// vault is the fleet's shared memory for verdicts and profiles. *tokencache.Vault is one.
type vault interface {
	Load(ctx context.Context, name string) (value []byte, left time.Duration, ok bool)
	Save(ctx context.Context, name string, value []byte, ttl time.Duration)
	// Reseal has it use another secret from now on.
	Reseal(tokencache.Secret)
}

// said is what Glory has said of one member token. The zero value is nothing.
type said[T any] struct {
	what    T
	given   moment
	fresh   moment // until then it counts
	end     moment // until then it counts while Glory can't be asked
	recheck moment // Glory can't be asked: no call before; 0: nobody has tried
}

// exists reports whether Glory has said anything.
func (s said[T]) exists() bool { return s.end != 0 }

// inquiry is what is asked of Glory about one token.
type inquiry[T any] struct {
	digest [sha256.Size]byte
	expiry time.Time // the token's; zero: it has none
	blank  T         // what an answer of the fleet's memory is read into
	// ask makes the call. Its error wraps ErrMemberToken where Glory denies the token, else an error of package upstream.
	ask func(context.Context) (T, error)
}

// memory is safe for concurrent use.
type memory[T any] struct {
	kind     string              // names its entries in the fleet's memory
	ttl      time.Duration       // 0: nothing is kept
	timeout  time.Duration       // of one call, with the look in the fleet's memory before it
	unknown  *semaphore.Weighted // places of calls about tokens that nothing is known of; nil: no bound
	fleet    vault
	clock    clock
	kept     *digests[said[T]]
	flights  flights[said[T]]
	patience *semaphore.Weighted
	runOut   atomic.Int64 // when something that has run out was used, in Unix nanoseconds; 0: Glory has answered since
}

// newMemory keeps size answers here.
func newMemory[T any](kind string, size int, o Options, c clock) *memory[T] {
	return &memory[T]{
		kind: kind, ttl: o.MemberCacheTTL, timeout: o.GloryTimeout, fleet: o.Verdicts, clock: c,
		kept: lru.New[[sha256.Size]byte, said[T]](size, nil), patience: semaphore.NewWeighted(patient),
	}
}

// fresh returns what is in memory and counts now.
func (m *memory[T]) fresh(digest [sha256.Size]byte, now time.Time) (said[T], bool) {
	s, ok := m.kept.Get(digest)
	return s, ok && m.clock.of(now) < s.fresh
}

// of returns what Glory says, from memory where that is fresh. What has run out counts while Glory can't be asked. The error is
// that of q.ask, or ctx's, or ErrBusy where too many tokens are asked about that nothing is known of.
func (m *memory[T]) of(ctx context.Context, q inquiry[T]) (said[T], error) {
	known, ok := m.kept.Get(q.digest)
	now := m.clock.now()
	switch {
	case ok && now < known.fresh:
		return known, nil
	case ok && now < known.end:
		return m.refresh(ctx, q, known)
	}
	return m.join(ctx, q, said[T]{})
}

// refresh replaces known, which has run out. Glory gets a moment to answer, and none while it can't be asked, or while many wait
// for it: then known counts on for this caller, and what comes of the call for the next one.
func (m *memory[T]) refresh(ctx context.Context, q inquiry[T], known said[T]) (said[T], error) {
	if m.clock.now() < known.recheck {
		m.noteRunOut()
		return known, nil
	}
	patience := time.Duration(0)
	if !m.runsOut() && m.patience.TryAcquire(1) {
		defer m.patience.Release(1)
		patience = freshPatience
	}
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	newer, err := m.join(wait, q, known)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		m.noteRunOut()
		return known, nil
	}
	return newer, err
}

// join waits for the one call about this token.
func (m *memory[T]) join(ctx context.Context, q inquiry[T], known said[T]) (said[T], error) {
	return m.flights.join(ctx, q.digest, m.timeout, func(own context.Context) (said[T], error) { return m.find(own, q, known) })
}

// find looks in the fleet's memory and asks Glory, and remembers the outcome unless Glory failed. known is what has run out in
// this one; where there is nothing, the call needs a place.
func (m *memory[T]) find(ctx context.Context, q inquiry[T], known said[T]) (said[T], error) {
	if !known.exists() && m.unknown != nil {
		if !m.unknown.TryAcquire(1) {
			return said[T]{}, fmt.Errorf("unknown member tokens: %w", upstream.ErrBusy)
		}
		defer m.unknown.Release(1)
	}
	s := m.shared(ctx, q, known)
	if m.clock.now() < s.fresh {
		return s, nil
	}
	what, err := q.ask(ctx)
	switch {
	case err == nil:
		m.runOut.Store(0)
		return m.remember(ctx, q, what), nil
	case errors.Is(err, ErrMemberToken):
		m.runOut.Store(0)
		m.forget(ctx, q.digest, s)
	case s.exists() && unasked(err):
		m.noteRunOut()
		s.recheck = min(m.clock.now()+moment(recheckEvery), s.end)
		m.kept.Add(q.digest, s)
		return s, nil
	}
	return said[T]{}, err
}

// unasked reports whether err says that Glory has given no usable answer.
func unasked(err error) bool {
	return errors.Is(err, upstream.ErrFailed) || errors.Is(err, upstream.ErrTimeout) ||
		errors.Is(err, upstream.ErrBusy) || errors.Is(err, upstream.ErrCircuit)
}

// given makes an answer that counts for the TTL, and never past the token's expiry.
func (m *memory[T]) given(q inquiry[T], what T, at moment) said[T] {
	s := said[T]{what: what, given: at, fresh: at + moment(m.ttl), end: at + runOutShare*moment(m.ttl)}
	if left := time.Until(q.expiry); !q.expiry.IsZero() && left < runOutShare*m.ttl {
		last := m.clock.now() + moment(left)
		s.fresh, s.end = min(s.fresh, last), min(s.end, last)
	}
	return s
}

// remember keeps an answer, here and for the fleet.
func (m *memory[T]) remember(ctx context.Context, q inquiry[T], what T) said[T] {
	s := m.given(q, what, m.clock.now())
	life := time.Duration(s.end - s.given)
	if life <= 0 {
		return s
	}
	m.kept.Add(q.digest, s)
	if text, err := json.Marshal(what); err == nil {
		m.fleet.Save(ctx, m.name(q.digest), append(lifeText(life), text...), life)
	}
	return s
}

// forget takes back old, which has run out, here and in the fleet.
func (m *memory[T]) forget(ctx context.Context, digest [sha256.Size]byte, old said[T]) {
	m.kept.Remove(digest)
	if old.exists() {
		m.fleet.Save(ctx, m.name(digest), lifeText(0), time.Duration(old.end-m.clock.now()))
	}
}

// shared is the fleet's answer where it is newer than known, else known. It is remembered here. It is zero where the fleet has
// taken known back.
func (m *memory[T]) shared(ctx context.Context, q inquiry[T], known said[T]) said[T] {
	if m.ttl == 0 {
		return said[T]{}
	}
	text, left, ok := m.fleet.Load(ctx, m.name(q.digest))
	if !ok || len(text) < lifeLength {
		return known
	}
	life := time.Duration(binary.BigEndian.Uint64(text))
	if life == 0 {
		m.kept.Remove(q.digest)
		return said[T]{}
	}
	what := q.blank
	if json.Unmarshal(text[lifeLength:], &what) != nil {
		return known
	}
	s := m.given(q, what, m.clock.now()-moment(max(0, life-left)))
	if m.clock.now() >= s.end || known.exists() && s.given < known.given {
		return known
	}
	m.kept.Add(q.digest, s)
	return s
}

// name is where the fleet keeps what is said of a token.
func (m *memory[T]) name(digest [sha256.Size]byte) string {
	return m.kind + " " + hex.EncodeToString(digest[:])
}

const lifeLength = 8

// lifeText begins what the fleet keeps: its whole life. With the rest of it, it tells the age, and no clock of another
// machine takes part. A life of 0 takes an earlier answer back.
func lifeText(life time.Duration) []byte { return binary.BigEndian.AppendUint64(nil, uint64(life)) }

// noteRunOut notes that something that has run out is used.
func (m *memory[T]) noteRunOut() { m.runOut.Store(time.Now().UnixNano()) }

// runsOut reports whether that was so lately, and Glory hasn't answered since.
func (m *memory[T]) runsOut() bool {
	last := m.runOut.Load()
	return last != 0 && time.Since(time.Unix(0, last)) < runOutNoted
}
