package tokencache

import (
	"slices"
	"time"
)

// The states of a key on this replica: those in the package comment's diagram.
const (
	StateEmpty   = "empty"
	StateFresh   = "fresh"
	StateDue     = "due"
	StateFailing = "failing"
)

// Status is the state of one key on this replica. It holds no secret.
type Status struct {
	// Labels are the key's, as many as Options.Labels.
	Labels []string
	// State is one of the constants above.
	State string
	// Age is the time since the token was fetched, by whichever replica. 0 without a valid token.
	Age time.Duration
	// ExpiresIn is 0 without a valid token.
	ExpiresIn time.Duration
	// LastError is the Class of the last flight's failure. "": it didn't fail. A key may have a valid token and a failure.
	LastError string
	// NextTry is the time until a failed flight is repeated. 0 without a failure, and when the backoff is over.
	NextTry time.Duration
	// Refused: the token is rejected where it is used, but isn't replaced for now. See Cache.Reject.
	Refused bool
}

// Status returns the state of each key that was looked up here and not forgotten since, sorted by labels. It doesn't ask Redis.
func (c *Cache) Status() []Status {
	c.mu.RLock()
	defer c.mu.RUnlock()
	all := make([]Status, 0, len(c.entries))
	for _, e := range c.entries {
		s := e.status(time.Now())
		s.Labels = c.metrics.values(e.key)
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Status) int { return slices.Compare(a.Labels, b.Labels) })
	return all
}

// status returns the entry's Status without labels.
func (e *entry) status(now time.Time) Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := Status{State: StateEmpty}
	if e.failure != nil {
		s.State, s.LastError, s.NextTry = StateFailing, string(e.failure.Class), max(0, e.retryAt.Sub(now))
	}
	t := e.token.Load()
	if !t.valid(now) {
		return s
	}
	s.ExpiresIn = t.expiry.Sub(now)
	s.Age = t.life - margin(t.life) - s.ExpiresIn
	s.Refused = t.generation == e.refused && now.Before(e.refusedUntil)
	s.State = StateFresh
	if s.ExpiresIn+margin(t.life) < advisoryWindow(t.life) {
		s.State = StateDue
	}
	return s
}

// RedisDown reports whether Redis, or a node of its cluster, is known to be down for tokens, and why. It doesn't ask Redis. A
// cache without Redis reports false.
func (c *Cache) RedisDown() (down bool, reason string) {
	if c.store == nil {
		return false, ""
	}
	if err := c.store.use.Outage(); err != nil {
		return true, err.Error()
	}
	return false, ""
}
