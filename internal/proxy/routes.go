package proxy

// This file is the route table: which paths lead where, for which methods.

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// apiPrefix begins Glory's paths for members.
const apiPrefix = "/api/"

// gloryPrefixes lead to Glory. They are their own patterns in logs and metrics.
func gloryPrefixes() []string { return []string{"/public-api/", apiPrefix} }

// gloryMethods are the methods that Glory routes take.
func gloryMethods() []string {
	return []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
	}
}

// neverForwarded are the methods that are refused everywhere: one tunnels, the other shows the credential.
func neverForwarded(method string) bool {
	return method == http.MethodConnect || method == http.MethodTrace
}

// endpoint is where routes lead.
type endpoint struct {
	upstream string // "" where the gateway answers itself
	redirect bool   // it only names another address
	token    bool   // for a member token, or a session in its place
	serve    func(*writer, *http.Request)
}

// routeTable finds a request's endpoint by its target as sent.
type routeTable struct {
	mux         *http.ServeMux // of matchers: see match
	glory, room *endpoint
	own         map[string]*endpoint // what the gateway answers itself, by pattern
	origins     *crossOrigin         // nil: no CORS
	matches     sync.Pool            // of *match
	plain       []plainRoute         // all patterns, for plainRoom
}

// plainRoute is a pattern taken apart.
type plainRoute struct {
	guardRoute
	pattern string
	wild    int  // the segment that is {room_name}; -1: none is
	other   bool // lookup has to tell: the gateway's own, or a name of several segments
}

// newRouteTable takes the room routes as ServeMux patterns, and what the gateway answers itself by pattern. A pattern that ServeMux
// refuses, and a room route that is the gateway's own, is an error.
func newRouteTable(
	patterns []string, glory, room *endpoint, own map[string]*endpoint, origins *crossOrigin,
) (table *routeTable, err error) {
	table = &routeTable{mux: http.NewServeMux(), glory: glory, room: room, own: own, origins: origins}
	table.matches.New = func() any { return new(match) }
	for _, pattern := range append(slices.Sorted(maps.Keys(own)), patterns...) {
		if err := table.add(pattern); err != nil {
			return nil, err
		}
		table.plain = append(table.plain, newPlainRoute(pattern, own[pattern] != nil))
	}
	return table, nil
}

// newPlainRoute takes a pattern apart. ServeMux decodes patterns' literal segments.
func newPlainRoute(pattern string, own bool) plainRoute {
	route := plainRoute{readRoute(pattern), pattern, roomSegment(pattern), own || strings.Contains(pattern, "...}")}
	for _, literal := range route.segments {
		if literal == nil {
			continue
		}
		if decoded, err := url.PathUnescape(*literal); err == nil {
			*literal = decoded
		}
	}
	return route
}

// roomSegment is which segment of a pattern is {room_name}, or -1.
func roomSegment(pattern string) int {
	_, path, _ := strings.Cut(pattern, "/")
	return slices.Index(strings.Split(path, "/"), "{room_name}")
}

// plainRoom finds the room route of a GET of a clean path in the common case, which ServeMux takes ten times as long for: one pattern
// alone takes the path, and every segment is short enough. The pattern is "" where that is not so, and lookup has to tell.
func (t *routeTable) plainRoom(path string) (pattern, room string) {
	var few [8]string // so that most need no allocation
	segments := few[:0]
	for segment := range strings.SplitSeq(path[1:], "/") {
		if len(segment) > maxRoomName {
			return "", ""
		}
		segments = append(segments, segment)
	}
	var found *plainRoute
	for i := range t.plain {
		if route := &t.plain[i]; route.takes(http.MethodGet, segments) {
			if found != nil || route.other {
				return "", ""
			}
			found = route
		}
	}
	if found == nil {
		return "", ""
	}
	if found.wild >= 0 {
		room, _ = url.PathUnescape(segments[found.wild]) // of a clean path: can't fail
	}
	return found.pattern, room
}

