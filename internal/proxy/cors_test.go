package proxy

// CORS (the Fetch standard). The gateway answers preflights for exactly the declared routes. Errors have the same CORS headers as other
// answers, and an upstream's CORS headers don't pass.

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roomgate/internal/bridge"
	"roomgate/internal/fleet"
	"roomgate/internal/sandbox"
)

const app = "https://app.example"

// withCORS allows two origins.
func withCORS(o *setup) { o.CORSOrigins = []string{app, "http://localhost:3000"} }

// preflight sends a preflight for a page of origin.
func (g *gateway) preflight(t *testing.T, origin, method, target string, headers ...string) reply {
	t.Helper()
	lines := []string{"Origin: " + origin, "Access-Control-Request-Method: " + method}
	if len(headers) > 0 {
		lines = append(lines, "Access-Control-Request-Headers: "+strings.Join(headers, ","))
	}
	return g.do(t, "OPTIONS", target, lines...)
}

// allowed returns the origin that an answer allows, or "".
func (r reply) allowed(t *testing.T) string {
	t.Helper()
	if got := r.header["Access-Control-Allow-Credentials"]; got != nil {
		t.Errorf("Access-Control-Allow-Credentials %q", got)
	}
	if vary := strings.Join(r.header["Vary"], ", "); !strings.Contains(vary, "Origin") {
		t.Errorf("Vary %q: a cache would give one origin's answer to another", vary)
	}
	if len(r.header["Access-Control-Allow-Origin"]) > 1 {
		t.Errorf("Access-Control-Allow-Origin %q", r.header["Access-Control-Allow-Origin"])
	}
	return r.header.Get("Access-Control-Allow-Origin")
}

// wantUntouched checks that neither the upstreams nor the bridge were asked.
func (g *gateway) wantUntouched(t *testing.T) {
	t.Helper()
	if n, asked := len(g.Glory.Requests())+g.Interwater.RoomCalls(), g.asked(""); n != 0 || len(asked) != 0 {
		t.Errorf("upstreams saw %d requests, the bridge was asked %q", n, asked)
	}
}

func TestPreflightsAreAnsweredForTheDeclaredRoutes(t *testing.T) {
	g := start(t, withCORS, func(o *setup) { o.RoomRoutes = append(o.RoomRoutes, "POST /v1/rooms/{name}/close") })
	for _, tt := range []struct {
		methods, target string
		status          int
	}{
		{"GET HEAD POST PUT PATCH DELETE OPTIONS", "/public-api/v1/login", 204}, {"GET POST DELETE", "/api/v1/profile", 204},
		{"GET", "/public-api/", 204}, {"GET HEAD", "/v1/info", 204}, {"GET HEAD", "/v1/sessions", 204},
		{"GET HEAD", "/v1/sessions/%EB%B0%A9", 204}, {"GET", "/v1/sessions?x=1", 204}, {"POST", "/v1/rooms/a/close", 204},
		{"POST PUT PATCH DELETE OPTIONS", "/v1/info", 405}, {"GET HEAD", "/v1/rooms/a/close", 405},
		{"CONNECT TRACE PROPFIND get", "/api/v1/profile", 405}, {"CONNECT TRACE", "/v1/info", 405}, {"CONNECT TRACE", "/nowhere", 405},
		{"GET POST", "/v1/auth", 404}, {"GET POST", "/V1/AUTH/", 404}, {"GET", "/nowhere", 404}, {"GET", "/", 404}, {"GET", "/v1/sessions/", 404},
		{"GET", "/v1/%2e%2e/x", 400}, {"GET", "//v1/auth", 400}, {"GET", "/v1/info?a=1;b", 400},
	} {
		for method := range strings.FieldsSeq(tt.methods) {
			answer := g.preflight(t, app, method, tt.target, "authorization", "content-type")
			if answer.status != tt.status {
				t.Errorf("%s %s: status %d, want %d", method, tt.target, answer.status, tt.status)
				continue
			}
			if tt.status != 204 {
				answer.wantError(t, tt.status)
				continue
			}
			for name, want := range map[string]string{
				"Access-Control-Allow-Methods": method, "Access-Control-Allow-Headers": "authorization,content-type", "Access-Control-Max-Age": "600",
			} {
				if got := answer.header[name]; !slices.Equal(got, []string{want}) {
					t.Errorf("%s %s: %s %q, want %q", method, tt.target, name, got, want)
				}
			}
			if answer.allowed(t) != app || answer.body != "" || answer.header.Get("X-Request-Id") == "" {
				t.Errorf("%s %s: %q", method, tt.target, answer.raw)
			}
			if vary := strings.Join(answer.header["Vary"], ", "); !strings.Contains(vary, "Access-Control-Request-Method") || !strings.Contains(vary, "Access-Control-Request-Headers") {
				t.Errorf("Vary %q", vary)
			}
		}
	}
	g.wantUntouched(t)
}

