package proxy

// This file is the second look at where a room request goes, by other means than the route table: a mistake there alone
// must not reach v1/auth, which would hand out access tokens.

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

// errGuard is a bug of ours: the route table let something through that the guard doesn't know.
var errGuard = errors.New("room request to an undeclared path")

// guard knows the declared routes of Interwater. That a request goes to Interwater's host alone, package upstream makes sure.
type guard struct{ routes []guardRoute }

// guardRoute is a pattern taken apart: a method, and segments of which nil is a wildcard.
type guardRoute struct {
	method   string
	segments []*string
	open     bool // anything may follow
}

// newGuard reads the patterns by itself. They have the form METHOD /path that package config demands.
func newGuard(patterns []string) *guard {
	g := &guard{}
	for _, pattern := range patterns {
		g.routes = append(g.routes, readRoute(pattern))
	}
	return g
}

// readRoute takes a pattern apart.
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
		case segment == "" || strings.HasSuffix(segment, "...}"): // a slash at the end takes any rest too
			route.open = true
		case strings.HasPrefix(segment, "{"):
			route.segments = append(route.segments, nil)
		default:
			route.segments = append(route.segments, &segment)
		}
	}
	return route
}

// admits reports whether the path, as it goes on the wire, is a declared route's. It compares segment by segment.
func (g *guard) admits(method, path string) bool {
	path, ok := strings.CutPrefix(path, "/")
	if !ok || probes(path) {
		return false // whatever a pattern says
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

// folds reports whether some reader could take the segment for the word.
func folds(segment, word string) bool {
	decoded, err := url.PathUnescape(segment)
	return err != nil || strings.EqualFold(strings.TrimSpace(decoded), word)
}

// isPlainWord reports whether a segment has letters, digits, "-" and "_" alone.
func isPlainWord(segment string) bool {
	for i := range len(segment) {
		if !isSimple(segment[i]) {
			return false
		}
	}
	return true
}

// hidden reports whether some reader could see more than one segment, or none, in it.
func hidden(segment string) bool {
	if isPlainWord(segment) {
		return false
	}
	decoded, err := url.PathUnescape(segment)
	return err != nil || decoded == "." || decoded == ".." || strings.ContainsAny(decoded, "/\\\x00")
}
