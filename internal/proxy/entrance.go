package proxy

// This file recognises the two Glory routes through which accounts are tried, and whose account it is.

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"roomgate/internal/bridge"
	"roomgate/internal/fleet"
)

// entrance is what a Glory request tries.
type entrance int

const (
	noEntrance entrance = iota
	joinEntrance
	loginEntrance
)

// entranceOf also takes the spellings that a lax server could read as the route: they pass to Glory as they are, so a
// limit must not be got round by them.
func entranceOf(method, path string) entrance {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return noEntrance
	}
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return noEntrance // not a clean target; it doesn't come this far
	}
	switch strings.ToLower(strings.TrimRight(decoded, "/ ")) {
	case "/public-api/v1/join":
		return joinEntrance
	case "/public-api/v1/login":
		return loginEntrance
	}
	return noEntrance
}

// maxAccountBody is the longest login body whose account is looked for: an id and a password are far shorter, and a
// megabyte of brackets would take a quarter of a gigabyte of stack to read.
const maxAccountBody = 4 << 10

// accountKey is the account that a login body names, in a form that is the same for spellings that databases take for
// the same. Bodies whose account another reader could see differently share one key: they are no client's of ours.
func accountKey(body []byte) string {
	const unreadable = "\x00"
	if len(body) > maxAccountBody {
		return unreadable
	}
	object, err := bridge.StrictObject(body)
	if err != nil {
		return unreadable
	}
	id, ok := object["id"].(string)
	if !ok {
		return unreadable
	}
	return strings.TrimSpace(strings.Map(foldAccount, norm.NFKD.String(id)))
}

// foldAccount drops what MySQL's usual collation (utf8mb4_0900_ai_ci) doesn't compare: case, accents and what can't be
// seen. Each spelling with a count of its own would be another burst against one account.
func foldAccount(r rune) rune {
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Cc) {
		return -1
	}
	return unicode.ToLower(unicode.ToUpper(r))
}

// addressKey is the client's address; of IPv6 the network that one customer has.
func addressKey(client string) string {
	address, err := netip.ParseAddr(client)
	if err != nil || address.Is4() {
		return client
	}
	network, err := address.WithZone("").Prefix(64)
	if err != nil {
		return client
	}
	return network.String()
}

// limiters are the three limits of the public listener.
type limiters struct {
	login, account *fleet.Limiter
	member         *fleet.LocalLimiter
}

func newLimiters(o Options) *limiters {
	return &limiters{
		login:   fleet.NewLimiter(o.Redis, "login", o.LoginLimit),
		account: fleet.NewLimiter(o.Redis, "account", o.AccountLimit),
		member:  fleet.NewLocalLimiter("member", o.MemberLimit),
	}
}
