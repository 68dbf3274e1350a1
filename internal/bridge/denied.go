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

	"github.com/golang-jwt/jwt/v5"
)

const (
	deniedSub   = "sub:"
	deniedToken = "token:"
)

// denier is the fleet's deny list. *fleet.DenyList is one.
type denier interface {
	Empty() bool
	Has(names ...string) bool
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

// isDenied reports whether the member, or the very token, is to be turned away.
func (b *Bridge) isDenied(m Member) bool {
	return b.denied != nil && !b.denied.Empty() && b.denied.Has(deniedSub+m.Subject, deniedToken+hex.EncodeToString(m.token.digest[:]))
}

// maxQuestions is how many tokens of one request Glory is asked about: a request has one, and a header has room for hundreds.
const maxQuestions = 4

// CheckBearer returns ErrDenied where Authorization headers that Glory is to judge bear a denied token, or a genuine one of a
// denied member. A token that only says that it is a denied member's is Glory's to refuse: who forges one must not learn who is
// denied. Where members are verified by Glory and it gives no verdict on such a token, the error is that of Authenticate.
//
// What Glory could read in another way counts too: any scheme, several headers, a signature that isn't in its strict form.
func (b *Bridge) CheckBearer(ctx context.Context, authorization []string) error {
	if b.denied == nil || b.denied.Empty() {
		return nil
	}
	questions := 0
	for _, header := range authorization {
		for raw := range strings.FieldsFuncSeq(header, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
			t, ok := readBearer(raw)
			if !ok {
				continue
			}
			if digest := digestOf(t.raw); b.denied.Has(deniedToken + hex.EncodeToString(digest[:])) {
				return ErrDenied
			}
			if local := b.secrets.Load().local; local != nil {
				// The signature comes first: a look at the list alone would take another time for who is on it.
				if local.signed(t) && b.denied.Has(deniedSub+t.subject()) {
					return ErrDenied
				}
				continue
			}
			if questions == maxQuestions || !b.denied.Has(deniedSub+t.subject()) {
				continue
			}
			questions++
			if _, err := b.Authenticate(ctx, []string{"Bearer " + t.raw}); err == nil {
				return ErrDenied
			} else if !errors.Is(err, ErrMemberToken) {
				return err
			}
		}
	}
	return nil
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

// subject is who the token says its member is; "" where it doesn't.
func (t bearerToken) subject() string {
	var claims struct {
		Sub string `json:"sub"`
	}
	text, err := base64.RawURLEncoding.DecodeString(t.payload)
	if err != nil || json.Unmarshal(text, &claims) != nil {
		return ""
	}
	return claims.Sub
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
