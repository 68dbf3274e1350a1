package main

// The catalogue's rows X, what leaks and what is counted, and A, abuse of what is allowed.

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"roomgate/internal/sandbox"
)

// circuitsClosed reads /status.
func circuitsClosed(status string) bool {
	return strings.Count(status, `"circuit": "closed"`) == 2
}

func TestCatalogueX(t *testing.T) {
	s := newArena(t, "MAX_BODY_BYTES=1024", "INTERWATER_TIMEOUT=300ms")
	var rows []row
	envelope := func(t *testing.T, _ *arena, got []reply) {
		var body map[string]string
		if err := json.Unmarshal([]byte(got[0].body), &body); err != nil || len(body) != 2 || body["code"] != fmt.Sprint(got[0].status) || body["message"] == "" {
			t.Errorf("%d: %s", got[0].status, got[0].body)
		}
		for _, name := range []string{"Server", "X-Powered-By", "Location", "Set-Cookie"} {
			if got[0].header.Get(name) != "" {
				t.Errorf("%s: %q", name, got[0].header[name])
			}
		}
	}
	fault := func(f sandbox.Fault) func(*arena) {
		return func(s *arena) { s.stands.Interwater.SetFaults(f) }
	}
	rows = append(rows,
		row{name: "X02 401", send: message("GET", "/v1/info"), want: []int{401}, look: envelope},
		row{name: "X02 404", send: message("GET", "/x"), want: []int{404}, look: envelope},
		row{name: "X02 405", send: message("PUT", "/v1/info"), want: []int{405}, look: envelope},
		row{name: "X02 400", send: message("GET", "/v1//info"), want: []int{400}, look: envelope},
		row{name: "X02 413", send: withBody("POST", "/api/x", strings.Repeat("a", 2000)), want: []int{413}, look: envelope},
		row{name: "X02 431", send: message("GET", "/x", manyLines(200)...), want: []int{431}, look: envelope},
		row{name: "X02 502", send: s.member("GET", "/v1/info"), want: []int{502}, rooms: 2, look: envelope, before: fault(sandbox.Fault{Kind: sandbox.KindReset})},
		row{name: "X02 504", send: s.member("GET", "/v1/info"), want: []int{504}, rooms: 1, look: envelope, before: fault(sandbox.Fault{Kind: sandbox.KindHang})},
	)
	for _, path := range []string{
		"/metrics", "/debug/pprof/", "/debug/vars", "/healthz?x", "/livez", "/readyz", "/status", "/actuator", "/.env", "/.git/config", "/v1/auth",
		"/_sandbox/stats", "/server-status", "/",
	} {
		rows = append(rows, row{name: "X04 " + path, send: s.member("GET", path), want: []int{404}, look: envelope})
	}
	s.play(t, rows)
	t.Run("X05 series", s.seriesStayTheSame)
	t.Run("X06 dumps", func(t *testing.T) {
		secrets := s.secrets()
		secrets["member token"] = s.token
		for _, path := range []string{"/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/cmdline", "/status", "/metrics"} {
			text := get(t, s.looker, s.admin+path, "").body
			for what, secret := range secrets {
				if strings.Contains(text, secret) {
					t.Errorf("the %s is in %s", what, path)
				}
			}
		}
	})
	t.Run("X08 one event each", func(t *testing.T) {
		before := len(s.log.events("request"))
		for _, r := range rows {
			s.say(t, r.send)
		}
		eventually(t, "an event for each request", func() bool { return len(s.log.events("request")) >= before+len(rows) })
		events := s.log.events("request")
		if len(events) != before+len(rows) {
			t.Errorf("%d requests, %d events", len(rows), len(events)-before)
		}
		for _, e := range events[before:] {
			if status, _ := e["status"].(float64); status >= 400 && e["error"] == nil || e["request_id"] == "" || e["client"] != "127.0.0.1" || e["time"] == nil {
				t.Errorf("event without its facts: %v", e)
			}
		}
	})
	s.retired(t)
}

