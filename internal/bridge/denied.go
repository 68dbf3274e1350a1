package bridge

// This file names who is on the deny list: a member by sub, or a single member token by its hash.

import (
	"crypto/sha256"
	"encoding/hex"
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