func TestOriginsThatAreNotDeclaredGetNoPermission(t *testing.T) {
	g := start(t, withCORS)
	for _, origin := range []string{
		"https://evil.example", "null", "https://app.example.evil.example", "https://evil-app.example", "https://app.example:444", "http://app.example",
		"https://app.example/", "https://app.example https://evil.example", "https://sub.app.example", "*", "https://*", "http://localhost", "http://localhost:30000", ".*",
	} {
		if answer := g.preflight(t, origin, "GET", "/v1/info"); answer.allowed(t) != "" || answer.header["Access-Control-Allow-Methods"] != nil {
			t.Errorf("preflight of %q: %q", origin, answer.raw)
		}
		for _, target := range []string{"/public-api/v1/health", "/v1/info", "/nowhere"} {
			if answer := g.get(t, target, "Origin: "+origin); answer.allowed(t) != "" || answer.header["Access-Control-Expose-Headers"] != nil {
				t.Errorf("%q, %s: %q", origin, target, answer.raw)
			}
		}
	}
	for _, origin := range []string{app, "http://localhost:3000"} {
		if got := g.get(t, "/v1/info", "Origin: "+origin).allowed(t); got != origin {
			t.Errorf("%q gets %q", origin, got)
		}
	}
}

// A page may send any headers to the gateway. The header rules decide what reaches an upstream.
func TestPreflightsPermitWhateverHeadersAreAskedFor(t *testing.T) {
	g := start(t, withCORS)
	for _, names := range []string{
		"authorization", "if-none-match", "baggage,sentry-trace,tracestate", "X-App-Version, Authorization", "s-connector-jwt", "cookie", "x-forwarded-for", "a.b_c!",
	} {
		answer := g.preflight(t, app, "GET", "/v1/info", names)
		if got := answer.header["Access-Control-Allow-Headers"]; answer.status != 204 || answer.allowed(t) != app || !slices.Equal(got, []string{names}) {
			t.Errorf("%s: %d, %q", names, answer.status, got)
		}
		g.event(t)
	}
	if answer := g.preflight(t, app, "GET", "/v1/info", ""); answer.allowed(t) != app || answer.header["Access-Control-Allow-Headers"] != nil {
		t.Errorf("no names: %q", answer.raw)
	}
	g.event(t)
	for _, names := range []string{"a b", "가", "a(", "<script>", "a:b", `"a"`} {
		answer := g.preflight(t, app, "GET", "/v1/info", "x", names)
		answer.wantError(t, 400)
		if e := g.event(t); answer.header["Access-Control-Allow-Headers"] != nil || e["error"] != "preflight: invalid header names" {
			t.Errorf("%s: %q, %v", names, answer.raw, e["error"])
		}
	}
	g.wantUntouched(t)
}

func TestRefusedPreflightsAreCountedWithTheirReason(t *testing.T) {
	registry := prometheus.NewRegistry()
	g := start(t, withCORS, func(o *setup) { o.Metrics = registry })
	for _, tt := range []struct{ origin, method, target, reason, text string }{
		{"https://evil.example", "GET", "/v1/info", "origin", "preflight: the origin is not in CORS_ALLOWED_ORIGINS"},
		{"null", "POST", "/api/x", "origin", "preflight: the origin is not in CORS_ALLOWED_ORIGINS"},
		{app, "POST", "/v1/info", "method", "preflight: method not allowed"},
		{app, "GET", "/nowhere", "no_route", "preflight: no such route"},
	} {
		before := counted(t, registry, "roomgate_refusals_total")[tt.reason]
		g.preflight(t, tt.origin, tt.method, tt.target)
		e := g.event(t)
		eventually(t, "it is counted", func() bool { return counted(t, registry, "roomgate_refusals_total")[tt.reason] == before+1 })
		if e["error"] != tt.text || e["method"] != "OPTIONS" {
			t.Errorf("%v: %v", tt, e)
		}
	}
	g.preflight(t, app, "GET", "/v1/info")
	if e := g.event(t); e["error"] != nil {
		t.Errorf("one that is permitted: %v", e)
	}
}

