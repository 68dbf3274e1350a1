package bridge

import (
	"context"
	"slices"
)

// secrets is what Reload replaces, and what follows from it. It never changes: Reload makes a new one.
type secrets struct {
	local    *local     // nil: remote mode
	licenses []licensed // in the order of Options.Licenses
	rules    *era
	always   *decision // the decision for everybody, if all rules are just true or false; otherwise nil
	request  bool      // some rule looks at the request, so decisions can't be remembered for the member
}

// era identifies one set of rules by its address. A remembered decision has the era that it was made in, and isn't used in another
// one. It doesn't point to the licenses themselves, because then it would keep old ones in memory.
type era struct{ _ byte }

// newSecrets returns the secrets with a new era: all remembered decisions become invalid.
func newSecrets(local *local, licenses []licensed) *secrets {
	s := &secrets{local: local, licenses: licenses, rules: new(era)}
	evaluated := func(l licensed) bool { return l.allow.always == nil || l.owner.always == nil }
	s.request = slices.ContainsFunc(licenses, func(l licensed) bool { return l.allow.request || l.owner.request })
	if !slices.ContainsFunc(licenses, evaluated) {
		d, _ := new(evaluation).decide(context.Background(), licenses) // can't fail: no rule needs a profile
		s.always = &d
	}
	return s
}

// decided returns the decision for the member's token, if one is remembered and still valid.
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

// remember keeps d with the member's token. It does nothing if rules look at the request, or if no Bridge has authenticated the
// member.
func (s *secrets) remember(m Member, d decision) {
	if m.known != nil && !s.request {
		d.rules = s.rules
		m.known.decision.Store(&d)
	}
}
