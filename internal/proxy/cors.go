package proxy

// CORS (the Fetch standard). The gateway itself answers preflights, for the declared routes and their methods. It adds the CORS headers
// to every answer, errors too.

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

// crossOrigin says which origins' pages may read answers. A nil *crossOrigin is off.
type crossOrigin struct {
	rules *cors.Cors
	known map[string]fields // the header lines for each origin in the settings, and for "", a request without Origin
}

// newCrossOrigin returns nil without origins. "*" admits all. With credentials, browsers may send cookies in requests from pages of the
// origins. Then origins must not contain "*".
func newCrossOrigin(origins []string, credentials bool) *crossOrigin {
	if len(origins) == 0 {
		return nil
	}
	c := &crossOrigin{known: make(map[string]fields), rules: cors.New(cors.Options{
		AllowedOrigins:   origins,
		AllowedMethods:   gloryMethods(), // for all routes; the route table checks the method of each
		AllowedHeaders:   []string{"*"},  // repeats what the preflight asks for; headers.go decides what goes upstream
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

// isPreflight reports whether r is a CORS preflight that the gateway answers.
func (c *crossOrigin) isPreflight(r *http.Request) bool {
	return c != nil && r.Method == http.MethodOptions && r.Header.Get("Origin") != "" && r.Header.Get("Access-Control-Request-Method") != ""
}

// preflight answers a preflight whose route is known. If the origin isn't allowed, the answer has no CORS permission. preflight records
// the reason in the call, because the browser doesn't tell its page.
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

// permit sets the CORS headers of an answer, so the page that asked can read it. They replace an upstream's. origin is the request's
// Origin.
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

// lines returns the header lines that permit adds. The caller must not change them.
func (c *crossOrigin) lines(origin []string) fields {
	if c == nil {
		return nil
	}
	if known, ok := c.known[strings.Join(origin, "\x00")]; ok {
		return known
	}
	return c.ask(origin)
}

// Permission is lane.Options.Permission: it returns the lines of permit for the lane's own answers.
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

// ask asks the rules for the header lines of an answer.
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

// headerOnly is a ResponseWriter that keeps the header and drops the rest.
type headerOnly struct{ header http.Header }

// Header implements http.ResponseWriter.
func (w headerOnly) Header() http.Header { return w.header }

// Write implements http.ResponseWriter.
func (headerOnly) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader implements http.ResponseWriter.
func (headerOnly) WriteHeader(int) {}
