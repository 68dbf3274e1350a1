package bridge

// This file names who is on the deny list: a member by sub, or a single member token by its hash.

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"
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

// DeniesBearer reports whether Authorization headers that Glory is to judge bear a denied token, or one that says that it is a
// denied member's. No key is involved: a forged token would be turned away in any case. What Glory could read in another way
// counts too: any scheme, several headers, a signature that isn't in its strict form.
func (b *Bridge) DeniesBearer(authorization []string) bool {
	if b.denied == nil || b.denied.Empty() {
		return false
	}
	for _, header := range authorization {
		for raw := range strings.FieldsFuncSeq(header, func(r rune) bool { return r == ' ' || r == '\t' || r == ',' }) {
			if names := namesIn(raw); len(names) > 0 && b.denied.Has(names...) {
				return true
			}
		}
	}
	return false
}

// namesIn is how a JWT and its member would stand on the list; none where raw isn't one.
func namesIn(raw string) []string {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 || len(raw) > maxAuthorization {
		return nil
	}
	// The signature doesn't cover its own spelling: padding, the other alphabet and unused bits make another text of the same token.
	lax := strings.NewReplacer("+", "-", "/", "_").Replace(strings.TrimRight(parts[2], "="))
	if signature, err := base64.RawURLEncoding.DecodeString(lax); err == nil {
		raw = parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(signature)
	}
	digest := digestOf(raw)
	names := []string{deniedToken + hex.EncodeToString(digest[:])}
	var claims struct {
		Sub string `json:"sub"`
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil && json.Unmarshal(text, &claims) == nil {
		names = append(names, deniedSub+claims.Sub)
	}
	return names
}
