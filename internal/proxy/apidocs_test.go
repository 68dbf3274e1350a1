package proxy

// How the gateway serves its own pages. Tests of cmd/gateway show that the pages are true.

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func withDocs(o *setup) { o.APIDocs = true }

func TestPagesAreForEverybody(t *testing.T) {
	g := start(t, withDocs)
	for path, contentType := range map[string]string{
		"/openapi.json": "application/json; charset=utf-8", "/docs": "text/html; charset=utf-8", "/docs?x": "text/html; charset=utf-8",
		"/docs/start.js": "text/javascript; charset=utf-8", "/docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
		"/docs/swagger-ui.css": "text/css; charset=utf-8", "/docs/dark.css": "text/css; charset=utf-8",
	} {
		answer := g.do(t, "GET", path)
		if event, want := g.event(t), "GET "+strings.TrimSuffix(path, "?x"); event["route"] != want || event["upstream"] != "" {
			t.Errorf("%s is logged as %v", path, event)
		}
		head := g.do(t, "HEAD", path)
		g.event(t)
		if answer.status != 200 || head.status != 200 || len(answer.body) < 100 || head.body != "" {
			t.Errorf("%s: %d with %d bytes, HEAD %d with %d", path, answer.status, len(answer.body), head.status, len(head.body))
		}
		for name, want := range map[string]string{
			"Content-Type": contentType, "Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff",
		} {
			if answer.header.Get(name) != want || head.header.Get(name) != want {
				t.Errorf("%s: %s is %q, HEAD %q", path, name, answer.header.Get(name), head.header.Get(name))
			}
		}
	}
	g.wantNoCalls(t)
}

// The gateway serves everything that the page needs. The page's policy allows nothing else.
func TestDocsMayLoadNothingFromElsewhere(t *testing.T) {
	g := start(t, withDocs)
	policy := g.do(t, "GET", "/docs").header.Get("Content-Security-Policy")
	for directive := range strings.SplitSeq(policy, ";") {
		for _, source := range strings.Fields(directive)[1:] {
			if !slices.Contains([]string{"'none'", "'self'", "data:"}, source) {
				t.Errorf("%s allows %s", directive, source)
			}
		}
	}
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("no %s in %q", want, policy)
		}
	}
}

func TestPageIsPackedForWhoTakesIt(t *testing.T) {
	g := start(t, withDocs)
	for _, path := range []string{"/openapi.json", "/docs/swagger-ui.css"} {
		plain := g.do(t, "GET", path)
		for accept, want := range map[string]string{
			"gzip, deflate, br": "gzip", "br;q=1, GZIP;q=0.5": "gzip", "gzip;q=0": "", "gzip; q=0.0": "", "identity": "", "xgzip": "",
		} {
			answer := g.do(t, "GET", path, "Accept-Encoding: "+accept)
			body := answer.body
			if want == "gzip" {
				unpacked, err := gzip.NewReader(bytes.NewReader([]byte(body)))
				if err != nil {
					t.Fatal(err)
				}
				text, _ := io.ReadAll(unpacked)
				body = string(text)
			}
			got, vary := answer.header.Get("Content-Encoding"), answer.header.Get("Vary")
			if got != want || body != plain.body || vary != "Accept-Encoding" {
				t.Errorf("%s for %q: %q, %d bytes", path, accept, got, len(body))
			}
		}
		if again := g.do(t, "GET", path, "If-None-Match: "+plain.header.Get("ETag")); again.status != 304 || again.body != "" {
			t.Errorf("%s, known: %d with %d bytes", path, again.status, len(again.body))
		}
	}
	if !json.Valid([]byte(g.do(t, "GET", "/openapi.json").body)) {
		t.Error("no JSON")
	}
}