// X06: what SIGQUIT prints is for a developer, who need not know secrets. It is printed in the middle of requests.
func TestCatalogueX06Dump(t *testing.T) {
	s, client := newArena(t, "GOTRACEBACK=all"), newClient(t)
	get(t, client, s.url+"/v1/sessions", s.token).want(t, 200)
	secrets := s.secrets()
	secrets["member token"], secrets["password"] = s.token, s.stands.Demo.Password
	s.stands.Interwater.SetFaults(sandbox.Fault{Kind: sandbox.KindHang})
	s.stands.Glory.SetFaults(sandbox.Fault{Kind: sandbox.KindHang})
	rooms := s.stands.Interwater.RoomCalls()
	go call(t.Context(), client, http.MethodGet, s.url+"/v1/sessions", s.token, "")
	go call(t.Context(), client, http.MethodPost, s.url+"/public-api/v1/login", "", s.loginBody())
	eventually(t, "both are under way", func() bool { return s.stands.Interwater.RoomCalls() > rooms && len(s.stands.Glory.Requests()) > 0 })
	if err := s.process.Signal(syscall.SIGQUIT); err != nil {
		t.Fatal(err)
	}
	_ = s.ended() // an exit status of 2
	dump := s.log.String()
	if strings.Count(dump, "\ngoroutine ") < 5 {
		t.Fatalf("no dump: %.2000s", dump)
	}
	for what, secret := range secrets {
		for form, text := range map[string]string{
			"": secret, "in base64": base64.StdEncoding.EncodeToString([]byte(secret)), "in hex": hex.EncodeToString([]byte(secret)),
		} {
			if strings.Contains(dump, text) {
				t.Errorf("the %s is in the dump %s", what, form)
			}
		}
	}
}

// seriesStayTheSame is X05: whatever clients make up, no new series.
func (s *arena) seriesStayTheSame(t *testing.T) {
	client := newClient(t)
	random := rand.New(rand.NewPCG(1, 2))
	word := func() string { return fmt.Sprintf("r%x", random.Uint64()) }
	once := func(i int) {
		method, target, token := "GET", "/v1/sessions/"+word(), s.stands.Glory.MintToken(word(), time.Hour)
		switch i % 5 {
		case 1:
			target = "/" + word()
		case 2:
			method = strings.ToUpper(word())
		case 3:
			target = "/api/" + word() + "?" + word()
		case 4:
			token = word()
		}
		if _, err := call(t.Context(), client, method, s.url+target, token, ""); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 50 {
		once(i)
	}
	before := slices.Sorted(maps.Keys(s.metrics(t)))
	for i := range 10_000 {
		once(i)
	}
	after := slices.Sorted(maps.Keys(s.metrics(t)))
	t.Logf("X05: %d series", len(after))
	if !slices.Equal(before, after) || len(after) > 500 {
		t.Errorf("%d series before, %d after 10,000 requests", len(before), len(after))
	}
	client.CloseIdleConnections()
}

func TestCatalogueA(t *testing.T) {
	s := newArena(t, "MEMBER_RATE_LIMIT=100/1s")
	safe := func(t *testing.T, _ *arena, got []reply) {
		h := got[0].header
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Content-Type") != "application/json; charset=utf-8" || h.Get("Server") != "" || h.Get("X-Powered-By") != "" {
			t.Errorf("A13: %v", h)
		}
		if h.Get("Access-Control-Allow-Origin")+h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("A09: %v", h)
		}
	}
	uncacheable := func(t *testing.T, s *arena, got []reply) {
		safe(t, s, got)
		if !strings.Contains(got[0].header.Get("Cache-Control"), "no-store") {
			t.Errorf("A10: Cache-Control %q", got[0].header["Cache-Control"])
		}
	}
	evil := "Origin: http://" + s.evil
	unknownUser, wrongPassword := `{"id":"nobody","password":"x"}`, `{"id":"demo","password":"x"}`
	var refusals []string
	same := func(t *testing.T, _ *arena, got []reply) {
		got[0].header.Del("X-Request-Id")
		got[0].header.Del("Date")
		if refusals = append(refusals, fmt.Sprint(got[0])); refusals[0] != refusals[len(refusals)-1] {
			t.Errorf("A07: an unknown member and a wrong password differ: %q", refusals)
		}
	}
	s.play(t, []row{
		{name: "A07 unknown member", send: withBody("POST", "/public-api/v1/login", unknownUser), want: []int{400}, glory: 1, look: same},
		{name: "A07 wrong password", send: withBody("POST", "/public-api/v1/login", wrongPassword), want: []int{400}, glory: 1, look: same},
		{name: "A09 another origin", send: s.member("GET", "/v1/sessions", evil), want: []int{200}, rooms: 1, look: uncacheable},
		{name: "A09 no origin", send: s.member("GET", "/v1/sessions", "Origin: null"), want: []int{200}, rooms: 1, look: uncacheable},
		{name: "A09 preflight of a room", send: message("OPTIONS", "/v1/sessions", evil, "Access-Control-Request-Method: GET"), want: []int{405}, look: uncacheable},
		{name: "A10 a path that looks cacheable", send: s.member("GET", "/v1/sessions/x.css"), want: []int{404}, rooms: 1, look: uncacheable},
		{name: "A10 the same without a token", send: message("GET", "/v1/sessions/x.css"), want: []int{401}, look: uncacheable},
		{name: "A13 a room", send: s.member("GET", "/v1/info"), want: []int{200}, rooms: 1, look: uncacheable},
		{name: "A13 Glory", send: s.member("GET", "/api/v1/profile"), want: []int{200}, glory: 1, look: safe},
		{name: "A13 an error", send: message("GET", "/nowhere"), want: []int{404}, look: uncacheable},
	})
	t.Run("A03 enumeration", func(t *testing.T) {
		client := newClient(t)
		tried := 0
		for ; tried < 2000; tried++ {
			if get(t, client, s.url+"/v1/sessions/room-"+fmt.Sprint(tried), s.token).status == 429 {
				break
			}
		}
		t.Logf("A03: limited after %d names", tried)
		if tried == 2000 {
			t.Error("A03: 2,000 names without a limit")
		}
		client.CloseIdleConnections()
	})
	t.Run("A15 inventory", s.nothingElseAnswers)
	s.retired(t)
}

