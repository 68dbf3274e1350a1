package bridge

// This file takes the member token out of the Authorization header and reads its form; no key is involved yet.

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"roomgate/internal/fleet"
	"roomgate/internal/tokencache"
)

// maxAuthorization is the longest Authorization header that is read.
const maxAuthorization = 8 << 10

// Member is who asks.
type Member struct {
	// Subject is the JWT's sub: Glory's member number. Never empty in local mode.
	Subject string
	// Issuer is the JWT's iss; "" where it has none.
	Issuer string

	token  presented
	claims map[string]any // of a token that has just been read; else nil
	known  *known         // nil: no Bridge has authenticated the member
}

// Claims are all claims of the JWT, numbers as json.Number; nil where no Bridge has authenticated the member. They are read from the
// token, which takes microseconds. Not to be changed: they may be shared.
func (m Member) Claims() map[string]any {
	if m.claims != nil {
		return m.claims
	}
	parts := strings.SplitN(m.token.raw.Reveal(), ".", 3)
	if len(parts) != 3 {
		return nil
	}
	claims, _ := decodeObject(parts[1]) // was read before
	return claims
}

// Share is where the member's requests are counted; nil where no Bridge has authenticated the member.
func (m Member) Share() *fleet.Share {
	if m.known == nil {
		return nil
	}
	return &m.known.share
}

// presented is the token that a Member came with. It doesn't print itself.
type presented struct {
	raw    tokencache.Secret
	digest [sha256.Size]byte
}

// memberToken is a JWT whose form has been checked, but neither its signature nor its times.
type memberToken struct {
	raw    string
	digest [sha256.Size]byte // stands for raw wherever it is remembered
	header map[string]any
	claims map[string]any
}

// digestOf stands for a token wherever one is remembered. It needs no memory for a token of usual length.
func digestOf(raw string) [sha256.Size]byte {
	var usual [1 << 10]byte
	return sha256.Sum256(append(usual[:0], raw...))
}

// bearer returns the one bearer token of the Authorization headers (RFC 6750 §2.1).
func bearer(headers []string) (string, error) {
	if len(headers) == 0 {
		return "", ErrNoMemberToken
	}
	if len(headers) > 1 {
		return "", fmt.Errorf("%w: %d Authorization headers", ErrMemberToken, len(headers))
	}
	if len(headers[0]) > maxAuthorization {
		return "", fmt.Errorf("%w: Authorization header too long", ErrMemberToken)
	}
	scheme, token, _ := strings.Cut(headers[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", ErrNoMemberToken
	}
	return strings.Trim(token, " "), nil
}

// parseMemberToken checks that raw is a JWT in compact form (RFC 7519 §3.1, RFC 7515 §7.1): three non-empty parts of
// strict base64url, the first two of them JSON objects in which every name occurs once.
func parseMemberToken(raw string) (memberToken, error) {
	parts := strings.SplitN(raw, ".", 4)
	if len(parts) != 3 || parts[2] == "" {
		return memberToken{}, fmt.Errorf("%w: not a JWT", ErrMemberToken)
	}
	for _, part := range parts {
		if _, err := decodePart(part); err != nil {
			return memberToken{}, fmt.Errorf("%w: not strict base64url", ErrMemberToken)
		}
	}
	token := memberToken{raw: raw, digest: digestOf(raw)}
	var err error
	if token.header, err = decodeObject(parts[0]); err != nil {
		return memberToken{}, fmt.Errorf("%w: header: %w", ErrMemberToken, err)
	}
	if token.claims, err = decodeObject(parts[1]); err != nil {
		return memberToken{}, fmt.Errorf("%w: claims: %w", ErrMemberToken, err)
	}
	if _, critical := token.header["crit"]; critical {
		return memberToken{}, fmt.Errorf("%w: critical extension", ErrMemberToken)
	}
	return token, nil
}

// decodePart decodes strict base64url without padding. encoding/base64 alone would skip line ends.
func decodePart(part string) ([]byte, error) {
	if strings.ContainsAny(part, "\r\n") {
		return nil, errors.New("line end in base64url")
	}
	return base64.RawURLEncoding.Strict().DecodeString(part)
}

func decodeObject(part string) (map[string]any, error) {
	text, err := decodePart(part)
	if err != nil {
		return nil, err
	}
	return StrictObject(text)
}

// numericDate reads a time claim (RFC 7519 §2). ok is false where the claim is missing; a claim that is no number, or
// no time that a JWT could mean, is an error.
func numericDate(claims map[string]any, name string) (at time.Time, ok bool, err error) {
	value, there := claims[name]
	if !there {
		return time.Time{}, false, nil
	}
	number, _ := value.(json.Number)
	seconds, err := number.Float64()
	const year9999 = 253402300800
	if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds >= year9999 {
		return time.Time{}, false, fmt.Errorf("claim %s is no time", name)
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)), true, nil
}
