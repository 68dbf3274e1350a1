package bridge

// This file holds who is turned away on Glory's routes, where nobody has verified the token.

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

// denyList is one with these names.
type denyList []string

func (d denyList) Empty() bool { return len(d) == 0 }

func (d denyList) Has(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(d, n) })
}

func TestDeniedTokenIsKnownInEverySpelling(t *testing.T) {
	token, other := good(), good("sub", "8")
	parts := strings.Split(token, ".")
	digest := digestOf(token)
	for name, list := range map[string]denyList{
		"sub": {deniedSub + "2"}, "token": {deniedToken + hex.EncodeToString(digest[:])}, "nobody": {},
	} {
		o := options(t, mustParse("http://glory.invalid"))
		o.Denied = list
		b := newBridge(t, o)
		for _, headers := range [][]string{
			{"Bearer " + token}, {"bearer   " + token}, {"Bearer\t" + token + " "}, {"Token " + token}, {token}, {"Bearer x", "Bearer " + token}, {"Bearer x, Bearer " + token},
			{"Bearer " + parts[0] + "." + parts[1] + "." + parts[2] + "="}, {"Bearer " + parts[0] + "." + parts[1] + "." + strings.NewReplacer("-", "+", "_", "/").Replace(parts[2])},
		} {
			if got := b.DeniesBearer(headers); got != (name != "nobody") {
				t.Errorf("%s: %.40q: %v", name, headers, got)
			}
		}
		for _, headers := range [][]string{nil, {""}, {"Bearer " + other}, {"Bearer a.b.c"}, {"Basic Nzo3"}, {"Bearer " + strings.Repeat("a.", 5000)}} {
			if b.DeniesBearer(headers) {
				t.Errorf("%s: %.40q is denied", name, headers)
			}
		}
	}
}