func TestAnyOriginMayBeLetIn(t *testing.T) {
	g := start(t, func(o *setup) { o.CORSOrigins = []string{"*"} })
	for _, origin := range []string{app, "null", "https://anybody.example"} {
		if got := g.preflight(t, origin, "GET", "/v1/info").allowed(t); got != "*" {
			t.Errorf("preflight of %s: %q", origin, got)
		}
		if got := g.get(t, "/v1/info", "Origin: "+origin).allowed(t); got != "*" {
			t.Errorf("%s: %q", origin, got)
		}
	}
}

func TestEveryAnswerCanBeReadByItsPage(t *testing.T) {
	g := start(t, unread, withCORS, func(o *setup) {
		o.AccountLimit, o.MemberLimit, o.MaxBodyBytes = fleet.Limit{Burst: 1, Per: time.Hour}, fleet.Limit{Burst: 9, Per: time.Hour}, 20
	})
	post := func(path, body string) string { return post(path, body, false, asMember, "Origin: "+app) }
	get := func(path string, lines ...string) string {
		return "GET " + path + " HTTP/1.1\r\nHost: g\r\nOrigin: " + app + "\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\n"
	}
	for _, tt := range []struct {
		request string
		status  int
		before  func()
	}{
		{get("/v1/info", asMember), 200, nil},
		{get("/public-api/v1/health"), 200, nil},
		{get("/public-api/v1/nowhere"), 404, nil}, // Glory's own 404
		{get("/v1/..", asMember), 400, nil},
		{get("/v1/info"), 401, nil},
		{get("/v1/info", "Authorization: Bearer forged"), 401, nil},
		{get("/nowhere"), 404, nil},
		{post("/v1/info", ""), 405, nil},
		{post("/api/x", strings.Repeat("a", 21)), 413, nil},
		{get("/v1/info", asMember, "X: "+strings.Repeat("a", 16<<10)), 431, nil},
		{post("/public-api/v1/login", "{}"), 400, nil},
		{post("/public-api/v1/login", "{}"), 429, nil},
		{get("/v1/info", asMember), 403, func() { g.authorize = func() error { return bridge.ErrForbidden } }},
		{get("/v1/info", asMember), 500, func() { g.authorize = func() error { panic("boom") } }},
		{get("/v1/info", asMember), 503, func() {
			g.authorize, g.credential = nil, func() error { return &bridge.NoCredential{RetryAfter: time.Second, Err: errNotFound} }
		}},
		{get("/v1/info", asMember), 502, func() {
			g.credential = nil
			g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Kind: sandbox.KindReset})
		}},
	} {
		if tt.before != nil {
			tt.before()
		}
		answer := g.raw(t, tt.request)
		if answer.status != tt.status {
			t.Errorf("status %d, want %d: %q", answer.status, tt.status, answer.raw)
			continue
		}
		if got := answer.allowed(t); got != app {
			t.Errorf("%d: permission for %q", tt.status, got)
		}
		exposed := strings.ToLower(strings.Join(answer.header["Access-Control-Expose-Headers"], ", "))
		if exposed != "x-request-id, retry-after, www-authenticate, ratelimit, ratelimit-policy" {
			t.Errorf("%d: exposed are %q", tt.status, exposed)
		}
	}
}

// The lane refuses these before a handler sees them.
func TestRefusedHeadsCanBeReadByTheirPage(t *testing.T) {
	g := start(t, withCORS, func(o *setup) { o.lane = true })
	head := func(lines ...string) string {
		return "GET /v1/info HTTP/1.1\r\nHost: g\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n"
	}
	const origin, long = "Origin: " + app, 17 << 10
	for name, tt := range map[string]struct {
		request string
		status  int
		allowed string
	}{
		"a length that is none":         {head(origin, "Content-Length: +1"), 400, app},
		"no host":                       {"GET / HTTP/1.1\r\n" + origin + "\r\n\r\n", 400, app},
		"a header that is none":         {head(origin, "X"), 400, app},
		"a header that is none, before": {head("X", origin), 400, ""},
		"a malformed target":            {"GET /<x> HTTP/1.1\r\n" + origin + "\r\n\r\n", 400, ""},
		"two origins":                   {head(origin, origin), 400, ""},
		"another origin":                {head("Origin: https://evil.example", "X"), 400, ""},
		"too long":                      {head(origin, "X: "+strings.Repeat("a", long)), 431, app},
		"too long, before":              {head("X: "+strings.Repeat("a", long), origin), 431, app},
		"too long a target":             {"GET /" + strings.Repeat("a", long) + " HTTP/1.1\r\nHost: g\r\n" + origin + "\r\n\r\n", 431, app},
		"too many lines":                {head(strings.Repeat("X: a\r\n", 100) + origin), 431, app},
		"too long with two origins":     {head(origin, "X: "+strings.Repeat("a", long), origin), 431, ""},
		"too long, and malformed":       {head("X: "+strings.Repeat("a", long), "X", origin), 431, ""},
		"too long, and of another":      {head("X: "+strings.Repeat("a", long), "Origin: https://evil.example"), 431, ""},
	} {
		answer := g.raw(t, tt.request)
		answer.wantError(t, tt.status)
		exposed := answer.header.Get("Access-Control-Expose-Headers") != ""
		if got := answer.allowed(t); got != tt.allowed || exposed != (tt.allowed != "") {
			t.Errorf("%s: permission for %q: %q", name, got, answer.raw)
		}
	}
	off := start(t, func(o *setup) { o.lane = true })
	if answer := off.raw(t, head(origin, "X")); strings.Contains(answer.raw, "Access-Control") {
		t.Errorf("without CORS: %q", answer.raw)
	}
}

