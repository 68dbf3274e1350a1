package proxy

// The guard checks a second time where a room request goes, by other code than the route table. So a mistake in the route table alone
// can't send a request to v1/auth, which would return an access token.

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// errGuard means a bug in the gateway: the route table let a request through that the guard refuses.
var errGuard = errors.New("room request to an undeclared path")

// guard knows the declared routes of Interwater. Package upstream makes sure that a request goes only to Interwater's host.
type guard struct{ routes []guardRoute }

// guardRoute is a parsed pattern.
type guardRoute struct {
	method   string    // "": any
	segments []*string // nil: a wildcard
	open     bool      // any further segments may follow
}

// newGuard parses the patterns itself. Each is METHOD /path, as package config demands, or a path alone.
func newGuard(patterns []string) *guard {
	g := &guard{}
	for _, pattern := range patterns {
		g.routes = append(g.routes, readRoute(pattern))
	}
	return g
}

// readRoute parses a pattern.
func readRoute(pattern string) guardRoute {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok {
		method, path = "", pattern
	}
	route := guardRoute{method: method}
	for segment := range strings.SplitSeq(strings.TrimPrefix(strings.TrimSpace(path), "/"), "/") {
		switch {
		case segment == "{$}":
			segment = ""
			route.segments = append(route.segments, &segment)
		case segment == "" || strings.HasSuffix(segment, "...}"): // a slash at the end matches any rest, too
			route.open = true
		case strings.HasPrefix(segment, "{"):
			route.segments = append(route.segments, nil)
		default:
			route.segments = append(route.segments, &segment)
		}
	}
	return route
}

// admits reports whether a declared route takes the path, as it goes on the wire. It compares segment by segment.
func (g *guard) admits(method, path string) bool {
	path, ok := strings.CutPrefix(path, "/")
	if !ok || probes(path) {
		return false // even if a pattern takes it
	}
	var few [8]string // so that most need no allocation
	segments := few[:0]
	for segment := range strings.SplitSeq(path, "/") {
		segments = append(segments, segment)
	}
	for i, segment := range segments {
		if hidden(segment) || segment == "" && i < len(segments)-1 {
			return false // also in the rest that an open route takes
		}
	}
	for _, route := range g.routes {
		if route.takes(method, segments) {
			return true
		}
	}
	return false
}

func (r guardRoute) takes(method string, segments []string) bool {
	if r.method != "" && r.method != method && (r.method != http.MethodGet || method != http.MethodHead) {
		return false
	}
	if r.open != (len(segments) > len(r.segments)) || len(segments) < len(r.segments) {
		return false
	}
	for i, want := range r.segments {
		if want != nil && *want != segments[i] || want == nil && segments[i] == "" {
			return false
		}
	}
	return true
}

// folds reports whether a lax reader could take the segment for the word.
func folds(segment, word string) bool {
	decoded, err := url.PathUnescape(segment)
	return err != nil || strings.EqualFold(strings.TrimSpace(decoded), word)
}

// isPlainWord reports whether a segment has only letters, digits, "-" and "_".
func isPlainWord(segment string) bool {
	for i := range len(segment) {
		if !isSimple(segment[i]) {
			return false
		}
	}
	return true
}

// hidden reports whether a lax reader could find several segments in this one, or none.
func hidden(segment string) bool {
	if isPlainWord(segment) {
		return false
	}
	decoded, err := url.PathUnescape(segment)
	return err != nil || decoded == "." || decoded == ".." || strings.ContainsAny(decoded, "/\\\x00")
}
