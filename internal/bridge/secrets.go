package bridge

// This file holds what may be replaced at run time, with what follows from it for every request.

import (
	"context"
	"slices"
)

// secrets is never changed itself.
type secrets struct {
	local    *local // nil: remote decides
	licenses []licensed
	rules    *era
	always   *decision // where no rule is evaluated, everybody's
	request  bool      // a rule looks at the request: no decision is remembered
}

// era stands for one set of licenses: a decision that was made in another one is out of use. It is not the set itself, which what
// is remembered would keep alive.
type era struct{ _ byte }

func newSecrets(local *local, licenses []licensed) *secrets {
	s := &secrets{local: local, licenses: licenses, rules: new(era)}
	evaluated := func(l licensed) bool { return l.allow.always == nil || l.owner.always == nil }
	s.request = slices.ContainsFunc(licenses, func(l licensed) bool { return l.allow.request || l.owner.request })
	if !slices.ContainsFunc(licenses, evaluated) {
		d, _ := new(evaluation).decide(context.Background(), licenses) // fails for want of a profile only
		s.always = &d
	}
	return s
}

// decided returns the decision that is remembered with the member's token.
func (s *secrets) decided(m Member, c clock) (decision, bool) {
	if s.always != nil {
		return *s.always, true
	}
	if m.known == nil {
		return decision{}, false
	}
	d := m.known.decision.Load()
	if d == nil || d.rules != s.rules || d.until != 0 && c.now() >= d.until {
		return decision{}, false
	}
	return *d, true
}

// remember keeps d with the member's token. A member without one, whom no Bridge has authenticated, has nothing to be known by.
func (s *secrets) remember(m Member, d decision) {
	if m.known != nil && !s.request {
		d.rules = s.rules
		m.known.decision.Store(&d)
	}
}
