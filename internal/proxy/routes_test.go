package proxy

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"roomgate/internal/bridge"
)

const gloryAllow = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

func TestRoomRoutesGoToInterwater(t *testing.T) {
	g := start(t)
	for _, target := range []string{"/v1/info", "/v1/sessions", "/v1/sessions/gsda11"} {
		for _, method := range []string{"GET", "HEAD"} {
			g.Interwater.Reset()
			answer := g.do(t, method, target, asMember)
			if answer.status != 200 || (answer.body == "") != (method == "HEAD") {
				t.Errorf("%s %s: %d %q", method, target, answer.status, answer.body)
			}
			if got, want := g.roomsSeen(), []string{method + " " + target}; !slices.Equal(got, want) {
				t.Errorf("Interwater saw %q, want %q", got, want)
			}
		}
	}
	if seen := g.Glory.Requests(); len(seen) > 0 {
		t.Errorf("Glory saw %v", seen)
	}
}

func TestHeadOfARoomHasTheHeadersOfItsGet(t *testing.T) {
	g := start(t)
	get, head := g.get(t, "/v1/info"), g.do(t, "HEAD", "/v1/info", asMember)
	for _, name := range []string{"Content-Type", "Content-Length", "Cache-Control", "X-Content-Type-Options"} {
		if !slices.Equal(get.header[name], head.header[name]) {
			t.Errorf("%s: GET has %q, HEAD %q", name, get.header[name], head.header[name])
		}
	}
}

func TestAuthIsNeverForwarded(t *testing.T) {
	g := start(t, unread)
	body := `{"accessKey":"a","secretKey":"b"}`
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "FOO"} {
		for _, target := range []string{
			"/v1/auth", "/v1/auth?x", "/v1/auth?", "/v1/auth/", "/v1/%61uth", "/%76%31/auth", "/v1/aut%68", "/V1/AUTH", "/v1/Auth",
			"/v1/auth%20", "/v1/auth.json", "http://interwater/v1/auth", "/v1/auth/x",
		} {
			answer := g.raw(t, method+" "+target+" HTTP/1.1\r\nHost: g\r\n"+asMember+"\r\nContent-Length: 33\r\n\r\n"+body)
			if method == "HEAD" {
				if answer.status != 404 || answer.body != "" {
					t.Errorf("HEAD %s: %d %q", target, answer.status, answer.body)
				}
				continue
			}
			answer.wantError(t, http.StatusNotFound)
			if want := g.do(t, "GET", "/nowhere").body; answer.body != want {
				t.Errorf("%s %s: body %q differs from an unknown path's %q", method, target, answer.body, want)
			}
		}
	}
	g.wantNoCalls(t)
}

func TestUnknownPathIs404(t *testing.T) {
	g := start(t)
	for _, target := range []string{
		"/", "/v1", "/v1/", "/v1/infox", "/v1/info/", "/v1/info/x", "/v1/sessions/", "/v1/sessionsX", "/v1/sessions../auth",
		"/v1/sessions/a/b", "/v1/sessions/a/", "/V1/Sessions", "/v1/Info", "/%76%31/info", "/v1/sess%69ons", "/v1/sess%69ons/a",
		"/api", "/public-api", "/API/v1/profile", "/%61pi/v1/profile", "/apix/v1", "/public-api%20/v1", "/v2/info",
		"/metrics", "/debug/pprof/", "/debug/vars", "/healthz?x", "/actuator", "/.env", "/livez", "/_sandbox/stats",
	} {
		g.get(t, target).wantError(t, http.StatusNotFound)
		g.do(t, "GET", target).wantError(t, http.StatusNotFound) // without a token, too: the answer needs none
	}
	g.wantNoCalls(t)
}

func TestRoomRouteWithAnotherMethodIs405(t *testing.T) {
	g := start(t)
	for _, target := range []string{"/v1/info", "/v1/sessions", "/v1/sessions/gsda11", "/v1/sessions/%EC%A3%BC"} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "FOO", "get", strings.Repeat("A", 300)} {
			answer := g.do(t, method, target, asMember)
			answer.wantError(t, http.StatusMethodNotAllowed)
			if got := answer.header["Allow"]; !slices.Equal(got, []string{"GET, HEAD"}) {
				t.Errorf("%s %s: Allow is %q", method, target, got)
			}
		}
	}
	g.wantNoCalls(t)
}

