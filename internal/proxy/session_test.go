package proxy

// What a session's cookie does for a request. No upstream gets the cookie.

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"

	"roomgate/internal/bridge"
	"roomgate/internal/secret"
)

const (
	hostSession = "__Host-session"
	ownOrigin   = "http://gateway.test"
	listed      = "https://app.example"
)

// sealer returns sessions with a cookie name and secrets. It repeats each secret 32 times, so it is long enough.
func sealer(t testing.TB, name string, texts ...string) *bridge.Sessions {
	t.Helper()
	var long []secret.Value
	for _, text := range texts {
		long = append(long, secret.New(strings.Repeat(text, 32)))
	}
	s, err := bridge.NewSessions(name, long, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func seal(t testing.TB, s *bridge.Sessions, token string) string {
	t.Helper()
	text, _, err := s.Seal(token)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// startSessions starts a gateway with sessions on. It also returns a member's session.
func startSessions(t *testing.T, change ...func(*setup)) (g *gateway, session string) {
	t.Helper()
	s := sealer(t, hostSession, "a")
	g = start(t, append([]func(*setup){func(o *setup) { o.Sessions, o.CORSOrigins = s, []string{listed} }}, change...)...)
	g.bearer = g.Glory.MintToken("1", time.Hour)
	return g, seal(t, s, g.bearer)
}

// deletes reports whether the answer deletes the session's cookie, and nothing else about cookies.
func (r reply) deletes() bool {
	return slices.Equal(r.header["Set-Cookie"], []string{hostSession + "=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"})
}

// ended returns how many sessions have ended for a reason.
func (g *gateway) ended(t *testing.T, reason string) float64 {
	t.Helper()
	var m dto.Metric
	if err := g.handler.metrics.sessions.ended.WithLabelValues(reason).Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func TestASessionsCookieCountsAsItsToken(t *testing.T) {
	g, session := startSessions(t)
	for _, lines := range [][]string{
		{"Cookie: " + hostSession + "=" + session},
		{"Cookie: a=b; " + hostSession + "=" + session + "; c=\"d; e\""},
		{"Cookie: a=b;" + hostSession + "=" + session, "Cookie: c=d"},
	} {
		if a := g.do(t, "GET", "/v1/info", lines...); a.status != 200 || a.header["Set-Cookie"] != nil {
			t.Fatalf("room: %d %s %v", a.status, a.body, a.header)
		}
		sent := g.Interwater.LastRoomRequest().Header
		if sent["Cookie"] != nil || sent["Authorization"] != nil {
			t.Errorf("Interwater got %v", sent)
		}
		if a := g.do(t, "GET", "/api/v1/profile", lines...); a.status != 200 {
			t.Errorf("profile: %d %s", a.status, a.body)
		}
		sent = g.Glory.LastRequest().Header
		if got := sent["Authorization"]; !slices.Equal(got, []string{"Bearer " + g.bearer}) {
			t.Errorf("Glory got Authorization %q", got)
		}
		if cookies := strings.Join(sent["Cookie"], "; "); strings.Contains(cookies, "session") || len(lines[0]) > len(session)+60 && !strings.Contains(cookies, "a=b") {
			t.Errorf("Glory got the cookies %q", cookies)
		}
		a := g.do(t, "GET", "/session", lines...)
		if a.status != 200 || !strings.HasPrefix(a.body, `{"data":{"ends":"20`) || !strings.HasSuffix(a.body, `,"result":"ok","session":true,"sub":"7"}}`) || a.header.Get("Cache-Control") != "no-store" {
			t.Errorf("session: %d %s %v", a.status, a.body, a.header)
		}
	}
}

// A request with its own token is handled as if there were no sessions.
func TestARequestWithATokenNeedsNoCookie(t *testing.T) {
	g, session := startSessions(t)
	for _, cookie := range []string{session, "forged"} {
		line := "Cookie: a=b; " + hostSession + "=" + cookie
		if a := g.get(t, "/v1/info", line); a.status != 200 || a.header["Set-Cookie"] != nil {
			t.Errorf("room: %d %s", a.status, a.body)
		}
		if a := g.do(t, "GET", "/v1/info", "Authorization: Bearer bad", line); a.status != 401 || a.header["Set-Cookie"] != nil {
			t.Errorf("room with a bad token: %d %s", a.status, a.body)
		}
		for _, target := range []string{"/api/v1/profile", "/public-api/v1/health"} {
			g.get(t, target, line)
			if sent := g.Glory.LastRequest().Header; !slices.Equal(sent["Cookie"], []string{"a=b"}) || !slices.Equal(sent["Authorization"], []string{"Bearer good"}) {
				t.Errorf("%s: Glory got %v", target, sent)
			}
		}
	}
	// Routes for everybody don't check the cookie, and Glory doesn't get it.
	if a := g.do(t, "GET", "/public-api/v1/health", "Cookie: "+strings.ToUpper(hostSession)+"="+session+"; "+hostSession+"=forged"); a.status != 200 {
		t.Errorf("health: %d", a.status)
	}
	if sent := g.Glory.LastRequest().Header; sent["Cookie"] != nil || sent["Authorization"] != nil {
		t.Errorf("Glory got %v", sent)
	}
	if a := g.do(t, "GET", "/session"); a.status != 200 || a.body != `{"data":{"result":"ok","session":false}}` {
		t.Errorf("no session: %d %s", a.status, a.body)
	}
}

func TestWithoutSessionsCookiesAreTheClients(t *testing.T) {
	g := start(t)
	line := hostSession + "=x; " + strings.ToLower(hostSession) + "=y"
	if g.do(t, "GET", "/api/v1/profile", "Cookie: "+line); !slices.Equal(g.Glory.LastRequest().Header["Cookie"], []string{line}) {
		t.Errorf("Glory got %v", g.Glory.LastRequest().Header)
	}
	if a := g.do(t, "GET", "/v1/info", "Cookie: "+line); a.status != 401 || a.header["Set-Cookie"] != nil {
		t.Errorf("room: %d %v", a.status, a.header)
	}
}

func TestACookieThatDoesNotOpenIs401AndDeleted(t *testing.T) {
	g, session := startSessions(t)
	other := seal(t, sealer(t, hostSession, "a"), g.Glory.MintToken("2", time.Hour))
	cookies := map[string]string{
		"truncated": hostSession + "=" + session[:len(session)-2], "empty": hostSession + "=", "no value": hostSession, "longer": hostSession + "=" + session + "AA",
		"swapped with another's half": hostSession + "=" + session[:len(session)/2] + other[len(other)/2:],
		"from a key that is gone":     hostSession + "=" + seal(t, sealer(t, hostSession, "b"), g.bearer),
		"sealed for another name":     hostSession + "=" + seal(t, sealer(t, "session", "a"), g.bearer),
		"under another name":          "session=" + session, "in another case": strings.ToLower(hostSession) + "x=" + session,
		"twice": hostSession + "=" + session + "; " + hostSession + "=" + session, "a token": hostSession + "=" + g.bearer, "quoted": hostSession + `="` + session + `"`,
	}
	before := len(g.Glory.Requests())
	for name, cookie := range cookies {
		for _, request := range [][2]string{{"GET", "/v1/info"}, {"GET", "/api/v1/profile"}, {"GET", "/session"}, {"POST", "/session/logout"}} {
			a := g.do(t, request[0], request[1], "Cookie: a=b; "+cookie)
			if a.status != 401 || !a.deletes() || a.header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
				t.Errorf("%s, %s: %d %v", name, request[1], a.status, a.header)
			}
			g.event(t)
			events := g.audited(t)
			if last := events[len(events)-1]; last["event"] != "verification_failure" || last["reason"] != "bad_session" || last["path"] != request[1] {
				t.Errorf("%s: audited %v", name, last)
			}
		}
	}
	if len(g.asked("")) > 0 || len(g.Glory.Requests()) != before || g.Interwater.RoomCalls() > 0 {
		t.Error("an upstream or the bridge was asked")
	}
	if got := g.ended(t, "unopened"); got != float64(4*len(cookies)) {
		t.Errorf("%v sessions ended", got)
	}
}

func TestASessionWhoseTokenIsNotGoodAnyMoreIsDeleted(t *testing.T) {
	for reason, err := range map[string]error{"logged_out": bridge.ErrLoggedOut, "expired": bridge.ErrExpired, "refused": bridge.ErrMemberToken} {
		g, session := startSessions(t)
		g.authenticate = always(err)
		for _, target := range []string{"/v1/info", "/session"} {
			a := g.do(t, "GET", target, "Cookie: "+hostSession+"="+session)
			if a.status != 401 || !a.deletes() {
				t.Errorf("%s, %s: %d %v", reason, target, a.status, a.header)
			}
		}
		if got := g.ended(t, reason); got != 2 {
			t.Errorf("%s: %v", reason, got)
		}
	}
	// A denial or a failure doesn't mean that the token is invalid.
	for _, err := range []error{bridge.ErrDenied, fmt.Errorf("x: %w", errOverloaded)} {
		g, session := startSessions(t)
		g.authorize = always(err)
		if a := g.do(t, "GET", "/v1/info", "Cookie: "+hostSession+"="+session); a.status == 401 || a.header["Set-Cookie"] != nil {
			t.Errorf("%v: %d %v", err, a.status, a.header)
		}
	}
}

func TestALogoutDeletesTheSession(t *testing.T) {
	g, session := startSessions(t)
	for query, reason := range map[string]string{"": "logout", "?all=true": "logout_all"} {
		a := g.do(t, "POST", "/session/logout"+query, "Cookie: "+hostSession+"="+session)
		if a.status != 200 || !a.deletes() || a.body != `{"data":{"result":"ok"}}` {
			t.Errorf("%s: %d %s %v", reason, a.status, a.body, a.header)
		}
		if got := g.ended(t, reason); got != 1 {
			t.Errorf("%s: %v", reason, got)
		}
	}
	if got := g.asked("logout"); len(got) != 2 {
		t.Errorf("%q", got)
	}
	// If the logout fails, the token is still good. The browser must keep the cookie, to try the logout again.
	g.logout = always(bridge.ErrLogout)
	if a := g.do(t, "POST", "/session/logout", "Cookie: "+hostSession+"="+session); a.status != 503 || a.header["Set-Cookie"] != nil || a.header.Get("Retry-After") != "5" {
		t.Errorf("without Redis: %d %v", a.status, a.header)
	}
}

func TestPagesOfOtherOriginsSendNothingByTheCookie(t *testing.T) {
	g, session := startSessions(t)
	cookie := "Cookie: " + hostSession + "=" + session
	for name, tt := range map[string]struct {
		lines []string
		ok    bool
	}{
		"no browser":            {nil, true},
		"own page":              {[]string{"Sec-Fetch-Site: same-origin"}, true},
		"own page, old browser": {[]string{"Origin: " + ownOrigin}, true},
		"listed":                {[]string{"Origin: " + listed, "Sec-Fetch-Site: same-site"}, true},
		"listed, old browser":   {[]string{"Origin: " + listed}, true},
		"sibling":               {[]string{"Origin: http://evil.gateway.test", "Sec-Fetch-Site: same-site"}, false},
		"foreign":               {[]string{"Origin: https://evil.example", "Sec-Fetch-Site: cross-site"}, false},
		"foreign, old browser":  {[]string{"Origin: https://evil.example"}, false},
		"sandboxed":             {[]string{"Origin: null"}, false},
		"without an origin":     {[]string{"Sec-Fetch-Site: cross-site"}, false},
	} {
		for _, request := range [][2]string{
			{"POST", "/session/logout"}, {"DELETE", "/api/v1/anything"}, {"POST", "/public-api/v1/anything"}, {"POST", "/session/login"}, {"POST", "/session/join"},
		} {
			before := len(g.Glory.Requests())
			a := g.do(t, request[0], request[1], append(tt.lines, cookie, "Content-Length: 0")...)
			if refused := a.status == 403 && strings.Contains(a.body, "Not allowed from another origin"); refused == tt.ok {
				t.Errorf("%s, %s %s: %d %s", name, request[0], request[1], a.status, a.body)
			}
			if !tt.ok && len(g.Glory.Requests()) != before {
				t.Errorf("%s: Glory got %s", name, request[1])
			}
		}
		// Safe methods pass from every origin. CORS decides whether the page may read the answer.
		a := g.do(t, "GET", "/v1/info", append(tt.lines, cookie)...)
		if permitted := a.header.Get("Access-Control-Allow-Credentials") == "true"; a.status != 200 || permitted != strings.Contains(name, "listed") {
			t.Errorf("%s: %d %v", name, a.status, a.header)
		}
	}
	if got := g.asked("logout"); len(got) != 5 {
		t.Errorf("%d logouts", len(got))
	}
	g.event(t)
	if events := g.audited(t); !slices.ContainsFunc(events, func(e map[string]any) bool { return e["event"] == "attack" && e["reason"] == "cross_origin" }) {
		t.Error("not audited")
	}
	// Behind a balancer, the page's host is the one in the request to the balancer.
	proxied, session := startSessions(t, func(o *setup) { o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	lines := []string{"Cookie: " + hostSession + "=" + session, "X-Forwarded-Host: public.example", "X-Forwarded-Proto: https", "Content-Length: 0"}
	for origin, status := range map[string]int{"https://public.example": 200, ownOrigin: 403} {
		if a := proxied.do(t, "POST", "/session/logout", append(lines, "Origin: "+origin)...); a.status != status {
			t.Errorf("%s: %d", origin, a.status)
		}
	}
}

func TestCredentialsAreForListedOriginsAlone(t *testing.T) {
	g, _ := startSessions(t)
	for origin, want := range map[string]string{listed: "true", "https://evil.example": ""} {
		a := g.preflight(t, origin, http.MethodPost, "/session/logout")
		if got := a.header.Get("Access-Control-Allow-Credentials"); got != want || (a.header.Get("Access-Control-Allow-Origin") == origin) != (want != "") {
			t.Errorf("%s: %v", origin, a.header)
		}
	}
	without := start(t, func(o *setup) { o.CORSOrigins = []string{listed} })
	if a := without.get(t, "/v1/info", "Origin: "+listed); a.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("without sessions: %v", a.header)
	}
}
