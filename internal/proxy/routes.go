package proxy

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// apiPrefix is the prefix of Glory's paths for members.
const apiPrefix = "/api/"

// gloryPrefixes are the path prefixes of Glory's routes. In logs and metrics, the prefix is the route's pattern.
func gloryPrefixes() []string { return []string{"/public-api/", apiPrefix} }

// gloryMethods are the allowed methods of Glory routes.
func gloryMethods() []string {
	return []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
	}
}

// neverForwarded reports whether every route refuses the method. CONNECT tunnels, and TRACE would show the credential.
func neverForwarded(method string) bool {
	return method == http.MethodConnect || method == http.MethodTrace
}

// endpoint is the destination of a route.
type endpoint struct {
	upstream string // "" if the gateway answers itself
	redirect bool   // the answer is a redirect
	token    bool   // it takes a member token, or a session in its place
	serve    func(*writer, *http.Request)
}

// routeTable finds a request's endpoint by its target as sent.
type routeTable struct {
	mux         *http.ServeMux // its handlers only record the match: see match
	glory, room *endpoint
	own         map[string]*endpoint // the gateway's own endpoints, by pattern
	origins     *crossOrigin         // nil: no CORS
	matches     sync.Pool            // of *match
	plain       []plainRoute         // all patterns, for plainRoom
}

// plainRoute is a parsed pattern.
type plainRoute struct {
	guardRoute
	pattern string
	wild    int  // the index of the segment {room_name}; -1: there is none
	other   bool // plainRoom leaves it to lookup: the gateway's own route, or a wildcard of several segments
}

// newRouteTable returns the table of the room routes, given as ServeMux patterns, and of the gateway's own endpoints. It fails if
// ServeMux refuses a pattern, for instance because a room route is also one of the gateway's own.
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

// newPlainRoute parses a pattern. It decodes the literal segments, as ServeMux does.
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

// roomSegment returns the index of the segment {room_name} in a pattern, or -1.
func roomSegment(pattern string) int {
	_, path, _ := strings.Cut(pattern, "/")
	return slices.Index(strings.Split(path, "/"), "{room_name}")
}

// plainRoom finds the room route for a GET of a clean path, ten times as fast as ServeMux. It handles the common case: exactly one
// pattern matches the path, and no segment is too long. In other cases the pattern is "", and lookup has to decide.
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
		room, _ = url.PathUnescape(segments[found.wild]) // can't fail: the path is clean
	}
	return found.pattern, room
}

// add registers a pattern. It turns ServeMux's panic about a bad one into an error.
func (t *routeTable) add(pattern string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("route %q: %v", pattern, r)
		}
	}()
	t.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { w.(*match).found(r) })
	return nil
}

// route checks the target and finds its endpoint. It records target and route in the call. The endpoint of a preflight is the CORS
// rules, if the request that it asks about has a route.
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

// lookup finds the endpoint of the target for a method.
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

// find asks ServeMux for the endpoint. ServeMux expects a decoded path. find gives it the path as sent, so an encoded segment can't match
// a literal one.
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
		c.room, _ = url.PathUnescape(m.room) // can't fail: the target is clean
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

// match is the ResponseWriter that ServeMux gets. It records what ServeMux decides.
type match struct {
	request http.Request // the one that ServeMux gets
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

// Write implements http.ResponseWriter. It drops ServeMux's own error texts.
func (m *match) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader implements http.ResponseWriter.
func (m *match) WriteHeader(status int) { m.status = status }
