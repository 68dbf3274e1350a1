package proxy

// Login and join, the two Glory routes where attackers guess accounts: how the gateway recognises them, and the keys and limiters of
// their rate limits.

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

// entrance says whether a Glory request is a login, a join or neither.
type entrance int

const (
	noEntrance entrance = iota
	joinEntrance
	loginEntrance
)

// entranceOf also recognises spellings that a lax server could read as the route. The gateway forwards them to Glory as they are, so
// they must not get round a limit.
func entranceOf(method, path string) entrance {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return noEntrance
	}
	decoded, err := url.PathUnescape(path)
	if err != nil {
		return noEntrance // can't happen: the target is clean
	}
	switch strings.ToLower(strings.TrimRight(decoded, "/ ")) {
	case "/public-api/v1/join":
		return joinEntrance
	case "/public-api/v1/login":
		return loginEntrance
	}
	return noEntrance
}

// maxAccountBody is the longest login body, in bytes, in which accountKey looks for the account. An id and a password are far
// shorter. Parsing a megabyte of brackets would take a quarter of a gigabyte of stack.
const maxAccountBody = 4 << 10

// accountKey returns the account that a login body names. Spellings that databases treat as equal give the same key. Bodies in which
// another parser could find another account share one key: none of our clients sends them.
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

// foldAccount drops what MySQL's usual collation (utf8mb4_0900_ai_ci) ignores: case, accents and invisible characters. Otherwise
// each spelling would have its own rate limit, and an attacker another burst against the same account.
func foldAccount(r rune) rune {
	if unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Cc) {
		return -1
	}
	return unicode.ToLower(unicode.ToUpper(r))
}

// addressKey returns an IPv4 client's address. Of an IPv6 client it returns the /64 network, which one customer usually has.
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
