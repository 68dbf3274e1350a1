package bridge

import (
	"crypto/sha256"
	"sync/atomic"
	"time"
	"unique"

	"roomgate/internal/fleet"
	"roomgate/internal/lru"
	"roomgate/internal/secret"
)

// maxKnown is the number of member tokens that are remembered, at about 0.3 KiB each with the member's rate limit.
const maxKnown = 1 << 17

// digests is a cache by the SHA-256 of a member token, which keeps no token. The least recently used entry is evicted.
type digests[V any] = lru.Cache[[sha256.Size]byte, V]

// known is what is remembered of a valid member token, except the token itself. Parsing a token costs more than most of a request, and
// verifying it in process costs more than the rest. With a known, a request needs only one look-up. In local mode, local has a
// cache of them. In remote mode, each verdict has one. It is safe for concurrent use.
type known struct {
	subject string
	issuer  unique.Handle[string] // one copy for all members
	// expiry is the token's exp, as instant returns it.
	expiry int64
	// issued is the token's iat in seconds since 1970; 0 if it has none.
	issued int64
	// unlisted is what denier.Changes returned when the deny list had neither the member nor the token. While that is the same,
	// the list needn't be checked.
	unlisted atomic.Uint64
	// decision is nil before the first.
	decision atomic.Pointer[decision]
	// share is the count of the member's rate limit.
	share fleet.Share
	// claims are the claims as rules see them. They are kept only if some rule looks at the request: then no decision is
	// remembered, and each request would have to parse the token again. Otherwise nil.
	claims atomic.Pointer[map[string]any]
}

// decision is the result of all licenses' rules for a member. It never changes.
type decision struct {
	rules *era   // the rules that it was made by
	until moment // the end of the profile that it was made with; 0: none was needed
	place int32  // of the license that admits the member, in Options.Licenses; -1: none does
	owner bool   // the role is that of an owner
}

// newKnown returns what to remember of t, which the caller knows to be valid or is about to ask Glory about. A zero expiry means that
// the token has none.
func newKnown(t memberToken, expiry time.Time) *known {
	subject, _ := t.claims["sub"].(string)
	issuer, _ := t.claims["iss"].(string)
	k := &known{subject: subject, issuer: unique.Make(issuer), expiry: instant(expiry)}
	if issued, ok, err := numericDate(t.claims, "iat"); ok && err == nil {
		k.issued = issued.Unix()
	}
	return k
}

// expired reports whether the token has expired at now, by the wall clock, with leeway.
func (k *known) expired(now time.Time, leeway time.Duration) bool {
	return now.Add(-leeway).UnixNano() >= k.expiry
}

// first returns the member who presents t, with the claims, since t was parsed for this request anyway.
func (k *known) first(t memberToken) Member {
	m := k.member(t.raw, t.digest)
	m.claims = t.claims
	return m
}

// ruleClaims returns the member's claims as rules see them. keep: remember them for the member's next request.
func (m Member) ruleClaims(keep bool) map[string]any {
	if m.known != nil {
		if kept := m.known.claims.Load(); kept != nil {
			return *kept
		}
	}
	claims, _ := celNumbers(m.Claims()).(map[string]any)
	if keep && m.known != nil {
		m.known.claims.Store(&claims)
	}
	return claims
}

// member returns the member who presents raw, without the claims.
func (k *known) member(raw string, digest [sha256.Size]byte) Member {
	return Member{
		Subject: k.subject, Issuer: k.issuer.Value(), known: k,
		token: presented{secret.New(raw), digest},
	}
}
