package bridge

// This file remembers member tokens that were verified: to read one costs more than most of a request, and to verify it in process
// more than all the rest.

import (
	"crypto/sha256"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"roomgate/internal/tokencache"
)

// maxVerified bounds the tokens that are remembered, at about 1 KiB each.
const maxVerified = 50_000

// verified holds good tokens by their hash, and no token itself. In local mode it belongs to one set of secrets and goes with it; in
// remote mode a token in it needs a verdict besides. It is safe for concurrent use.
type verified struct {
	leeway time.Duration
	tokens *lru.Cache[[sha256.Size]byte, goodToken]
}

// goodToken is a verified token's member, without the token.
type goodToken struct {
	member Member
	expiry time.Time
}

func newVerified(leeway time.Duration) *verified {
	tokens, _ := lru.New[[sha256.Size]byte, goodToken](maxVerified) // fails for sizes below 1 only
	return &verified{leeway, tokens}
}

// get returns the member of a token that was verified and hasn't expired since.
func (v *verified) get(raw string) (Member, bool) {
	digest := digestOf(raw)
	known, ok := v.tokens.Get(digest)
	if !ok || !time.Now().Before(known.expiry.Add(v.leeway)) {
		return Member{}, false
	}
	known.member.token = presented{tokencache.NewSecret(raw), digest}
	return known.member, true
}

// add remembers a good token.
func (v *verified) add(m Member, expiry time.Time) {
	digest := m.token.digest
	m.token = presented{}
	v.tokens.Add(digest, goodToken{m, expiry})
}
