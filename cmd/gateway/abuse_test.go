package main

// Abuse of what is allowed: guessed names and routes, other origins, and bodies that can be read in two ways.

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"roomgate/tests"
)

// safe checks the headers that every answer must have, and those that none may have.
func safe(t *testing.T, _ *arena, got []reply) {
	h := got[0].header
	if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Content-Type") != "application/json; charset=utf-8" || h.Get("Server") != "" || h.Get("X-Powered-By") != "" {
		t.Errorf("A13: %v", h)
	}
	if h.Get("Access-Control-Allow-Origin")+h.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("A09: %v", h)
	}
}

// uncacheable checks an answer for one member only.
func uncacheable(t *testing.T, s *arena, got []reply) {
	safe(t, s, got)
	if !strings.Contains(got[0].header.Get("Cache-Control"), "no-store") {
		t.Errorf("A10: Cache-Control %q", got[0].header["Cache-Control"])
	}
}

func TestAnswersAreForWhoAskedAlone(t *testing.T) {
	s := newArena(t)
	evil := "Origin: http://" + s.evil
	var refusals []string
	same := func(t *testing.T, _ *arena, got []reply) {
		got[0].header.Del("X-Request-Id")
		got[0].header.Del("Date")
		if refusals = append(refusals, fmt.Sprint(got[0])); refusals[0] != refusals[len(refusals)-1] {
			t.Errorf("an unknown member and a wrong password differ: %q", refusals)
		}
	}
	s.play(t, []attack{
		{row: "A07", name: "login of an unknown member", send: withBody("POST", "/public-api/v1/login", `{"id":"nobody","password":"x"}`), want: []int{400}, glory: 1, look: same},
		{row: "A07", name: "login with a wrong password", send: withBody("POST", "/public-api/v1/login", `{"id":"demo","password":"x"}`), want: []int{400}, glory: 1, look: same},
		{row: "A09", name: "another origin", send: s.member("GET", "/v1/sessions", evil), want: []int{200}, rooms: 1, look: uncacheable},
		{row: "A09", name: "no origin", send: s.member("GET", "/v1/sessions", "Origin: null"), want: []int{200}, rooms: 1, look: uncacheable},
		{row: "A09", name: "preflight of a room", send: message("OPTIONS", "/v1/sessions", evil, "Access-Control-Request-Method: GET"), want: []int{405}, look: uncacheable},
		{row: "A10", name: "a path that looks cacheable", send: s.member("GET", "/v1/sessions/x.css"), want: []int{404}, rooms: 1, look: uncacheable},
		{row: "A10", name: "the same without a token", send: message("GET", "/v1/sessions/x.css"), want: []int{401}, look: uncacheable},
		{row: "A13", name: "a room", send: s.member("GET", "/v1/info"), want: []int{200}, rooms: 1, look: uncacheable},
		{row: "A13", name: "an answer of Glory's", send: s.member("GET", "/api/v1/profile"), want: []int{200}, glory: 1, look: safe},
		{row: "A13", name: "an error", send: message("GET", "/nowhere"), want: []int{404}, look: uncacheable},
	})
	s.retired(t)
}

// The catalogue's rows A03 and O08: a member can't try names without end, and one member's limit doesn't slow the others.
func TestHastyMemberIsLimitedAlone(t *testing.T) {
	t.Parallel()
	s, client := newArena(t, "MEMBER_RATE_LIMIT=100/1h"), newClient(t)
	hasty, calm := s.stands.Glory.MintToken("hasty", time.Hour), s.stands.Glory.MintToken("calm", time.Hour)
	for i := range 150 {
		a := get(t, client, fmt.Sprint(s.url, "/v1/sessions/room-", i), hasty)
		if limited := i >= 110; limited && a.status != 429 || i < 100 && a.status != 404 { // from 100 to 109 a refill may have let it through
			t.Fatalf("name %d has status %d", i, a.status)
		}
		if a.status == 429 && (a.header.Get("Retry-After") == "" || a.header.Get("RateLimit") == "") {
			t.Fatalf("429 with %v", a.header)
		}
		if i%20 == 0 {
			get(t, client, s.url+"/v1/info", calm).want(t, 200)
		}
	}
	client.CloseIdleConnections()
	s.retired(t)
}

