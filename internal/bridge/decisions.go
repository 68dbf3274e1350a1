package bridge

// This file remembers which license admits a member: with thousands of licenses, to go through their rules takes milliseconds.

import (
	"crypto/sha256"
	"slices"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// maxDecisions bounds the member tokens whose decision is remembered, at about 200 bytes each.
const maxDecisions = 100_000

// decision is what the licenses' rules come to for a member.
type decision struct {
	place int       // of the license that admits the member; -1: none does
	owner bool      // as an owner
	until time.Time // the end of the profile that it was made with; zero: it was made without one
}

// secrets is what may be replaced at run time. It is never changed itself; decisions go with it.
type secrets struct {
	local     *local // nil: remote decides
	licenses  []licensed
	decisions *lru.Cache[[sha256.Size]byte, decision] // by member token; nil: none is remembered
}

// newSecrets remembers decisions where no rule looks at the request, and where that spares something.
func newSecrets(local *local, licenses []licensed) *secrets {
	s := &secrets{local: local, licenses: licenses}
	evaluated := func(l licensed) bool { return l.allow.always == nil || l.owner.always == nil }
	request := func(l licensed) bool { return l.allow.request || l.owner.request }
	if slices.ContainsFunc(licenses, evaluated) && !slices.ContainsFunc(licenses, request) {
		s.decisions, _ = lru.New[[sha256.Size]byte, decision](maxDecisions) // fails for sizes below 1 only
	}
	return s
}

// decided returns the decision that is remembered for the member's token. Who asks has authenticated the member: with the verdict
// on the token, its decision goes out of use too.
func (s *secrets) decided(m Member, now time.Time) (decision, bool) {
	if s.decisions == nil {
		return decision{}, false
	}
	d, ok := s.decisions.Get(m.token.digest)
	return d, ok && (d.until.IsZero() || now.Before(d.until))
}

// remember keeps d for the member's token. A member without one, whom no Bridge has authenticated, has nothing to be known by.
func (s *secrets) remember(m Member, d decision) {
	if s.decisions != nil && m.token.digest != [sha256.Size]byte{} {
		s.decisions.Add(m.token.digest, d)
	}
}
