package bridge

// This file remembers member tokens that were found good: to read one costs more than most of a request, and to verify it in process
// more than all the rest.

import (
	"crypto/sha256"
	"sync/atomic"
	"time"
	"unique"

	"roomgate/internal/fleet"
	"roomgate/internal/lru"
	"roomgate/internal/tokencache"
)

// maxKnown bounds the tokens that are remembered, at some 0.3 KiB each with the count of the member.
const maxKnown = 1 << 17

// digests is a memory by the hash of a token: it keeps no token.
type digests[V any] = lru.Cache[[sha256.Size]byte, V]

// known is all that is remembered of a good token, without the token, so that a request needs one look-up. In local mode it goes
// with the set of secrets; in remote mode it is part of the verdict. It is safe for concurrent use.
type known struct {
	subject  string
	issuer   unique.Handle[string]
	expiry   int64                    // the token's, as instant gives it
	decision atomic.Pointer[decision] // nil: none yet
	share    fleet.Share
	// claims are those for rules, where some look at the request too: without them each request would read the token anew. Else nil.
	claims atomic.Pointer[map[string]any]
}

// decision is what the licenses' rules come to for a member. It is never changed.
type decision struct {
	rules *era
	until moment // the end of the profile that it was made with; 0: it was made without one
	place int32  // of the license that admits the member; -1: none does
	owner bool   // as an owner
}

// newKnown is to be called once the token is believed. expiry is zero where the token has none.
func newKnown(t memberToken, expiry time.Time) *known {
	subject, _ := t.claims["sub"].(string)
	issuer, _ := t.claims["iss"].(string)
	return &known{subject: subject, issuer: unique.Make(issuer), expiry: instant(expiry)}
}

// expired reports whether the token's time is over by the wall clock.
func (k *known) expired(now time.Time, leeway time.Duration) bool {
	return now.Add(-leeway).UnixNano() >= k.expiry
}

// first is who presents t, which has been read for this request.
func (k *known) first(t memberToken) Member {
	m := k.member(t.raw, t.digest)
	m.claims = t.claims
	return m
}

// ruleClaims are the member's claims as rules see them. keep tells whether the next request will need them too.
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

// member is who presents raw.
func (k *known) member(raw string, digest [sha256.Size]byte) Member {
	return Member{
		Subject: k.subject, Issuer: k.issuer.Value(), known: k,
		token: presented{tokencache.NewSecret(raw), digest},
	}
}