// nothingElseAnswers is A15: of thousands of likely paths only the declared ones are anything but 404 or, unclean, 400.
func (s *arena) nothingElseAnswers(t *testing.T) {
	words := strings.Fields(`admin api auth login logout session sessions info rooms room users user v1 v2 v3 graphql health status metrics debug
		pprof actuator env config backup test dev internal private public static assets js css images upload download files data db sql dump
		swagger swagger.json swagger-ui api-docs console manager phpinfo.php wp-admin wp-login.php .git .svn .htaccess .well-known robots.txt
		favicon.ico sitemap.xml cgi-bin server-status server-info trace jwks token oauth oauth2 authorize callback webhook socket ws events
		stream query search export import report reports account accounts profile settings register join password reset invite billing`)
	declared := map[string]bool{"/v1/info": true, "/v1/sessions": true}
	client, tried := newClient(t), 0
	limited := s.stands.Glory.MintToken("inventory", time.Hour)
	for _, prefix := range []string{"/", "/v1/", "/v1/info/", "/v2/", "/V1/", "/api", "/public-api", "/v1/auth/", "/rooms/", "/v1/sessions/a/", "/internal/"} {
		for _, word := range words {
			for _, end := range []string{"", "/", ".json", "~", "/..;/v1/auth"} {
				target := prefix + word + end
				if declared[target] || strings.HasPrefix(target, "/api/") {
					continue
				}
				a := get(t, client, s.url+target, limited)
				if tried++; a.status != 404 && (a.status != 400 || end != "/..;/v1/auth") {
					t.Errorf("A15: %s answers %d", target, a.status)
				}
			}
		}
	}
	t.Logf("A15: %d paths", tried)
	client.CloseIdleConnections()
}

