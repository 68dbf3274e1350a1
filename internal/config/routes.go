package config

// This file checks INTERWATER_ROUTES, which opens paths of Interwater to members: a mistake there
// must not open too much.

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// checkRoutes wants patterns that ServeMux takes together, each with a method and no host. The
// method is demanded because a route without one admits every method, which nobody who writes just
// a path has in mind.
func checkRoutes(routes []string) error {
	var errs []error
	for i, route := range routes {
		if err := checkRoute(route); err != nil {
			errs = append(errs, fmt.Errorf("element %d, %q: %w", i+1, route, err))
			continue
		}
		// ServeMux would name the places in our source where the two were registered; the
		// operator's are the elements.
		for j, other := range routes[:i] {
			if checkRoute(other) == nil && tryRegister(other, route) != nil {
				errs = append(errs, fmt.Errorf("element %d, %q: both this and element %d could take the same request; keep one", i+1, route, j+1))
			}
		}
	}
	return errors.Join(errs...)
}

// checkRoute looks at one route by itself. Nothing but an upper-case method of the list gets
// through: ServeMux would take any word for a method and then never match it. CONNECT would turn
// the gateway into a tunnel, and TRACE echoes the headers that it adds, the credential among them.
func checkRoute(route string) error {
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
	method, path, ok := strings.Cut(route, " ")
	path = strings.TrimLeft(path, " ")
	switch {
	case !ok:
		return errors.New("has no method; write it like GET /path")
	case !slices.Contains(methods, method):
		return fmt.Errorf("has no method that can be forwarded; use %s", strings.Join(methods, ", "))
	case !strings.HasPrefix(path, "/"):
		return errors.New("names a host; begin the path with /")
	}
	if err := tryRegister(route); err != nil {
		return fmt.Errorf("not a ServeMux pattern: %w", err)
	}
	// These are patterns too. /v1/auth is closed because its answer is an access token; the others
	// belong to routes that are always there, and two owners of one path would make it a matter of
	// precedence who answers.
	for _, closed := range []struct{ path, why string }{
		{"/v1/auth", "which hands out access tokens and is never forwarded"},
		{"/v1/auth/{$}", "which hands out access tokens and is never forwarded"},
		{"/api/", "which is Glory's"},
		{"/public-api/", "which is Glory's"},
		{"/openapi.json", "which the gateway answers itself"},
		{"/docs/", "which the gateway answers itself"},
		{"/session/", "which the gateway answers itself"},
		{"/{$}", "which the gateway answers itself"},
	} {
		if couldMatch(path, closed.path) {
			return fmt.Errorf("could match %s, %s; write a narrower path", strings.TrimSuffix(closed.path, "{$}"), closed.why)
		}
	}
	return nil
}

// tryRegister is ServeMux's own opinion of the patterns. It has no other way to say no than to
// panic.
func tryRegister(patterns ...string) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error:
			err = r
			if reason := errors.Unwrap(r); reason != nil {
				err = reason // without the pattern, which the caller names
			}
		default:
			err = fmt.Errorf("%v", r)
		}
	}()
	// A mux of its own each time: nothing that is tried here is ever served.
	mux := http.NewServeMux()
	for _, pattern := range patterns {
		mux.Handle(pattern, http.NotFoundHandler())
	}
	return nil
}
