package config

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// checkRoutes checks INTERWATER_ROUTES, which open paths of Interwater to members. Patterns must have a method and no host, and
// ServeMux must accept them together. The method is required because a route without one admits every method, which hardly
// anybody means who writes just a path.
func checkRoutes(routes []string) error {
	var errs []error
	for i, route := range routes {
		if err := checkRoute(route); err != nil {
			errs = append(errs, fmt.Errorf("element %d, %q: %w", i+1, route, err))
			continue
		}
		// ServeMux's error names places in our source. The operator needs the elements.
		for j, other := range routes[:i] {
			if checkRoute(other) == nil && tryRegister(other, route) != nil {
				errs = append(errs, fmt.Errorf("element %d, %q: this and element %d could match the same request; keep one", i+1, route, j+1))
			}
		}
	}
	return errors.Join(errs...)
}

// checkRoute checks one route. Only listed methods in upper case are allowed: ServeMux accepts any word as a method, and then
// never matches it. CONNECT would turn the gateway into a tunnel. TRACE would echo the headers that the gateway adds, such as the
// credential.
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
	// These are patterns too. /v1/auth is closed because its answer is an access token. The others belong to routes that always
	// exist: with two owners of a path, precedence would decide who answers.
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

// tryRegister returns ServeMux's error about the patterns. ServeMux reports errors only by panicking.
func tryRegister(patterns ...string) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case error:
			err = r
			if reason := errors.Unwrap(r); reason != nil {
				err = reason // without the pattern, which the caller adds
			}
		default:
			err = fmt.Errorf("%v", r)
		}
	}()
	// A new mux each time: nothing tried here is ever served.
	mux := http.NewServeMux()
	for _, pattern := range patterns {
		mux.Handle(pattern, http.NotFoundHandler())
	}
	return nil
}
