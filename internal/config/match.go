package config

import (
	"net/url"
	"path"
	"strings"
)

// couldMatch reports whether some path matches both a and b, which are ServeMux patterns without method and host. It guards
// /v1/auth, so if in doubt it reports true. It assumes an upstream that reads paths as loosely as possible: case doesn't matter,
// percent-encoding is decoded until nothing changes, an encoded slash is a slash, dot segments are resolved, {x} also matches an
// empty segment, and a trailing slash is optional.
func couldMatch(a, b string) bool {
	// p becomes the shorter pattern. The segments of q beyond p's end match only if p is open.
	p, q := shapeOf(a), shapeOf(b)
	if len(p.segments) > len(q.segments) {
		p, q = q, p
	}
	for i, segment := range p.segments {
		other := q.segments[i]
		if !wildcard(segment) && !wildcard(other) && !strings.EqualFold(segment, other) {
			return false
		}
	}
	more := q.segments[len(p.segments):]
	return len(more) == 0 || p.open || len(more) == 1 && more[0] == ""
}

// shape is a parsed pattern.
type shape struct {
	segments []string // literal, {x}, or "" for a trailing slash
	open     bool     // any number of segments may follow
}

// shapeOf parses any text. Patterns that ServeMux doesn't accept are refused elsewhere.
func shapeOf(pattern string) shape {
	for {
		decoded, err := url.PathUnescape(pattern)
		if err != nil || decoded == pattern {
			break
		}
		pattern = decoded // a literal %7Bx%7D becomes a wildcard, which only matches more
	}
	// Clean removes a trailing slash, but /v1/auth/ and /v1/auth are different patterns.
	clean := path.Clean("/" + pattern)
	if strings.HasSuffix(pattern, "/") {
		clean = strings.TrimSuffix(clean, "/") + "/"
	}
	segments := strings.Split(clean, "/")[1:]
	last := len(segments) - 1
	switch end := segments[last]; {
	case end == "{$}":
		segments[last] = ""
	case end == "", wildcard(end) && strings.HasSuffix(end, "...}"):
		return shape{segments[:last], true}
	}
	return shape{segments, false}
}

// wildcard reports whether a segment is {x} or {x...}.
func wildcard(segment string) bool {
	return strings.HasPrefix(segment, "{") && strings.HasSuffix(segment, "}")
}
