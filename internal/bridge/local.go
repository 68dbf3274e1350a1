package bridge

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"roomgate/internal/lru"
	"roomgate/internal/secret"
)

// LocalVerification configures verification in process. Without secrets there is none, and Glory is asked instead.
type LocalVerification struct {
	// Secrets are the HMAC secrets. A token is valid if its signature is by one of them, so that they can be rotated.
	Secrets []secret.Value
	// Algorithms are the allowed algorithms, by their names in JWS (RFC 7518 §3.1).
	Algorithms []string
	// Issuer is the required iss. "": any.
	Issuer string
	// Leeway is added to both ends of a token's validity: exp, nbf and iat. In remote mode it counts for exp.
	Leeway time.Duration
}

// local verifies member tokens in process, as RFC 8725 recommends: the allowed algorithms come from the settings and not from the
// token, and each claim that is used is checked. It is safe for concurrent use, and never changes but for known.
type local struct {
	parser *jwt.Parser
	keys   jwt.VerificationKeySet
	leeway time.Duration
	known  *digests[*known] // tokens that were valid under keys; they may have expired since
}

// newLocal returns a local that remembers no token.
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

// verify checks a token's signature and claims. It returns the member and remembers the token if it is valid. The error wraps
// ErrMemberToken. It is ErrExpired if the expiry is the only thing wrong, which a client may be told.
func (l *local) verify(t memberToken) (Member, error) {
	_, err := l.parser.ParseWithClaims(t.raw, jwt.MapClaims{}, func(*jwt.Token) (any, error) { return l.keys, nil })
	expired := isExpiredAlone(err)
	if err != nil && !expired {
		return Member{}, fmt.Errorf("%w: %w", ErrMemberToken, err)
	}
	// The library accepts any number as a time, and a sub of any type.
	for _, name := range []string{"exp", "nbf", "iat"} {
		if _, _, err := numericDate(t.claims, name); err != nil {
			return Member{}, fmt.Errorf("%w: %w", ErrMemberToken, err)
		}
	}
	expiry, _, _ := numericDate(t.claims, "exp") // checked above
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

// recall returns the member of a token that verify has remembered, if it hasn't expired since.
func (l *local) recall(raw string) (Member, bool) {
	digest := digestOf(raw)
	k, ok := l.known.Get(digest)
	if !ok || k.expired(time.Now(), l.leeway) {
		return Member{}, false
	}
	return k.member(raw, digest), true
}

// isExpiredAlone reports whether err says that the token has expired and nothing else. The signature is valid then: the parser
// checks it before the claims.
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
