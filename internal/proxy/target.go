package proxy

// The request target is checked as it was sent, before anything decodes it. A target that passes means the same to every reader: no
// two decoders understand it differently.

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"roomgate/internal/lane"
)

const (
	maxRoomName   = 512  // bytes, decoded
	maxQueryPairs = 1000 // parsers have different limits beyond that
)

// target is a clean request target.
type target struct {
	raw   string // path and query, as sent
	path  string
	query string // without the "?"
	// hasQuery is true for an empty query ("/a?"), too.
	hasQuery bool
}

// parseTarget splits and checks the request's target and its host. The error wraps errTarget or errHost.
func parseTarget(r *http.Request) (target, error) {
	if !lane.ValidHost(r.Host) && (r.Host != "" || r.ProtoAtLeast(1, 1)) { // HTTP/1.0 may have none
		return target{}, errHost
	}
	raw := r.RequestURI
	if !lane.ValidURI(raw) { // HTTP/2 only: the lane refuses it in HTTP/1
		return target{}, fmt.Errorf("%w: character or percent-encoding that a URI can't have", errTarget)
	}
	if !strings.HasPrefix(raw, "/") { // absolute-form (RFC 9112 §3.2.2); net/http has taken r.Host from it
		scheme, rest, ok := strings.Cut(raw, "://")
		if !ok || strings.ContainsAny(scheme, ":/?#") { // in http:/a?b=://h/c net/http would find another path
			return target{}, fmt.Errorf("%w: neither a path nor a URL", errTarget)
		}
		start := strings.IndexAny(rest, "/?")
		if start < 0 {
			rest, start = rest+"/", len(rest)
		}
		raw = rest[start:]
	}
	return splitTarget(raw)
}

// splitTarget splits raw at the query and checks both parts. raw has only the characters of a URI. The error wraps errTarget.
func splitTarget(raw string) (target, error) {
	t := target{raw: raw}
	t.path, t.query, t.hasQuery = strings.Cut(raw, "?")
	if err := checkPath(t.path); err != nil {
		return target{}, err
	}
	return t, checkQuery(t.query)
}

// checkPath returns an error if a path is not clean.
func checkPath(raw string) error {
	if isSimplePath(raw) {
		return nil
	}
	if !strings.HasPrefix(raw, "/") {
		return fmt.Errorf("%w: the path doesn't begin with /", errTarget)
	}
	if strings.ContainsAny(raw, `\#;`) {
		return fmt.Errorf("%w: ambiguous character in the path", errTarget)
	}
	decoded, err := decodePath(raw)
	if err != nil {
		return err
	}
	if err := checkText(decoded); err != nil {
		return err
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(decoded[1:], "/"), "/") {
		if segment == "." || segment == ".." || segment == "" && len(decoded) > 1 {
			return fmt.Errorf("%w: empty or dot segment", errTarget)
		}
	}
	return nil
}

// isSimplePath reports whether a path has only segments of letters, digits, "-" and "_", and none but the last is empty. Such a path is
// clean.
func isSimplePath(raw string) bool {
	slash := false // the previous character was one
	for i := range len(raw) {
		switch c := raw[i]; {
		case c == '/' && !slash:
			slash = true
		case i > 0 && isSimple(c):
			slash = false
		default:
			return false
		}
	}
	return raw != ""
}

// isSimple reports whether a character has the same meaning for every reader.
func isSimple(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || c == '-' || c == '_'
}

// checkText returns an error if a decoded path contains text that isn't allowed.
func checkText(decoded string) error {
	if !utf8.ValidString(decoded) {
		return fmt.Errorf("%w: not UTF-8", errTarget)
	}
	for i, r := range decoded {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return fmt.Errorf("%w: control character", errTarget)
		}
		if r == '%' && isEscape(decoded[i:]) {
			return fmt.Errorf("%w: encoded twice", errTarget)
		}
	}
	return nil
}

// decodePath undoes percent-encoding once. An encoded separator is an error, because some readers treat it as a separator.
func decodePath(raw string) (string, error) {
	if !strings.Contains(raw, "%") {
		return raw, nil
	}
	decoded, err := url.PathUnescape(raw)
	if err != nil {
		return "", fmt.Errorf("%w: broken percent-encoding", errTarget)
	}
	if strings.Count(decoded, "/") != strings.Count(raw, "/") || strings.Contains(decoded, `\`) {
		return "", fmt.Errorf("%w: encoded separator", errTarget)
	}
	return decoded, nil
}

// checkQuery returns an error if parsers could understand the query differently. raw has only the characters of a URI.
func checkQuery(raw string) error {
	if strings.Contains(raw, ";") {
		return fmt.Errorf("%w: ambiguous character in the query", errTarget)
	}
	if strings.Count(raw, "&") >= maxQueryPairs {
		return fmt.Errorf("%w: too many query pairs", errTarget)
	}
	return nil
}

// isEscape reports whether s begins with a percent-encoded byte.
func isEscape(s string) bool {
	return len(s) >= 3 && s[0] == '%' && isHex(s[1]) && isHex(s[2])
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// at returns the upstream's URL for the target: base's host and path, then the target byte for byte. Opaque keeps net/url from
// encoding the path again.
func (t target) at(base *url.URL) url.URL {
	return url.URL{
		Scheme: base.Scheme, Host: base.Host,
		Opaque:   strings.TrimSuffix(base.EscapedPath(), "/") + t.path,
		RawQuery: t.query, ForceQuery: t.hasQuery && t.query == "",
	}
}