func TestConnectAndTraceAre405OnGloryRoutes(t *testing.T) {
	g := start(t, unread)
	for _, target := range []string{"/api/v1/profile", "/public-api/v1/login", "/api/", "http://h/api/v1/profile"} {
		for _, method := range []string{"TRACE", "CONNECT"} {
			if method == "CONNECT" && target[0] != '/' {
				continue // net/http reads it as a malformed authority
			}
			answer := g.do(t, method, target, asMember)
			answer.wantError(t, http.StatusMethodNotAllowed)
			if got := answer.header["Allow"]; !slices.Equal(got, []string{gloryAllow}) {
				t.Errorf("%s %s: Allow is %q", method, target, got)
			}
		}
	}
	g.wantNoCalls(t)
}

func TestConnectAndTraceAre405Everywhere(t *testing.T) {
	g := start(t, unread)
	for _, line := range [][2]string{
		{"CONNECT", "gateway.test:443"}, {"CONNECT", "evil.test:80"}, {"CONNECT", "/nowhere"}, {"CONNECT", "/v1/auth"},
		{"TRACE", "/nowhere"}, {"TRACE", "/v1/auth"}, {"TRACE", "/"}, {"TRACE", "*"},
	} {
		answer := g.do(t, line[0], line[1], asMember)
		answer.wantError(t, http.StatusMethodNotAllowed)
		if _, there := answer.header["Allow"]; !there {
			t.Errorf("%s %s: no Allow", line[0], line[1])
		}
	}
	for _, target := range []string{"//v1/auth", "/v1/sessions/..%2fauth", "/api/../x"} {
		for _, method := range []string{"TRACE", "CONNECT"} {
			g.do(t, method, target).wantError(t, http.StatusBadRequest)
		}
	}
	g.wantNoCalls(t)
}

// A route for all methods doesn't take TRACE, which would echo the credential.
func TestTraceIs405OnARouteWithoutMethod(t *testing.T) {
	g := start(t, func(o *setup) { o.RoomRoutes = []string{"/v1/open"} })
	for _, method := range []string{"TRACE", "CONNECT"} {
		g.do(t, method, "/v1/open", asMember).wantError(t, http.StatusMethodNotAllowed)
	}
	g.wantNoCalls(t)
}

func TestOptionsOfEverythingIs404(t *testing.T) {
	g := start(t, unread)
	for _, method := range []string{"OPTIONS", "GET", "POST"} {
		g.do(t, method, "*").wantError(t, http.StatusNotFound)
	}
	g.wantNoCalls(t)
}

func TestGloryRoutesTakeEveryMethodOfTheirAllow(t *testing.T) {
	g := start(t)
	for method := range strings.SplitSeq(gloryAllow, ", ") {
		for _, target := range []string{"/public-api/v1/health", "/api/v1/anything%20here?a=b", "/api/", "/public-api/"} {
			g.do(t, method, target)
			if got := g.Glory.LastRequest(); got.Method != method || got.RequestURI != target {
				t.Errorf("%s %s arrives as %s %s", method, target, got.Method, got.RequestURI)
			}
		}
	}
	if seen := g.roomsSeen(); len(seen) > 0 || len(g.asked("")) > 0 {
		t.Errorf("Interwater saw %q, the bridge was asked %q", seen, g.asked(""))
	}
}

func TestGlorysOwnAnswersPass(t *testing.T) {
	g := start(t)
	member := "Authorization: Bearer " + g.Glory.MintToken("1", patience)
	for _, tt := range []struct {
		method, target, header, body string
		status                       int
		want                         string
	}{
		{"GET", "/public-api/v1/health", "", "", 200, `{"data":{"result":"ok"}}`},
		{"POST", "/public-api/v1/login", "Content-Type: application/json", `{"id":"` + g.Demo.ID + `","password":"` + g.Demo.Password + `"}`, 200, `"token"`},
		{"POST", "/public-api/v1/login", "Content-Type: application/json", `{"id":"x","password":"y"}`, 400, `{"code":"400","message":"ID/PASSWORD 정보가 일치하지 않습니다 !"}`},
		{"GET", "/api/v1/check_login", member, "", 200, `"ok"`},
		{"GET", "/api/v1/profile", member, "", 200, `"profile"`},
		{"GET", "/api/v1/check_login", "Accept: */*", "", 403, `"code":"403"`},
		{"GET", "/api/v1/check_login", asMember, "", 403, `"code":"403"`},
		{"GET", "/api/v1/nothing", member, "", 404, `"code":"404"`},
	} {
		answer := g.raw(t, strings.Join([]string{
			tt.method + " " + tt.target + " HTTP/1.1", "Host: g", "Content-Length: " + itoa(len(tt.body)), tt.header, "", tt.body,
		}, "\r\n"))
		if tt.header == "" {
			answer = g.do(t, tt.method, tt.target)
		}
		if answer.status != tt.status || !strings.Contains(answer.body, tt.want) {
			t.Errorf("%s %s: %d %q", tt.method, tt.target, answer.status, answer.body)
		}
	}
}