// Thousands of likely paths that aren't declared are answered 404, or 400 if they are unclean: the catalogue's row A15. The default
// run tries some of them.
func TestUndeclaredPathsAreNowhere(t *testing.T) {
	s := newArena(t)
	words := strings.Fields(`admin api auth login logout session sessions info rooms room users user v1 v2 v3 graphql health status metrics debug
		pprof actuator env config backup test dev internal private public static assets js css images upload download files data db sql dump
		swagger swagger.json swagger-ui api-docs console manager phpinfo.php wp-admin wp-login.php .git .svn .htaccess .well-known robots.txt
		favicon.ico sitemap.xml cgi-bin server-status server-info trace jwks token oauth oauth2 authorize callback webhook socket ws events
		stream query search export import report reports account accounts profile settings register join password reset invite billing`)
	declared := map[string]bool{"/v1/info": true, "/v1/sessions": true}
	if !tests.Whole() {
		words = words[:10]
	}
	client, tried := newClient(t), 0
	for _, prefix := range []string{"/", "/v1/", "/v1/info/", "/v2/", "/V1/", "/api", "/public-api", "/v1/auth/", "/rooms/", "/v1/sessions/a/", "/internal/"} {
		for _, word := range words {
			for _, end := range []string{"", "/", ".json", "~", "/..;/v1/auth"} {
				target := prefix + word + end
				if declared[target] || strings.HasPrefix(target, "/api/") {
					continue
				}
				a := get(t, client, s.url+target, s.token)
				if tried++; a.status != 404 && (a.status != 400 || end != "/..;/v1/auth") {
					t.Errorf("%s answers %d", target, a.status)
				}
			}
		}
	}
	t.Logf("%d paths", tried)
	client.CloseIdleConnections()
	s.retired(t)
}

// The catalogue's row A09 with allowed origins, and row A13 over TLS.
func TestOnlyAllowedOriginsGetPermission(t *testing.T) {
	t.Parallel()
	s := newTLSArena(t, "CORS_ALLOWED_ORIGINS=https://app.test")
	transport := s.looker.Transport.(*http.Transport)
	transport.TLSClientConfig = insecure()
	ask := func(method, path, origin string) answer {
		r, err := http.NewRequestWithContext(t.Context(), method, "https://"+s.addr()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Origin", origin)
		if r.Header.Set("Authorization", "Bearer "+s.token); method == http.MethodOptions {
			r.Header.Set("Access-Control-Request-Method", "GET")
		}
		response, err := s.looker.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return answer{status: response.StatusCode, header: response.Header}
	}
	for _, path := range []string{"/v1/info", "/api/v1/check_login", "/nowhere"} {
		for origin, want := range map[string]string{"https://app.test": "https://app.test", "https://evil.test": "", "null": "", "https://app.test.evil.test": ""} {
			a := ask(http.MethodGet, path, origin)
			if got := a.header.Get("Access-Control-Allow-Origin"); got != want || a.header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s to %s: %v", origin, path, a.header)
			}
			if a.header.Get("Strict-Transport-Security") == "" {
				t.Errorf("%s: %v", path, a.header)
			}
		}
	}
	if a := ask(http.MethodOptions, "/v1/info", "https://app.test"); a.status != 204 && a.status != 200 || a.header.Get("Access-Control-Allow-Methods") != "GET" {
		t.Errorf("preflight: %+v", a)
	}
	if a := ask(http.MethodOptions, "/v1/auth", "https://app.test"); a.status != 404 {
		t.Errorf("preflight of what isn't there: %+v", a)
	}
	if rooms := s.stands.Interwater.Calls("/v1/auth"); rooms > 0 {
		t.Errorf("v1/auth was asked for %d times", rooms)
	}
	transport.CloseIdleConnections()
	s.retired(t)
}

// Glory judges bodies, not the gateway: the catalogue's row A12.
func TestBodiesArriveAsTheyWereSent(t *testing.T) {
	var mu sync.Mutex
	var got []byte
	glory := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got, _ = io.ReadAll(r.Body)
	}))
	defer glory.Close()
	r, client := startReplica(t, settings(newStands(t), newRedis(t).Addr, "GLORY_URL="+glory.URL, "ACCOUNT_RATE_LIMIT=0")), newClient(t)
	for name, body := range map[string]string{
		"names twice": `{"id":"a","id":"b","password":"x"}`, "more names": `{"id":"a","password":"x","role":"admin"}`, "BOM": "\ufeff{}",
		"UTF-7": "+ADw-", "deep": strings.Repeat("[", 10_000), "spaces": " {\"id\" :\t\"a\"}\n", "no JSON": "\xff\x00", "numbers": `{"id":1e400}`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/public-api/v1/login", "/public-api/v1/join", "/api/v1/profile"} {
				if a, err := call(t.Context(), client, http.MethodPost, r.url+path, "", body); err != nil || a.status != 200 {
					t.Fatalf("%v %+v", err, a)
				}
				mu.Lock()
				if !bytes.Equal(got, []byte(body)) {
					t.Errorf("%s: %q arrives as %q", path, body, got)
				}
				mu.Unlock()
			}
		})
	}
}
