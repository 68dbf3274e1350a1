package bridge

// This file names who is on the deny list: a member by sub, or a single member token by its hash.

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	deniedSub   = "sub:"
	deniedToken = "token:"
)

// denier is the fleet's deny list. *fleet.DenyList is one.
type denier interface {
	Empty() bool
	Changes() uint64
	Has(names ...string) bool
	Until(name string) (end time.Time, ok bool)
	Add(ctx context.Context, name string, ttl time.Duration, most int) error
	AddUntil(ctx context.Context, name string, end time.Time, most int) error
}

// DeniedName is how an operator's argument stands on the list: token:HASH, the hex SHA-256 of a member JWT, or a sub.
func DeniedName(argument string) string {
	if hash, ok := strings.CutPrefix(argument, deniedToken); ok {
		return deniedToken + strings.ToLower(hash)
	}
	return deniedSub + argument
}

// CanBeDenied reports whether a member or a member token can have the name: a hash that isn't one would turn nobody away.
func CanBeDenied(name string) bool {
	hash, isToken := strings.CutPrefix(name, deniedToken)
	digest, err := hex.DecodeString(hash)
	return !isToken || err == nil && len(digest) == sha256.Size
}

// DeniedLabel is the argument again.
func DeniedLabel(name string) string { return strings.TrimPrefix(name, deniedSub) }

// tokenListed is listed for a single token.
func (b *Bridge) tokenListed(digest [sha256.Size]byte) error {
	if b.denied.Has(tokenName(digest)) {
		return ErrLoggedOut
	}
	if b.denied.Has(deniedToken + hex.EncodeToString(digest[:])) {
		return ErrDenied
	}
	return nil
}

// maxQuestions is how many tokens of one request Glory is asked about: a request has one, and a header has room for hundreds.
const maxQuestions = 4

// CheckBearer returns ErrLoggedOut or ErrDenied where Authorization headers that Glory is to judge bear a token that was logged out
// or is denied, or a genuine one of such a member. A token that only says that it is such a member's is Glory's to refuse: who forges
// one must not learn who is on the list. Where members are verified by Glory and it gives no verdict on such a token, the error is
// that of Authenticate.
//
// What Glory could read in another way counts too: any scheme, several headers, a signature that isn't in its strict form.
func (b *Bridge) CheckBearer(ctx context.Context, authorization []string) error {
	if b.denied == nil || b.denied.Empty() {
		return nil
	}
	questions := 0
	for _, header := range authorization {
		for raw := range strings.FieldsFuncSeq(header, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
			if t, ok := readBearer(raw); ok {
				if err := b.bearerListed(ctx, t, &questions); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// bearerListed is CheckBearer for one token. questions counts those that Glory was asked about.
func (b *Bridge) bearerListed(ctx context.Context, t bearerToken, questions *int) error {
	if err := b.tokenListed(digestOf(t.raw)); err != nil {
		return err
	}
	if local := b.secrets.Load().local; local != nil {
		// The signature comes first: a look at the list alone would take another time for who is on it.
		if !local.signed(t) {
			return nil
		}
		return b.memberListed(t.claimed())
	}
	listed := b.memberListed(t.claimed())
	if listed == nil || *questions == maxQuestions {
		return nil
	}
	*questions++
	_, err := b.Verify(ctx, []string{"Bearer " + t.raw})
	switch {
	case err == nil:
		return listed
	case errors.Is(err, ErrMemberToken):
		return nil
	}
	return err
}

// bearerToken is a JWT as Glory may read it. Nothing about it is verified.
type bearerToken struct {
	raw              string // with the signature in its strict form
	content, payload string
	signature        []byte
}

// readBearer takes raw apart; ok is false where it isn't a JWT by its form. The signature doesn't cover its own spelling: padding,
// the other alphabet and unused bits make another text of the same token.
func readBearer(raw string) (t bearerToken, ok bool) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 || len(raw) > maxAuthorization {
		return bearerToken{}, false
	}
	lax := strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(parts[2], "="))
	signature, err := base64.RawURLEncoding.DecodeString(lax)
	if err != nil {
		return bearerToken{}, false
	}
	content := parts[0] + "." + parts[1]
	return bearerToken{content + "." + base64.RawURLEncoding.EncodeToString(signature), content, parts[1], signature}, true
}

// claimed is who the token says its member is, and when it was issued, in seconds since 1970; "" and 0 where it doesn't.
func (t bearerToken) claimed() (subject string, issued int64) {
	var claims struct {
		Sub string      `json:"sub"`
		Iat json.Number `json:"iat"`
	}
	text, err := base64.RawURLEncoding.DecodeString(t.payload)
	if err != nil {
		return "", 0
	}
	_ = json.Unmarshal(text, &claims) // an iat that is no number is none
	if at, ok, err := numericDate(map[string]any{"iat": claims.Iat}, "iat"); ok && err == nil {
		issued = at.Unix()
	}
	return claims.Sub, issued
}

// signed reports whether one of the secrets has signed the token, with whichever HMAC: Glory may take more of them than rooms do.
func (l *local) signed(t bearerToken) bool {
	method, ok := map[int]*jwt.SigningMethodHMAC{
		32: jwt.SigningMethodHS256, 48: jwt.SigningMethodHS384, 64: jwt.SigningMethodHS512,
	}[len(t.signature)]
	return ok && slices.ContainsFunc(l.keys.Keys, func(key jwt.VerificationKey) bool {
		return method.Verify(t.content, t.signature, key) == nil
	})
}
