package config

// This file decides whether two path patterns could match one path. It errs on the side of yes: it
// guards /v1/auth.

import (
	"net/url"
	"path"
	"strings"
)

// couldMatch tells whether there is a path that both a and b, ServeMux patterns without method and
// host, match, if an upstream reads paths as loosely as it possibly might: literals are compared in
// any case and percent-decoded as often as that changes them, an encoded slash is a slash, dot
// segments count, {x} matches the empty segment too, and a slash at the end may be there or not.
func couldMatch(a, b string) bool {
	// p is the shorter one from here on. Beyond its end only q says anything, and p has to be open
	// to whatever that is.
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

// shape is a pattern taken apart.
type shape struct {
	segments []string // literal, {x}, or "" for a slash at the end
	open     bool     // any further segments may follow, or none
}

// shapeOf takes any text: what ServeMux would not accept as a pattern is refused elsewhere.
func shapeOf(pattern string) shape {
	for {
		decoded, err := url.PathUnescape(pattern)
		if err != nil || decoded == pattern {
			break
		}
		pattern = decoded // a literal %7Bx%7D becomes a wildcard, which only makes it match more
	}
	// Clean takes the slash at the end away, which is the very thing that tells /v1/auth/ from
	// /v1/auth.
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

// wildcard tells whether a segment stands for any, {x} and {x...} alike.
func wildcard(segment string) bool {
	return strings.HasPrefix(segment, "{") && strings.HasSuffix(segment, "}")
}