func TestGlorysOwnPermissionsGiveWay(t *testing.T) {
	upstream := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "https://evil.example")
		h.Add("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Expose-Headers", "Set-Cookie")
		h.Set("Access-Control-Allow-Methods", r.Method)
		h["access-control-max-age"] = []string{"9"}
		h.Set("Access-Control-Allow-Private-Network", "true")
		h.Set("Vary", "Accept-Encoding")
		_, _ = io.WriteString(w, r.Method)
	})
	on := start(t, withCORS, func(o *setup) { o.Glory, o.Interwater = upstream, upstream })
	off := start(t, func(o *setup) { o.Glory, o.Interwater = upstream, upstream })
	for _, target := range []string{"/api/x", "/v1/info"} {
		answer := on.get(t, target, "Origin: "+app)
		if answer.allowed(t) != app || !strings.Contains(strings.Join(answer.header["Vary"], ","), "Accept-Encoding") {
			t.Errorf("%s: %q", target, answer.raw)
		}
		for _, lines := range [][]string{nil, {"Origin: https://evil.example"}} {
			answer := on.get(t, target, lines...)
			for name := range answer.header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("%s, %q: %s %q", target, lines, name, answer.header[name])
				}
			}
		}
	}
	answer := off.get(t, "/api/x", "Origin: "+app)
	if got := answer.header["Access-Control-Allow-Origin"]; !slices.Equal(got, []string{"https://evil.example", "*"}) || answer.header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("when CORS is off, Glory's answer is its own: %q", answer.raw)
	}
	if answer := off.get(t, "/v1/info", "Origin: "+app); strings.Contains(answer.raw, "Access-Control") {
		t.Errorf("Interwater's permissions reach the client: %q", answer.raw)
	}
}

func TestOptionsWithoutCORSIsARequest(t *testing.T) {
	var seen []string
	upstream := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Method+" "+r.RequestURI+" "+r.Header.Get("Origin"))
		w.Header().Set("Allow", "GET, OPTIONS")
	})
	g := start(t, func(o *setup) { o.Glory, o.Interwater = upstream, upstream })
	if answer := g.preflight(t, app, "POST", "/api/x"); answer.status != 200 || answer.header.Get("Allow") != "GET, OPTIONS" {
		t.Errorf("%q", answer.raw)
	}
	answer := g.preflight(t, app, "GET", "/v1/info")
	answer.wantError(t, http.StatusMethodNotAllowed)
	if allow := answer.header.Get("Allow"); allow != "GET, HEAD" {
		t.Errorf("Allow %q", allow)
	}
	g.preflight(t, app, "GET", "/nowhere").wantError(t, http.StatusNotFound)
	if !slices.Equal(seen, []string{"OPTIONS /api/x " + app}) {
		t.Errorf("upstream saw %q", seen)
	}
}

// With CORS, an OPTIONS that isn't a preflight is an ordinary request.
func TestOptionsThatIsNoPreflightIsARequest(t *testing.T) {
	var seen []string
	upstream := scripted(t, func(_ http.ResponseWriter, r *http.Request) { seen = append(seen, r.Method) })
	g := start(t, withCORS, func(o *setup) { o.Glory = upstream })
	for i, lines := range [][]string{nil, {"Origin: " + app}, {"Access-Control-Request-Method: GET"}} {
		if answer := g.do(t, "OPTIONS", "/api/x", lines...); answer.status != 200 || len(seen) != i+1 {
			t.Errorf("%q: status %d, Glory saw %q", lines, answer.status, seen)
		}
		g.do(t, "OPTIONS", "/v1/info", lines...).wantError(t, http.StatusMethodNotAllowed)
	}
}