func TestPagesKeepTheRulesOfAllRoutes(t *testing.T) {
	g := start(t, withDocs)
	for _, path := range []string{"/docs", "/openapi.json", "/docs/start.js"} {
		for _, method := range []string{"POST", "DELETE", "OPTIONS", "TRACE", "CONNECT", "FOO"} {
			answer := g.do(t, method, path)
			answer.wantError(t, http.StatusMethodNotAllowed)
			if got := answer.header.Get("Allow"); got != "GET, HEAD" {
				t.Errorf("%s %s: Allow is %q", method, path, got)
			}
		}
	}
	for _, path := range []string{
		"/docs/x", "/docs/docs/", "/Docs", "/%64ocs", "/docs/swagger-ui-bundle.js.gz", "/openapi.yaml", "/docs/static.go",
	} {
		g.do(t, "GET", path).wantError(t, http.StatusNotFound)
	}
	for _, path := range []string{"//docs", "/docs/../openapi.json", "/docs/%2e%2e/x", "/docs?a;b"} {
		g.do(t, "GET", path).wantError(t, http.StatusBadRequest)
	}
	off := start(t)
	for _, path := range []string{"/", "/docs/", "/docs", "/openapi.json", "/docs/start.js"} {
		off.do(t, "GET", path).wantError(t, http.StatusNotFound)
		off.do(t, "POST", path).wantError(t, http.StatusNotFound)
	}
}

// The bare host, and /docs with a slash at the end, lead to the page.
func TestTheHostLeadsToThePage(t *testing.T) {
	g := start(t, withDocs)
	for _, path := range []string{"/", "/docs/", "/?a=b"} {
		for _, method := range []string{"GET", "HEAD"} {
			if answer := g.do(t, method, path); answer.status != 302 || answer.header.Get("Location") != "/docs" || answer.header.Get("X-Request-Id") == "" {
				t.Errorf("%s %s: %q", method, path, answer.raw)
			}
		}
		g.do(t, "POST", path).wantError(t, http.StatusMethodNotAllowed)
	}
	for _, path := range []string{"//", "/./"} {
		g.do(t, "GET", path).wantError(t, http.StatusBadRequest)
	}
	g.wantNoCalls(t)
}

// The page lists routes in the order of the description, which begins with the login.
func TestTheDescriptionKeepsItsOrder(t *testing.T) {
	body := start(t, withDocs).do(t, "GET", "/openapi.json").body
	last := -1
	for _, name := range []string{"openapi", "info", "paths", "/public-api/v1/login", "/public-api/v1/join", "/api/v1/check_login", "/v1/info", "/v1/sessions", "components"} {
		at := strings.Index(body, `"`+name+`":`)
		if at <= last {
			t.Errorf("%s is in the wrong place", name)
		}
		last = at
	}
}

func TestPageIsNoRoomRoute(t *testing.T) {
	base := nowhere(t)
	for _, pattern := range []string{"GET /docs", "GET /openapi.json", "GET /docs/start.js"} {
		o := Options{Glory: base, Interwater: base, Bridge: &fakeBridge{}, Log: quietLog(), RoomRoutes: []string{pattern}, APIDocs: true}
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", pattern)
		}
	}
}

func TestExplainKnowsThePages(t *testing.T) {
	for _, tt := range []struct {
		on             bool
		method, target string
		want           Destination
	}{
		{true, "GET", "/docs", Destination{Route: "GET /docs", Status: 200, Path: "/docs"}},
		{true, "HEAD", "/openapi.json", Destination{Route: "GET /openapi.json", Status: 200, Path: "/openapi.json"}},
		{true, "POST", "/session/login", Destination{Route: "POST /session/login", Upstream: "glory", Path: "/session/login"}},
		{true, "GET", "/session", Destination{Route: "GET /session", Status: 200, Path: "/session"}},
		{false, "POST", "/session/logout", Destination{Route: "POST /session/logout", Status: 200, Path: "/session/logout"}},
		{false, "GET", "/session", Destination{Status: 404, Path: "/session"}},
		{true, "POST", "/docs", Destination{Status: 405, Path: "/docs"}},
		{true, "GET", "/", Destination{Route: "GET /{$}", Status: 302, Path: "/"}},
		{false, "GET", "/", Destination{Status: 404, Path: "/"}},
		{false, "GET", "/docs", Destination{Status: 404, Path: "/docs"}},
	} {
		if got, err := Explain([]string{"GET /v1/info"}, tt.on, tt.on, tt.method, tt.target); err != nil || got != tt.want {
			t.Errorf("%s %s: %+v %v", tt.method, tt.target, got, err)
		}
	}
}
