package bridge

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
	"roomgate/internal/secret"
	"roomgate/internal/upstream"
)

// An answer of Glory is fresh for one TTL. After that it is stale: it is used only while Glory fails.
const (
	// runOutShare is the number of TTLs after which a stale answer isn't used any more.
	runOutShare = 5
	// freshPatience is how long a caller waits for Glory if there is a stale answer to use otherwise.
	freshPatience = time.Second
	// patient is the number of callers who may wait like that at once. If Glory hangs, all further ones use the stale answer at once.
	patient = 16
	// recheckEvery is the time between two calls of Glory about one token while Glory fails.
	recheckEvery = time.Second
	// runOutNoted is how long runsOut stays true after the last use of a stale answer.
	runOutNoted = time.Minute
)

// vault keeps answers for the fleet. *tokencache.Vault implements it, and documents the methods.
type vault interface {
	Load(ctx context.Context, name string) (value []byte, left time.Duration, ok bool)
	Save(ctx context.Context, name string, value []byte, ttl time.Duration)
	Reseal(secret.Value)
}

// said is an answer of Glory about one member token. The zero value stands for no answer.
type said[T any] struct {
	what  T
	given moment // when Glory gave it
	fresh moment // until when it is fresh
	end   moment // until when it is stale
	// recheck is when Glory may be asked again, after it has failed. 0: it hasn't failed since the answer.
	recheck moment
}

// exists reports whether there is an answer.
func (s said[T]) exists() bool { return s.end != 0 }

// inquiry is a question to Glory about one token.
type inquiry[T any] struct {
	digest [sha256.Size]byte
	expiry time.Time // the token's; zero: it has none
	blank  T         // an answer of the fleet is decoded into a copy of it
	// ask makes the call. The error wraps ErrMemberToken if Glory denies the token, otherwise an error of package upstream.
	ask func(context.Context) (T, error)
}

// memory keeps answers of Glory about member tokens, on this replica and for the fleet. It is safe for concurrent use.
type memory[T any] struct {
	kind    string        // begins the names of its values in fleet
	ttl     time.Duration // for how long an answer is fresh; 0: nothing is kept
	timeout time.Duration // of one call of Glory together with the look in fleet before it
	// unknown bounds the calls about tokens without an answer, fresh or stale. nil: there is no bound.
	unknown *semaphore.Weighted
	fleet   vault
	clock   clock
	kept    *digests[said[T]] // the answers on this replica
	flights flights[said[T]]
	// patience is held by callers who wait for Glory although they have a stale answer.
	patience *semaphore.Weighted
	// runOut is when a stale answer was last used, in Unix nanoseconds. 0: never, or Glory has answered since.
	runOut atomic.Int64
}

// newMemory returns a memory for size answers on this replica. The caller may set unknown.
func newMemory[T any](kind string, size int, o Options, c clock) *memory[T] {
	return &memory[T]{
		kind: kind, ttl: o.MemberCacheTTL, timeout: o.GloryTimeout, fleet: o.Verdicts, clock: c,
		kept: lru.New[[sha256.Size]byte, said[T]](size, nil), patience: semaphore.NewWeighted(patient),
	}
}

// fresh returns the answer on this replica if it is fresh at now.
func (m *memory[T]) fresh(digest [sha256.Size]byte, now time.Time) (said[T], bool) {
	s, ok := m.kept.Get(digest)
	return s, ok && m.clock.of(now) < s.fresh
}

// of returns a fresh answer, from this replica, the fleet or Glory in this order, or a stale one while Glory fails. The error is
// that of q.ask, or ctx's. It is upstream.ErrBusy if too many tokens without an answer are asked about at once.
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

// refresh returns a newer answer than known, which is stale, or known itself. It waits for Glory for freshPatience. It
// doesn't wait if Glory has failed lately, or if many callers wait already: then this caller uses known, and the next one gets
// the result of the call.
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

// join waits for the call about this token, and starts it if none is under way. The error is as in of.
func (m *memory[T]) join(ctx context.Context, q inquiry[T], known said[T]) (said[T], error) {
	return m.flights.join(ctx, q.digest, m.timeout, func(own context.Context) (said[T], error) { return m.find(own, q, known) })
}

// find looks for a fresh answer in the fleet, and otherwise asks Glory and keeps the answer. known is the stale answer on
// this replica; without one, the call needs a place in unknown. If Glory fails and there is a stale answer, it returns that.
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

// unasked reports whether err means that Glory has failed: it gave no usable answer.
func unasked(err error) bool {
	return errors.Is(err, upstream.ErrFailed) || errors.Is(err, upstream.ErrTimeout) ||
		errors.Is(err, upstream.ErrBusy) || errors.Is(err, upstream.ErrCircuit)
}

// given returns the answer what, which Glory gave at the moment at. It is neither fresh nor stale after the token's expiry.
func (m *memory[T]) given(q inquiry[T], what T, at moment) said[T] {
	s := said[T]{what: what, given: at, fresh: at + moment(m.ttl), end: at + runOutShare*moment(m.ttl)}
	if left := time.Until(q.expiry); !q.expiry.IsZero() && left < runOutShare*m.ttl {
		last := m.clock.now() + moment(left)
		s.fresh, s.end = min(s.fresh, last), min(s.end, last)
	}
	return s
}

// remember keeps an answer that Glory has just given, on this replica and for the fleet.
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

// forget removes old, a stale answer, because Glory denies the token now. A life of 0 in the fleet tells the other replicas.
func (m *memory[T]) forget(ctx context.Context, digest [sha256.Size]byte, old said[T]) {
	m.kept.Remove(digest)
	if old.exists() {
		m.fleet.Save(ctx, m.name(digest), lifeText(0), time.Duration(old.end-m.clock.now()))
	}
}

// shared returns the fleet's answer if it is newer than known, and keeps it on this replica. Otherwise it returns known. It returns
// the zero value if a replica has removed the answer, or nothing is kept.
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

// name returns the name of a token's answer in the fleet.
func (m *memory[T]) name(digest [sha256.Size]byte) string {
	return m.kind + " " + hex.EncodeToString(digest[:])
}

// lifeLength is the length of lifeText.
const lifeLength = 8

// lifeText returns the first bytes of a value in the fleet: its whole lifetime. The reader knows the rest of it, and so the age
// of the answer, without the clock of another machine. A lifetime of 0 means that the answer was removed.
func lifeText(life time.Duration) []byte { return binary.BigEndian.AppendUint64(nil, uint64(life)) }

// noteRunOut notes that a stale answer is used now.
func (m *memory[T]) noteRunOut() { m.runOut.Store(time.Now().UnixNano()) }

// runsOut reports whether a stale answer was used in the last minute, and Glory hasn't answered since.
func (m *memory[T]) runsOut() bool {
	last := m.runOut.Load()
	return last != 0 && time.Since(time.Unix(0, last)) < runOutNoted
}
