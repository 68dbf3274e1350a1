package proxy

// This file answers browsers of other origins (the Fetch standard's CORS): preflights by the gateway itself, for the
// declared routes and their methods; and the same permission on every answer, errors among them.

import (
	"net/http"
	"strings"
	"time"

	"github.com/rs/cors"
)

// crossOrigin is who may read answers from where. A nil *crossOrigin is off.
type crossOrigin struct{ rules *cors.Cors }

// newCrossOrigin returns nil without origins. "*" admits all.
func newCrossOrigin(origins []string) *crossOrigin {
	if len(origins) == 0 {
		return nil
	}
	return &crossOrigin{rules: cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: gloryMethods(), // of all routes; the route table knows each one's
		AllowedHeaders: []string{"Authorization", "Content-Type", "Accept", "Accept-Language", "X-Request-Id", "traceparent"},
		ExposedHeaders: []string{"X-Request-Id", "Retry-After", "RateLimit", "RateLimit-Policy"},
		MaxAge:         int((10 * time.Minute).Seconds()),
	})}
}

// isPreflight reports whether r is a question and no request.
func (c *crossOrigin) isPreflight(r *http.Request) bool {
	return c != nil && r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// preflight answers one whose route is known.
func (c *crossOrigin) preflight(w *writer, r *http.Request) { c.rules.HandlerFunc(w, r) }

// permit sets on an answer's header what lets the page that asked read it, in place of whatever an upstream has set.
func (c *crossOrigin) permit(h http.Header, r *http.Request) {
	if c == nil {
		return
	}
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(h, name)
		}
	}
	c.rules.HandlerFunc(headerOnly{h}, r)
}

// headerOnly takes headers and nothing else.
type headerOnly struct{ header http.Header }

// Header implements http.ResponseWriter.
func (w headerOnly) Header() http.Header { return w.header }

// Write implements http.ResponseWriter.
func (headerOnly) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader implements http.ResponseWriter.
func (headerOnly) WriteHeader(int) {}