// A04 and A05: passwords tried from everywhere, at every replica.
func TestCatalogueALogins(t *testing.T) {
	stands, redisServer, client := newStands(t), newRedis(t), newClient(t)
	f := startFleet(t, 3, settings(stands, redisServer.Addr, "TRUSTED_PROXIES=127.0.0.0/8", "ACCOUNT_RATE_LIMIT=10/15m", "LOGIN_RATE_LIMIT=50/1m"))
	try := func(i int, from, id string) int {
		body := strings.NewReader(`{"id":"` + id + `","password":"wrong"}`)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, f.replicas[i%3].url+"/public-api/v1/login", body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-Forwarded-For", from)
		response, err := client.Do(r)
		if err != nil {
			t.Error(err)
			return 0
		}
		defer response.Body.Close()
		_, _ = io.Copy(io.Discard, response.Body)
		if response.StatusCode == 429 && response.Header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
		return response.StatusCode
	}
	crowd := func(n int, one func(i int) int) (limited int64) {
		var count atomic.Int64
		var wg sync.WaitGroup
		for worker := range 10 {
			wg.Go(func() {
				for i := worker; i < n; i += 10 {
					if one(i) == 429 {
						count.Add(1)
					}
				}
			})
		}
		wg.Wait()
		return count.Load()
	}
	limited := crowd(300, func(i int) int { return try(i, fmt.Sprintf("203.0.113.%d", i%30), "demo") })
	if reached := stands.Glory.Calls("/public-api/v1/login"); reached > 10 || limited != int64(300-reached) {
		t.Errorf("A04: of 300 tries at one account %d reached Glory, %d were limited", reached, limited)
	}
	stands.Glory.Reset()
	limited = crowd(1000, func(i int) int { return try(i, "198.51.100.7", fmt.Sprint("account", i)) })
	if reached := stands.Glory.Calls("/public-api/v1/login"); reached > 52 || limited != int64(1000-reached) {
		t.Errorf("A05: of 1,000 accounts tried from one address %d reached Glory, %d were limited", reached, limited)
	}
}

// A09 with origins that are allowed, and A13 where it is served over TLS.
func TestCatalogueAOverTLS(t *testing.T) {
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
				t.Errorf("A09: %s to %s: %v", origin, path, a.header)
			}
			if a.header.Get("Strict-Transport-Security") == "" {
				t.Errorf("A13: %s: %v", path, a.header)
			}
		}
	}
	if a := ask(http.MethodOptions, "/v1/info", "https://app.test"); a.status != 204 && a.status != 200 || a.header.Get("Access-Control-Allow-Methods") != "GET" {
		t.Errorf("A09: preflight: %+v", a)
	}
	if a := ask(http.MethodOptions, "/v1/auth", "https://app.test"); a.status != 404 {
		t.Errorf("A09: preflight of what isn't there: %+v", a)
	}
	if rooms := s.stands.Interwater.Calls("/v1/auth"); rooms > 0 {
		t.Errorf("v1/auth was asked for %d times", rooms)
	}
	transport.CloseIdleConnections()
	s.retired(t)
}

// A12: bodies are Glory's to judge; they arrive as they were sent.
func TestCatalogueABodies(t *testing.T) {
	var mu sync.Mutex
	var got []byte
	glory := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got, _ = io.ReadAll(r.Body)
	}))
	defer glory.Close()
	s := newArena(t)
	s2 := startReplica(t, settings(s.stands, newRedis(t).Addr, "GLORY_URL="+glory.URL, "ACCOUNT_RATE_LIMIT=0"))
	for name, body := range map[string]string{
		"A12 names twice": `{"id":"a","id":"b","password":"x"}`, "A12 more names": `{"id":"a","password":"x","role":"admin"}`, "A12 BOM": "\ufeff{}",
		"A12 UTF-7": "+ADw-", "A12 deep": strings.Repeat("[", 10_000), "A12 spaces": " {\"id\" :\t\"a\"}\n", "A12 no JSON": "\xff\x00", "A12 numbers": `{"id":1e400}`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, path := range []string{"/public-api/v1/login", "/public-api/v1/join", "/api/v1/profile"} {
				if a, err := call(t.Context(), newClient(t), http.MethodPost, s2.url+path, "", body); err != nil || a.status != 200 {
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
