package tokencache

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// entry is the state of one key on this replica. Each transition of the package comment's diagram is one method. Reading the
// token takes no lock. It is safe for concurrent use.
type entry struct {
	key Key
	// token is nil if there is none. It may have expired. It is stored with mu held.
	token atomic.Pointer[Token]
	// asked is the time of the last lookup, in nanoseconds since Cache.started.
	asked atomic.Int64
	// hits counts lookups that memory answered.
	hits prometheus.Counter

	// mu guards all fields below. While it is held, no other lock of this package is taken, nothing blocks, and no function of
	// a caller is called.
	mu sync.Mutex
	// fetch is from the latest lookup that found no token in memory; nil before the first.
	fetch Fetch
	// fetches is the number of calls of fetch that have begun.
	fetches uint64
	// wake runs Cache.onTimer; nil before the first flight has ended.
	wake *time.Timer
	// forgotten is set by Forget and Close. wake isn't set again.
	forgotten bool
	// failure is that of the last flight. nil: it succeeded, or there was none, or lapse or drop has cleared it.
	failure  *FetchError
	failedAt time.Time // of the last failure, also after lapse and drop
	retryAt  time.Time // the end of the backoff, if failure is set
	attempts int       // failed flights in a row, also after lapse and drop
	// floor is the greatest generation that was rejected here. The generation of token is greater.
	floor uint64
	// seen is the greatest generation that this replica knows of, from Redis or its own. The next one must be greater.
	seen uint64
	// refused is a generation that isn't replaced until refusedUntil. See Reject.
	refused      uint64
	refusedUntil time.Time
	// budget limits fetches while Redis is down.
	budget *rate.Limiter
}

// newEntry returns the entry of a key that nothing is known of.
func newEntry(key Key, m *metrics) *entry {
	return &entry{key: key, hits: m.lookups.WithLabelValues(string(Memory), "hit"), budget: newBudget(key.AskedLife)}
}

// adopt puts t into memory, unless a token of the same or a newer generation is there, expired or not, or t was rejected
// meanwhile. Either way the flight has succeeded: the failure is cleared.
func (e *entry) adopt(t *Token) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if mine := e.token.Load(); t.generation > e.floor && (mine == nil || mine.generation < t.generation) {
		e.token.Store(t)
		e.budgetFor(t.life)
	}
	e.seen = max(e.seen, t.generation)
	e.failure, e.attempts = nil, 0
}

// fail remembers a flight's failure until adopt, lapse or drop. The next flight may start after wait. It returns the failure
// to tell callers. first is false if the flight before has failed too.
func (e *entry) fail(failure *FetchError, attempts int, wait time.Duration) (told *FetchError, first bool) {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	first = e.failure == nil
	if failure.Class == Budget && !first {
		failure = e.failure // the issuer's own failure says more than "not fetching yet"
	}
	e.failure, e.failedAt, e.retryAt, e.attempts = failure, now, now.Add(wait), attempts
	return failure, first
}

// lapse clears a failure that nobody has asked about. failedAt and attempts stay, so that the backoff goes on from where it was
// if the next flight fails. Otherwise callers who come one by one would cause a fetch each.
func (e *entry) lapse() {
	e.mu.Lock()
	e.failure = nil
	e.mu.Unlock()
}

// drop removes a rejected token: the one of this generation or an older one. A newer token stays.
func (e *entry) drop(generation uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.floor, e.seen = max(e.floor, generation), max(e.seen, generation)
	if mine := e.token.Load(); mine != nil && mine.generation <= generation {
		e.token.Store(nil)
		e.failure = nil // it was a refresh's; now that no token is left, the next lookup fetches at once
	}
}

// refuse remembers for ttl that this generation isn't to be replaced. The token stays in memory.
func (e *entry) refuse(generation uint64, ttl time.Duration) {
	e.mu.Lock()
	e.refused, e.refusedUntil = generation, time.Now().Add(ttl)
	e.mu.Unlock()
}

// learn updates seen and the refusal from a look in Redis. It returns v without its token if that isn't newer than the token in
// memory, or was rejected here.
func (e *entry) learn(v view) view {
	e.mu.Lock()
	defer e.mu.Unlock()
	// Redis may have an older refusal than this replica, which couldn't write its own while Redis was down.
	if v.refused > 0 && v.refused >= e.refused {
		e.refused, e.refusedUntil = v.refused, v.refusedUntil
	}
	e.seen = max(e.seen, v.tombstone, v.refused)
	if v.token == nil {
		return v
	}
	e.seen = max(e.seen, v.token.generation)
	mine := e.token.Load()
	if v.token.generation <= e.floor || mine != nil && v.token.generation <= mine.generation {
		v.token = nil
	}
	return v
}

// failing returns the last flight's failure as an *Unavailable; nil: it didn't fail. The failure stays while the next flight is
// under way. So callers get their answer at once, and not after another timeout.
func (e *entry) failing(now time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failure == nil {
		return nil
	}
	return &Unavailable{Class: e.failure.Class, RetryAfter: max(time.Second, e.retryAt.Sub(now)), Err: e.failure.Err}
}

// impatient reports whether the last flight has failed and may be repeated before its backoff ends. It may not if the issuer itself
// has asked to wait. fetches is how many fetches have begun.
func (e *entry) impatient() (fetches uint64, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.fetches, e.failure != nil && e.failure.Class != Throttled
}

// refusal returns an *Unavailable of class Rejected if this generation is refused at present, otherwise nil.
func (e *entry) refusal(generation uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	left := time.Until(e.refusedUntil)
	if e.refused != generation || left <= 0 {
		return nil
	}
	return &Unavailable{Class: Rejected, RetryAfter: max(time.Second, left), Err: errRejected}
}

// dropped reports whether this generation or a newer one was rejected on this replica.
func (e *entry) dropped(generation uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return generation <= e.floor
}

// rejections returns floor.
func (e *entry) rejections() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.floor
}

// greatest returns seen.
func (e *entry) greatest() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen
}

// remember keeps the fetch function for the next flights, whoever starts them.
func (e *entry) remember(fetch Fetch) {
	e.mu.Lock()
	e.fetch = fetch
	e.mu.Unlock()
}

// arm sets the entry's only timer. f runs once, after the given time; an earlier call that hasn't run yet is replaced. f must
// be the same in each call: the timer keeps the first. After forget it does nothing.
func (e *entry) arm(after time.Duration, f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.forgotten:
	case e.wake == nil:
		e.wake = time.AfterFunc(max(after, 0), f)
	default:
		e.wake.Reset(max(after, 0))
	}
}

// forget stops the timer for good. A flight that is under way goes on.
func (e *entry) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forgotten = true
	if e.wake != nil {
		e.wake.Stop()
	}
}
