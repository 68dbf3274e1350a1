package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"roomgate/internal/secret"

	"github.com/caarlos0/env/v11"
)

// RateLimit admits a burst of Burst, and is refilled at Burst per Per. The zero value means no limit.
type RateLimit struct {
	Burst int           // at least 1, unless there is no limit
	Per   time.Duration // at least 1ms, at most 24h, unless there is no limit
}

// String returns the setting's form: "10/1m0s", or "0" for no limit.
func (r RateLimit) String() string {
	if r.Burst == 0 {
		return "0"
	}
	return fmt.Sprintf("%d/%s", r.Burst, r.Per)
}

// parsers returns a parser for each type in Config, except strings and types that implement encoding.TextUnmarshaler. A parser's
// error tells the operator what is wrong and what would be right.
func parsers() map[reflect.Type]env.ParserFunc {
	// Built on each call rather than kept in a variable: it is small, and nobody can change it.
	m := map[reflect.Type]env.ParserFunc{}
	register(m, parseBool)
	register(m, parseWhole[int])
	register(m, parseWhole[int64])
	register(m, parseDuration)
	register(m, parseBaseURL)
	register(m, parseRateLimit)
	register(m, parseSecrets)
	register(m, listOf(func(s string) (string, error) { return s, nil }))
	register(m, listOf(parseWhole[int]))
	register(m, listOf(parseProxy))
	return m
}

// register adds parse for the type that it returns. Parsers are chosen by type, so all settings of one type have the same syntax.
// What differs between them is checked later.
func register[T any](m map[reflect.Type]env.ParserFunc, parse func(string) (T, error)) {
	m[reflect.TypeFor[T]()] = func(s string) (any, error) { return parse(s) }
}

// parseBool accepts only two words. An operator who writes 0 or no should get an error rather than a guess.
func parseBool(s string) (bool, error) {
	if s != "true" && s != "false" {
		return false, fmt.Errorf("%q is neither true nor false", s)
	}
	return s == "true", nil
}

// parseWhole accepts plain numbers. There are no units for bytes, because 1M has two meanings.
func parseWhole[T int | int64](s string) (T, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", s)
	}
	return T(n), nil
}

// parseDuration accepts Go syntax: every number but 0 needs a unit.
func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration; write it like 250ms, 5s or 1m30s", s)
	}
	return d, nil
}

// parseRateLimit accepts N/T, or 0 for no limit. It refuses 0/1m, which could also mean that nothing is admitted.
func parseRateLimit(s string) (RateLimit, error) {
	if s == "0" {
		return RateLimit{}, nil
	}
	// Without a slash, per is empty, which is no duration.
	burst, per, _ := strings.Cut(s, "/")
	n, err := strconv.Atoi(burst)
	d, err2 := time.ParseDuration(per)
	if err != nil || err2 != nil {
		return RateLimit{}, fmt.Errorf("%q is not a rate limit; write N/T like 10/1m, or 0 for none", s)
	}
	if n < 1 || n > 1_000_000 || d < time.Millisecond || d > 24*time.Hour {
		return RateLimit{}, fmt.Errorf("%q is out of range; give 1 to 1000000 per 1ms to 24h, or 0 for none", s)
	}
	return RateLimit{Burst: n, Per: d}, nil
}

// listOf returns a parser of comma-separated lists. It ignores white space around an element. It refuses an empty element, which
// is usually left over from a deleted one. It reports all wrong elements, counted from 1.
func listOf[T any](parse func(string) (T, error)) func(string) ([]T, error) {
	return func(s string) ([]T, error) {
		return eachElement(s, func(part string) (T, error) { return parse(strings.TrimSpace(part)) })
	}
}

// eachElement is listOf without the trimming. The list is complete only if the error is nil.
func eachElement[T any](s string, parse func(string) (T, error)) ([]T, error) {
	var list []T
	var errs []error
	for i, part := range strings.Split(s, ",") {
		// An empty part is reported as empty, whatever parse says about it.
		element, err := parse(part)
		if strings.TrimSpace(part) == "" {
			err = errors.New("empty; remove a comma")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("element %d: %w", i+1, err))
		}
		list = append(list, element)
	}
	return list, errors.Join(errs...)
}

// parseSecrets reads a list of secrets. It doesn't trim white space, which may be part of a secret. It doesn't accept it either,
// because it rarely is: an operator who means it writes base64. So does one whose secret contains a comma.
func parseSecrets(s string) ([]secret.Value, error) {
	return eachElement(s, func(part string) (secret.Value, error) {
		if strings.TrimSpace(part) != part {
			return secret.Value{}, errors.New("begins or ends with white space, which would be part of the secret; remove it, or write the secret as base64:…")
		}
		encoded, ok := strings.CutPrefix(part, "base64:")
		if !ok {
			return secret.New(part), nil
		}
		// Different tools write different forms of base64. It is safe to try them all: a text that is valid in several forms
		// means the same bytes in each.
		for _, alphabet := range []*base64.Encoding{
			base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding,
		} {
			if decoded, err := alphabet.DecodeString(encoded); err == nil {
				return secret.New(string(decoded)), nil
			}
		}
		return secret.Value{}, errors.New("what follows base64: is not base64") // without the decoder's error, which would reveal a part of it
	})
}

// parseProxy reads one element of TRUSTED_PROXIES. It applies the mask: 10.1.2.3/8 becomes 10.0.0.0/8.
func parseProxy(s string) (netip.Prefix, error) {
	// A single address is a network of one. An IPv6 zone is refused: it means nothing for a peer's address.
	prefix, err := netip.ParsePrefix(s)
	if addr, err2 := netip.ParseAddr(s); err2 == nil && addr.Zone() == "" {
		prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	switch {
	case err != nil:
		return prefix, fmt.Errorf("%q is neither a CIDR nor an address; write it like 10.0.0.0/8 or 10.1.2.3", s)
	case prefix.Bits() == 0:
		return prefix, fmt.Errorf("%q trusts everybody, so that every client could choose its own address; name the proxies' networks", s)
	case prefix.Addr().Is4In6():
		return prefix, fmt.Errorf("%q is IPv4 written as IPv6; write it as IPv4", s)
	}
	return prefix.Masked(), nil
}

// parseBaseURL reads GLORY_URL or INTERWATER_URL. Errors quote no more than the host: the rest may contain a password that was
// put there by mistake.
func parseBaseURL(s string) (url.URL, error) {
	// Drop the error of url.Parse: it quotes what it could not read.
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || !validPort(u.Port()) {
		return url.URL{}, errors.New("not an absolute http or https URL; write https://host, with :port and /path where needed")
	}
	switch {
	case u.User != nil:
		return url.URL{}, errors.New("has a user or password, which is never sent; remove it")
	case strings.ContainsAny(s, "?#"):
		return url.URL{}, errors.New("has a query or fragment, which is never sent; remove it")
	case u.Scheme == "http" && !privateHost(u.Hostname()):
		return url.URL{}, fmt.Errorf("credentials would be sent unencrypted to %q, which is not a private host; use https://", u.Hostname())
	}
	// Without a trailing slash, the base and the path of a request can simply be concatenated.
	u.Path = strings.TrimRight(u.Path, "/")
	if !cleanPath(u) {
		return url.URL{}, errors.New("its path has empty or dot segments or an encoded slash; write it without")
	}
	return *u, nil
}
