package bridge

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

// The beginnings of names on the deny list that an operator puts there. logout.go has those for logouts.
const (
	deniedSub   = "sub:"   // a member; the sub follows
	deniedToken = "token:" // one member token; its SHA-256 in hex follows
)

// denier is the fleet's deny list. *fleet.DenyList implements it, and documents the methods.
type denier interface {
	Empty() bool
	Changes() uint64
	Has(names ...string) bool
	Until(name string) (end time.Time, ok bool)
	Add(ctx context.Context, name string, ttl time.Duration, most int) error
	AddUntil(ctx context.Context, name string, end time.Time, most int) error
}

// DeniedName returns the name on the deny list for an operator's argument: a sub, or token:HASH with the SHA-256 of a member JWT
// in hex.
func DeniedName(argument string) string {
	if hash, ok := strings.CutPrefix(argument, deniedToken); ok {
		return deniedToken + strings.ToLower(hash)
	}
	return deniedSub + argument
}

// CanBeDenied reports whether a name of DeniedName can belong to a member or a member token. It is false for token: with
// anything but a SHA-256 in hex, which would deny nobody.
func CanBeDenied(name string) bool {
	hash, isToken := strings.CutPrefix(name, deniedToken)
	digest, err := hex.DecodeString(hash)
	return !isToken || err == nil && len(digest) == sha256.Size
}

// DeniedLabel is the inverse of DeniedName.
func DeniedLabel(name string) string { return strings.TrimPrefix(name, deniedSub) }

// tokenListed is listed for a single token. b.denied must not be nil.
func (b *Bridge) tokenListed(digest [sha256.Size]byte) error {
	if b.denied.Has(tokenName(digest)) {
		return ErrLoggedOut
	}
	if b.denied.Has(deniedToken + hex.EncodeToString(digest[:])) {
		return ErrDenied
	}
	return nil
}

// maxQuestions is the largest number of tokens in one request that Glory is asked about. A request should have one, but a header
// has room for hundreds.
const maxQuestions = 4

// CheckBearer checks the Authorization headers of a request that Glory, and not this package, will judge. The error is ErrLoggedOut or
// ErrDenied if a token in them is on the deny list, or is a genuine token of a member on the list. A forged token of such a member is
// no error: Glory refuses it, and the forger doesn't learn who is on the list.
//
// Glory may accept more than this package does. So each JWT in the headers is checked, whatever the scheme, the number of headers or
// the spelling of the signature.
//
// In local mode it doesn't block. In remote mode it asks Glory, as Authenticate does, if a token claims to be of a member on the
// list. If Glory gives no verdict, the error is that of Authenticate.
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

// bearerListed is CheckBearer for one token. questions is the number of tokens of the request that Glory was asked about so far.
func (b *Bridge) bearerListed(ctx context.Context, t bearerToken, questions *int) error {
	if err := b.tokenListed(digestOf(t.raw)); err != nil {
		return err
	}
	if local := b.secrets.Load().local; local != nil {
		// Check the signature before the list. Otherwise a forger could tell by the time of the answer whether the member is on the list.
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

// bearerToken is a JWT as Glory may read it. Nothing in it has been verified.
type bearerToken struct {
	raw       string // with the signature in strict base64url: the text that is hashed
	content   string // what the signature is for: header, dot, payload
	payload   string // in base64url
	signature []byte // decoded
}

// readBearer splits a JWT. ok is false if raw isn't one by its form. The signature may be in any base64: with padding, with the
// alphabet of +/, or with unused bits set. All of these are the same token, so raw gets the strict form.
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

// claimed returns the token's sub and iat, which may be forged. iat is in seconds since 1970. If a claim is missing or can't be
// read, it is "" or 0.
func (t bearerToken) claimed() (subject string, issued int64) {
	var claims struct {
		Sub string      `json:"sub"`
		Iat json.Number `json:"iat"`
	}
	text, err := base64.RawURLEncoding.DecodeString(t.payload)
	if err != nil {
		return "", 0
	}
	_ = json.Unmarshal(text, &claims) // after an error in iat, sub has been read all the same
	if at, ok, err := numericDate(map[string]any{"iat": claims.Iat}, "iat"); ok && err == nil {
		issued = at.Unix()
	}
	return claims.Sub, issued
}

// signed reports whether the token's signature is by one of the secrets, with any HMAC algorithm: Glory may accept algorithms that
// the settings don't allow. The length of the signature tells which it is.
func (l *local) signed(t bearerToken) bool {
	method, ok := map[int]*jwt.SigningMethodHMAC{
		32: jwt.SigningMethodHS256, 48: jwt.SigningMethodHS384, 64: jwt.SigningMethodHS512,
	}[len(t.signature)]
	return ok && slices.ContainsFunc(l.keys.Keys, func(key jwt.VerificationKey) bool {
		return method.Verify(t.content, t.signature, key) == nil
	})
}