// add registers a pattern; ServeMux reports a bad one by panicking.
func (t *routeTable) add(pattern string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("route %q: %v", pattern, r)
		}
	}()
	t.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { w.(*match).found(r) })
	return nil
}

// route judges the target and finds where it leads, and notes both in the call. A preflight leads to the CORS rules, if the
// request that it asks about has a route.
func (t *routeTable) route(r *http.Request, c *call) (*endpoint, error) {
	if !t.origins.isPreflight(r) {
		return t.lookup(r, r.Method, c)
	}
	if _, err := t.lookup(r, r.Header.Get("Access-Control-Request-Method"), c); err != nil {
		return nil, fmt.Errorf("preflight: %w", err)
	}
	c.preflight = true
	return &endpoint{serve: t.origins.preflight}, nil
}

// lookup finds where the target leads with the method.
func (t *routeTable) lookup(r *http.Request, method string, c *call) (*endpoint, error) {
	if r.RequestURI == "*" || method == http.MethodConnect && !strings.HasPrefix(r.RequestURI, "/") {
		if neverForwarded(method) {
			return nil, &methodError{}
		}
		return nil, errNotFound
	}
	var err error
	if c.target, err = parseTarget(r); err != nil {
		return nil, err
	}
	for _, prefix := range gloryPrefixes() {
		if strings.HasPrefix(c.target.path, prefix) {
			c.route = prefix
			if !slices.Contains(gloryMethods(), method) {
				return nil, &methodError{strings.Join(gloryMethods(), ", ")}
			}
			return t.glory, nil
		}
	}
	return t.find(method, c)
}

// find asks ServeMux. It matches decoded segments; given the path as sent in place of the decoded one, it matches
// as sent, and nothing that has to be decoded first can be taken for a literal segment.
func (t *routeTable) find(method string, c *call) (*endpoint, error) {
	if method == http.MethodGet {
		if c.route, c.room = t.plainRoom(c.target.path); c.route != "" {
			return t.room, nil
		}
	}
	m := t.matches.Get().(*match)
	defer func() { *m = match{}; t.matches.Put(m) }()
	m.url.Path = c.target.path
	m.request.Method, m.request.URL = method, &m.url
	t.mux.ServeHTTP(m, &m.request)
	switch {
	case m.pattern != "" && neverForwarded(method): // a pattern without a method
		return nil, &methodError{strings.Join(gloryMethods(), ", ")}
	case m.pattern != "":
		c.route = m.pattern
		if own := t.own[m.pattern]; own != nil {
			return own, nil
		}
		c.room, _ = url.PathUnescape(m.room) // of a clean target: can't fail
		for segment := range strings.SplitSeq(c.target.path, "/") {
			if decoded, _ := url.PathUnescape(segment); len(decoded) > maxRoomName {
				return nil, fmt.Errorf("%w: room name too long", errTarget)
			}
		}
		return t.room, nil
	case m.status == http.StatusMethodNotAllowed:
		return nil, &methodError{m.header.Get("Allow")}
	case neverForwarded(method):
		return nil, &methodError{}
	}
	return nil, errNotFound
}

// match takes down what ServeMux decided, where a response would be written.
type match struct {
	request http.Request // what ServeMux is asked
	url     url.URL
	header  http.Header // nil until needed
	status  int
	pattern string
	room    string // as sent
}

func (m *match) found(r *http.Request) { m.pattern, m.room = r.Pattern, r.PathValue("room_name") }

// Header implements http.ResponseWriter.
func (m *match) Header() http.Header {
	if m.header == nil {
		m.header = make(http.Header)
	}
	return m.header
}

// Write implements http.ResponseWriter; ServeMux's own error texts are of no use.
func (m *match) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader implements http.ResponseWriter.
func (m *match) WriteHeader(status int) { m.status = status }
