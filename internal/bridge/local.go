package bridge

// This file verifies member tokens in process, as RFC 8725 asks: the algorithm comes from the settings, every claim
// that is relied on is checked, and all failures look the same from outside.

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"roomgate/internal/lru"
	"roomgate/internal/tokencache"
)

// LocalVerification configures verification in process. The zero value means none: Glory is asked instead.
type LocalVerification struct {
	// Secrets are all accepted HMAC secrets; more than one while they are rotated.
	Secrets []tokencache.Secret
	// Algorithms are the accepted ones, by their JWS names.
	Algorithms []string
	// Issuer is the required iss; "" accepts any.
	Issuer string
	// Leeway is the slack on exp, nbf and iat.
	Leeway time.Duration
}

// local verifies signature and claims. It is safe for concurrent use.
type local struct {
	parser *jwt.Parser
	keys   jwt.VerificationKeySet
	leeway time.Duration
	known  *digests[*known]
}

func newLocal(v LocalVerification) *local {
	options := []jwt.ParserOption{
		jwt.WithValidMethods(v.Algorithms),
		jwt.WithStrictDecoding(),
		jwt.WithJSONNumber(),
		jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(v.Leeway),
	}
	if v.Issuer != "" {
		options = append(options, jwt.WithIssuer(v.Issuer))
	}
	l := &local{parser: jwt.NewParser(options...), leeway: v.Leeway, known: lru.New[[sha256.Size]byte, *known](maxKnown, nil)}
	for _, secret := range v.Secrets {
		l.keys.Keys = append(l.keys.Keys, []byte(secret.Reveal()))
	}
	return l
}

// verify admits the member of a token that is good in every respect, and remembers it. The error wraps ErrMemberToken.
func (l *local) verify(t memberToken) (Member, error) {
	_, err := l.parser.ParseWithClaims(t.raw, jwt.MapClaims{}, func(*jwt.Token) (any, error) { return l.keys, nil })
	expired := isExpiredAlone(err)
	if err != nil && !expired {
		return Member{}, fmt.Errorf("%w: %w", ErrMemberToken, err)
	}
	// The library takes any number for a time and lets the type of sub pass.
	for _, name := range []string{"exp", "nbf", "iat"} {
		if _, _, err := numericDate(t.claims, name); err != nil {
			return Member{}, fmt.Errorf("%w: %w", ErrMemberToken, err)
		}
	}
	expiry, _, _ := numericDate(t.claims, "exp") // read above
	k := newKnown(t, expiry)
	if k.subject == "" {
		return Member{}, fmt.Errorf("%w: no sub", ErrMemberToken)
	}
	if expired {
		return Member{}, ErrExpired
	}
	l.known.Add(t.digest, k)
	return k.first(t), nil
}

// recall returns the member of a token that was verified and hasn't expired since.
func (l *local) recall(raw string) (Member, bool) {
	digest := digestOf(raw)
	k, ok := l.known.Get(digest)
	if !ok || k.expired(time.Now(), l.leeway) {
		return Member{}, false
	}
	return k.member(raw, digest), true
}

// isExpiredAlone reports whether the parser has found nothing wrong but the end of the token. The signature is checked before the
// claims are.
func isExpiredAlone(err error) bool {
	if !errors.Is(err, jwt.ErrTokenExpired) {
		return false
	}
	for _, other := range []error{
		jwt.ErrTokenNotValidYet, jwt.ErrTokenUsedBeforeIssued, jwt.ErrTokenInvalidIssuer, jwt.ErrTokenRequiredClaimMissing, jwt.ErrInvalidType,
	} {
		if errors.Is(err, other) {
			return false
		}
	}
	return true
}
