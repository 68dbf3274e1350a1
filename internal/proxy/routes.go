package proxy

// This file is the route table: which paths lead where, for which methods.

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// gloryPrefixes lead to Glory. They are their own patterns in logs and metrics.
func gloryPrefixes() []string { return []string{"/public-api/", "/api/"} }

// gloryMethods are the methods that Glory routes take.
func gloryMethods() []string {
	return []string{
		http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
	}
}

// routeTable finds a request's handler by its target as sent.
type routeTable struct {
	rooms       *http.ServeMux // of matchers: see match
	glory, room http.Handler
}

// newRouteTable takes the room routes as ServeMux patterns. A pattern that ServeMux refuses is an error.
func newRouteTable(patterns []string, glory, room http.Handler) (table *routeTable, err error) {
	table = &routeTable{rooms: http.NewServeMux(), glory: glory, room: room}
	for _, pattern := range patterns {
		if err := table.add(pattern); err != nil {
			return nil, err
		}
	}
	return table, nil
}

// add registers a pattern; ServeMux reports a bad one by panicking.
func (t *routeTable) add(pattern string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("room route %q: %v", pattern, r)
		}
	}()
	t.rooms.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { w.(*match).found(r) })
	return nil
}

// ServeHTTP judges the target, finds the route and hands over.
func (t *routeTable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ex := exchangeOf(r)
	next, err := t.route(r, ex)
	if err != nil {
		fail(w, r, err)
		return
	}
	next.ServeHTTP(w, r)
}

func (t *routeTable) route(r *http.Request, ex *exchange) (http.Handler, error) {
	if r.Method == http.MethodConnect || r.RequestURI == "*" {
		if r.Method == http.MethodConnect || r.Method == http.MethodTrace {
			return nil, &methodError{}
		}
		return nil, errNotFound
	}
	var err error
	if ex.target, err = parseTarget(r); err != nil {
		return nil, err
	}
	for _, prefix := range gloryPrefixes() {
		if strings.HasPrefix(ex.target.path, prefix) {
			ex.route = prefix
			if !slices.Contains(gloryMethods(), r.Method) {
				return nil, &methodError{strings.Join(gloryMethods(), ", ")}
			}
			return t.glory, nil
		}
	}
	return t.findRoom(r, ex)
}

// findRoom asks ServeMux. It matches decoded segments; given the path as sent in place of the decoded one, it matches
// as sent, and nothing that has to be decoded first can be taken for a literal segment.
func (t *routeTable) findRoom(r *http.Request, ex *exchange) (http.Handler, error) {
	m := match{header: make(http.Header)}
	t.rooms.ServeHTTP(&m, &http.Request{Method: r.Method, URL: &url.URL{Path: ex.target.path}})
	switch {
	case m.pattern != "":
		ex.route = m.pattern
		for segment := range strings.SplitSeq(ex.target.path, "/") {
			if decoded, _ := url.PathUnescape(segment); len(decoded) > maxRoomName {
				return nil, fmt.Errorf("%w: room name too long", errTarget)
			}
		}
		return t.room, nil
	case m.status == http.StatusMethodNotAllowed:
		return nil, &methodError{m.header.Get("Allow")}
	case r.Method == http.MethodTrace:
		return nil, &methodError{}
	}
	return nil, errNotFound
}

// match takes down what ServeMux decided, where a response would be written.
type match struct {
	header  http.Header
	status  int
	pattern string
}

func (m *match) found(r *http.Request) { m.pattern = r.Pattern }

// Header implements http.ResponseWriter.
func (m *match) Header() http.Header { return m.header }

// Write implements http.ResponseWriter; ServeMux's own error texts are of no use.
func (m *match) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader implements http.ResponseWriter.
func (m *match) WriteHeader(status int) { m.status = status }