func TestGlorysRedirectPassesUnfollowed(t *testing.T) {
	followed := scripted(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") })
	glory := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", followed.String())
		w.WriteHeader(http.StatusFound)
	})
	g := start(t, func(o *setup) { o.Glory = glory })
	if answer := g.do(t, "GET", "/api/x"); answer.status != 302 || answer.header.Get("Location") != followed.String() {
		t.Errorf("%d to %q", answer.status, answer.header.Get("Location"))
	}
}

func TestUpstreamsHostIsItsOwn(t *testing.T) {
	g := start(t)
	g.do(t, "GET", "/public-api/v1/health", "Host: evil.test")
	g.do(t, "GET", "/v1/info", "Host: evil.test", asMember)
	if got, want := g.Glory.LastRequest().Host, strings.TrimPrefix(g.GloryURL, "http://"); got != want {
		t.Errorf("Glory's Host is %q, want %q", got, want)
	}
	if got, want := g.Interwater.LastRoomRequest().Host, strings.TrimPrefix(g.InterwaterURL, "http://"); got != want {
		t.Errorf("Interwater's Host is %q, want %q", got, want)
	}
}

func TestOperatorsRoute(t *testing.T) {
	var got string
	upstream := scripted(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Method + " " + r.RequestURI })
	g := start(t, func(o *setup) {
		o.Interwater = upstream
		o.RoomRoutes = []string{"POST /v1/rooms/{name}/close", "GET /v1/files/{path...}", "GET /v1/list/", "GET /v1/only/{$}"}
	})
	for _, tt := range []struct {
		method, target string
		status         int
	}{
		{"POST", "/v1/rooms/a/close", 200}, {"GET", "/v1/rooms/a/close", 405}, {"GET", "/v1/files/a/b%20c", 200},
		{"GET", "/v1/list/", 200}, {"GET", "/v1/list", 404}, {"GET", "/v1/list/x", 200}, {"GET", "/v1/only/", 200}, {"GET", "/v1/only/x", 404},
		{"GET", "/v1/info", 404}, {"GET", "/v1/files/../auth", 400},
	} {
		got = ""
		answer := g.do(t, tt.method, tt.target, asMember)
		want := ""
		if tt.status == 200 {
			want = tt.method + " " + tt.target
		}
		if answer.status != tt.status || got != want {
			t.Errorf("%s %s: %d, Interwater saw %q", tt.method, tt.target, answer.status, got)
		}
	}
}

func TestNewRefusesWhatItCannotServe(t *testing.T) {
	base := nowhere(t)
	full := Options{Glory: base, Interwater: base, Bridge: &fakeBridge{}, Log: quietLog(), RoomRoutes: []string{"GET /a"}}
	if _, err := New(full); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"no Glory":       func(o *Options) { o.Glory = nil },
		"no Interwater":  func(o *Options) { o.Interwater = nil },
		"no Bridge":      func(o *Options) { o.Bridge = nil },
		"no Log":         func(o *Options) { o.Log = nil },
		"no pattern":     func(o *Options) { o.RoomRoutes = []string{""} },
		"broken pattern": func(o *Options) { o.RoomRoutes = []string{"GET /{"} },
		"two of one":     func(o *Options) { o.RoomRoutes = []string{"GET /a", "GET /a"} },
		"a conflict":     func(o *Options) { o.RoomRoutes = []string{"GET /a/{x}", "GET /{x}/a"} },
	} {
		o := full
		change(&o)
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

var _ gatekeeper = (*bridge.Bridge)(nil) // as in production
