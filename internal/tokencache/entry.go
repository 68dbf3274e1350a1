package tokencache

// This file is the state of one key on this replica, and its transitions: each is one method. See the package comment for the
// states.

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"
)

// entry is one key's state. Reading the token takes no lock; every transition takes mu.
type entry struct {
	key   Key
	token atomic.Pointer[Token] // nil: none. It is stored with mu held
	asked atomic.Int64          // when a caller last wanted it, as time since the cache's start
	hits  prometheus.Counter

	mu           sync.Mutex // guards what follows; no other lock is taken while it is held, and nobody is called
	fetch        Fetch      // the caller's latest
	wake         *time.Timer
	forgotten    bool        // nothing is to happen any more
	failure      *FetchError // nil: the last flight succeeded, or nothing has been tried
	failedAt     time.Time
	retryAt      time.Time // end of the backoff, where failure is set
	attempts     int       // failed flights in a row
	floor        uint64    // generations up to this one were rejected here; that of token is above
	seen         uint64    // the greatest generation that was seen, here or in Redis
	refused      uint64    // rejected although it was fetched after a rejection, until refusedUntil
	refusedUntil time.Time
	budget       *rate.Limiter // fetches without Redis
}

func newEntry(key Key, m *metrics) *entry {
	return &entry{key: key, hits: m.lookups.WithLabelValues(string(Memory), "hit"), budget: newBudget(key.AskedLife)}
}

// remember keeps the fetch for flights that no caller starts.
func (e *entry) remember(fetch Fetch) {
	e.mu.Lock()
	e.fetch = fetch
	e.mu.Unlock()
}

// failing returns the remembered failure as an error, or nil. It holds until a flight succeeds or interest lapses, also
// while a new attempt is in the air: callers get their answer at once, not after another timeout.
func (e *entry) failing(now time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failure == nil {
		return nil
	}
	return &Unavailable{Class: e.failure.Class, RetryAfter: max(time.Second, e.retryAt.Sub(now)), Err: e.failure.Err}
}

// adopt takes t into memory. An older generation never replaces a newer one, not even one that has expired.
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

// fail remembers a failure until a flight succeeds or interest lapses, and returns the one that callers are told. first is
// false while an earlier failure is remembered.
func (e *entry) fail(failure *FetchError, attempts int, wait time.Duration) (told *FetchError, first bool) {
	now := time.Now()
	e.mu.Lock()
	defer e.mu.Unlock()
	first = e.failure == nil
	if failure.Class == Budget && !first {
		failure = e.failure // what the issuer said last tells more than that it can't be asked again yet
	}
	e.failure, e.failedAt, e.retryAt, e.attempts = failure, now, now.Add(wait), attempts
	return failure, first
}

// lapse forgets a failure that nobody asks about. The backoff goes on from where it was: callers who come one by one must not
// hammer the issuer either.
func (e *entry) lapse() {
	e.mu.Lock()
	e.failure = nil
	e.mu.Unlock()
}

// drop removes the token of this generation or an older one: it was rejected. A newer one stays.
func (e *entry) drop(generation uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.floor, e.seen = max(e.floor, generation), max(e.seen, generation)
	if mine := e.token.Load(); mine != nil && mine.generation <= generation {
		e.token.Store(nil)
		e.failure = nil // of a refresh: the next caller fetches now that it has to
	}
}

// dropped reports whether the generation was rejected here.
func (e *entry) dropped(generation uint64) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return generation <= e.floor
}

// refuse remembers that a generation was rejected although it was fetched after a rejection. The token stays.
func (e *entry) refuse(generation uint64, ttl time.Duration) {
	e.mu.Lock()
	e.refused, e.refusedUntil = generation, time.Now().Add(ttl)
	e.mu.Unlock()
}

// refusal is the error for a remembered generation, nil for any other.
func (e *entry) refusal(generation uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	left := time.Until(e.refusedUntil)
	if e.refused != generation || left <= 0 {
		return nil
	}
	return &Unavailable{Class: Rejected, RetryAfter: max(time.Second, left), Err: errRejected}
}

// learn takes over what the fleet knows, and returns what of it is of use to this entry: the token only if it is newer than
// any in memory and than any that was rejected here.
func (e *entry) learn(v view) view {
	e.mu.Lock()
	defer e.mu.Unlock()
	if v.refused > 0 && v.refused >= e.refused { // what this replica refused while Redis was out counts on
		e.refused, e.refusedUntil = v.refused, v.refusedUntil
	}
	e.seen = max(e.seen, v.buried, v.refused)
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

// greatest is the greatest generation that this replica has seen.
func (e *entry) greatest() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seen
}

// rejections is up to which generation tokens were rejected here.
func (e *entry) rejections() uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.floor
}

// arm sets the entry's one timer: f runs after a while, unless arm is called again before.
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

// forget stops the entry's timer for good.
func (e *entry) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.forgotten = true
	if e.wake != nil {
		e.wake.Stop()
	}
}
