package bridge

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
	"roomgate/internal/secret"
)

// maxAuthorization is the longest Authorization header that is accepted, in bytes.
const maxAuthorization = 8 << 10

// Member is the member who sends a request, as Authenticate returns it. Printing it doesn't show the token.
type Member struct {
	// Subject is the JWT's sub: Glory's member number. It may be empty in remote mode only.
	Subject string
	// Issuer is the JWT's iss. "": it has none.
	Issuer string

	token  presented
	claims map[string]any // nil: the token must be parsed to get them
	known  *known         // nil: no Bridge has authenticated the member
}

// Claims returns all claims of the JWT, with numbers as json.Number. nil: no Bridge has authenticated the member. It may have to
// parse the token, which takes some microseconds. The map may be shared and must not be changed.
func (m Member) Claims() map[string]any {
	if m.claims != nil {
		return m.claims
	}
	parts := strings.SplitN(m.token.raw.Reveal(), ".", 3)
	if len(parts) != 3 {
		return nil
	}
	claims, _ := decodeObject(parts[1]) // can't fail: it was parsed before
	return claims
}

// Share returns the member's count for the member limit. nil: no Bridge has authenticated the member.
func (m Member) Share() *fleet.Share {
	if m.known == nil {
		return nil
	}
	return &m.known.share
}

// presented is a member's token. Printing it doesn't show the token.
type presented struct {
	raw    secret.Value
	digest [sha256.Size]byte // digestOf(raw)
}

// memberToken is a JWT of the right form. Neither its signature nor its times have been checked.
type memberToken struct {
	raw    string
	digest [sha256.Size]byte // digestOf(raw)
	header map[string]any
	claims map[string]any
}

// digestOf returns the hash under which a token is remembered and denied. For tokens up to 1 KiB it allocates nothing.
func digestOf(raw string) [sha256.Size]byte {
	var usual [1 << 10]byte
	return sha256.Sum256(append(usual[:0], raw...))
}

// bearer returns the bearer token of a request with these Authorization headers (RFC 6750 §2.1). The scheme may be in any case.
// Several headers, or one that is too long, are ErrMemberToken. No header, or another scheme, is ErrNoMemberToken.
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

// parseMemberToken checks that raw is a JWT in compact form (RFC 7519 §3.1, RFC 7515 §7.1): three non-empty parts in strict
// base64url. The first two must be JSON objects without repeated names. A header with crit is an error: no extension is
// supported (RFC 7515 §4.1.11). The error wraps ErrMemberToken.
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

// decodePart decodes strict base64url without padding (RFC 7515 §2). A line end is an error, which encoding/base64 would skip.
func decodePart(part string) ([]byte, error) {
	if strings.ContainsAny(part, "\r\n") {
		return nil, errors.New("line end in base64url")
	}
	return base64.RawURLEncoding.Strict().DecodeString(part)
}

// decodeObject decodes a part of a JWT that must be a JSON object.
func decodeObject(part string) (map[string]any, error) {
	text, err := decodePart(part)
	if err != nil {
		return nil, err
	}
	return StrictObject(text)
}

// numericDate reads a claim that is a time (RFC 7519 §2, NumericDate). ok is false if the claim is missing. If it is not a
// number, or a time before 1970 or after the year 9999, that is an error.
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
