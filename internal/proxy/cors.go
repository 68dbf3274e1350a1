package proxy

// This file answers browsers of other origins (the Fetch standard's CORS): preflights by the gateway itself, for the
// declared routes and their methods; and the same permission on every answer, errors among them.

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rs/cors"
	"golang.org/x/net/http/httpguts"

	"roomgate/internal/upstream"
)

// crossOrigin is who may read answers from where. A nil *crossOrigin is off.
type crossOrigin struct {
	rules *cors.Cors
	known map[string]fields // what the rules say to the origins in the settings, and to none
}

// newCrossOrigin returns nil without origins. "*" admits all. With credentials, pages of the origins may have their browser send its
// cookies; these origins are listed one by one.
func newCrossOrigin(origins []string, credentials bool) *crossOrigin {
	if len(origins) == 0 {
		return nil
	}
	c := &crossOrigin{known: make(map[string]fields), rules: cors.New(cors.Options{
		AllowedOrigins:   origins,
		AllowedMethods:   gloryMethods(), // of all routes; the route table knows each one's
		AllowedHeaders:   []string{"*"},  // whatever is asked for is named in the answer; what goes upstream is decided in headers.go
		ExposedHeaders:   []string{"X-Request-Id", "Retry-After", "WWW-Authenticate", "RateLimit", "RateLimit-Policy"},
		AllowCredentials: credentials,
		MaxAge:           int((10 * time.Minute).Seconds()),
	})}
	c.known[""] = c.ask(nil)
	for _, origin := range origins {
		c.known[origin] = c.ask([]string{origin})
	}
	return c
}

// isPreflight reports whether r is a question and no request.
func (c *crossOrigin) isPreflight(r *http.Request) bool {
	return c != nil && r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// preflight answers one whose route is known. What is refused has no permission in its answer, and its reason in the call: a
// browser tells its page nothing, so log and metrics must.
func (c *crossOrigin) preflight(w *writer, r *http.Request) {
	if !areFieldNames(r.Header["Access-Control-Request-Headers"]) {
		w.fail(fmt.Errorf("preflight: %w", errFieldNames))
		return
	}
	if !c.rules.OriginAllowed(r) {
		w.call.failure, w.call.refusal = errOrigin, explain(errOrigin).reason
	}
	c.rules.HandlerFunc(w, r)
}

// areFieldNames reports whether the values are lists of names of header fields (RFC 9110 §5.1), or empty.
func areFieldNames(values []string) bool {
	for name := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if name = strings.Trim(name, " \t"); name != "" && !httpguts.ValidHeaderFieldName(name) {
			return false
		}
	}
	return true
}

// permit sets on an answer's header what lets the page that asked read it, in place of whatever an upstream has set. origin is
// the request's Origin.
func (c *crossOrigin) permit(h http.Header, origin []string) {
	if c == nil {
		return
	}
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(h, name)
		}
	}
	c.lines(origin).addTo(h)
}

// lines are what permit adds. They must not be changed.
func (c *crossOrigin) lines(origin []string) fields {
	if c == nil {
		return nil
	}
	if known, ok := c.known[strings.Join(origin, "\x00")]; ok {
		return known
	}
	return c.ask(origin)
}

// Permission is lane.Options.Permission: what permit says, for an answer of the lane's own.
func (p *Proxy) Permission(origin string) string {
	var from []string
	if origin != "" {
		from = []string{origin}
	}
	var text strings.Builder
	for _, line := range p.origins.lines(from) {
		text.WriteString(line.Name + ": " + line.Value + "\r\n")
	}
	return text.String()
}

// ask gets the lines from the rules.
func (c *crossOrigin) ask(origin []string) (lines fields) {
	h, r := http.Header{}, &http.Request{Method: http.MethodGet, Header: http.Header{}}
	if len(origin) > 0 {
		r.Header["Origin"] = origin
	}
	c.rules.HandlerFunc(headerOnly{h}, r)
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			lines = append(lines, upstream.Field{Name: name, Value: value})
		}
	}
	return lines
}

// headerOnly takes headers and nothing else.
type headerOnly struct{ header http.Header }

// Header implements http.ResponseWriter.
func (w headerOnly) Header() http.Header { return w.header }

// Write implements http.ResponseWriter.
func (headerOnly) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader implements http.ResponseWriter.
func (headerOnly) WriteHeader(int) {}
