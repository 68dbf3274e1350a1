package tokencache

// This file tells an operator where every token stands, without the tokens.

import (
	"slices"
	"time"
)

// The states of a key, as the package comment draws them.
const (
	StateEmpty   = "empty"
	StateFresh   = "fresh"
	StateDue     = "due"
	StateFailing = "failing"
)

// Status is one key's state on this replica.
type Status struct {
	Labels    []string // of the key; as many as Options.Labels
	State     string
	Age       time.Duration // since it was issued; 0 without a token
	ExpiresIn time.Duration // 0 without a token
	LastError string        // class of the failure that is remembered; "" for none
	Refused   bool          // the token in use was rejected although fresh
}

// Status returns the state of every key that has been asked for, in the order of their labels.
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

func (e *entry) status(now time.Time) Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := Status{State: StateEmpty}
	if e.failure != nil {
		s.State, s.LastError = StateFailing, string(e.failure.Class)
	}
	t := e.token.Load()
	if !t.valid(now) {
		return s
	}
	s.ExpiresIn = t.expiry.Sub(now)
	s.Age = t.life - margin(t.life) - s.ExpiresIn
	s.Refused = t.generation == e.refused && now.Before(e.refusedUntil)
	s.State = StateFresh
	if s.ExpiresIn+margin(t.life) < min(t.life/advisoryShare, advisoryMost) {
		s.State = StateDue
	}
	return s
}

// RedisDown reports whether Redis is known to be down, and why. Without Redis it is never down.
func (c *Cache) RedisDown() (down bool, reason string) {
	if c.store == nil {
		return false, ""
	}
	if err := c.store.use.Outage(); err != nil {
		return true, err.Error()
	}
	return false, ""
}
