package main

// Errors, operations pages, dumps and metrics tell nothing that isn't for their readers.

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomgate/internal/sandbox"
	"roomgate/tests"
)

// envelope checks an error of the gateway's own.
func envelope(t *testing.T, _ *arena, got []reply) {
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

func TestErrorsTellNothingAndAreLoggedOnceEach(t *testing.T) {
	t.Parallel()
	s := newArena(t, "MAX_BODY_BYTES=1024")
	var attacks []attack
	attacks = append(attacks,
		attack{row: "X02", name: "401", send: message("GET", "/v1/info"), want: []int{401}, look: envelope},
		attack{row: "X02", name: "404", send: message("GET", "/x"), want: []int{404}, look: envelope},
		attack{row: "X02", name: "405", send: message("PUT", "/v1/info"), want: []int{405}, look: envelope},
		attack{row: "X02", name: "400", send: message("GET", "/v1//info"), want: []int{400}, look: envelope},
		attack{row: "X02", name: "413", send: withBody("POST", "/api/x", strings.Repeat("a", 2000)), want: []int{413}, look: envelope},
		attack{row: "X02", name: "431", send: message("GET", "/x", manyLines(200)...), want: []int{431}, look: envelope},
		attack{row: "X02", name: "502", send: s.member("GET", "/v1/info"), want: []int{502}, rooms: 2, look: envelope, before: func(s *arena) { s.stands.Interwater.SetFaults(sandbox.Fault{Kind: sandbox.KindReset}) }},
	)
	for _, path := range []string{
		"/metrics", "/debug/pprof/", "/debug/vars", "/healthz?x", "/livez", "/readyz", "/status", "/actuator", "/.env", "/.git/config", "/v1/auth",
		"/_sandbox/stats", "/server-status",
	} {
		attacks = append(attacks, attack{row: "X04", name: "nothing at " + path, send: s.member("GET", path), want: []int{404}, look: envelope})
	}
	s.play(t, attacks)
	t.Run("one event each", func(t *testing.T) { // X08
		s.say(t, message("GET", "/last-before-them"))
		var before int // log lines are in order, and may be late
		eventually(t, "the events so far", func() bool {
			events := s.log.events("request")
			before = len(events)
			return before > 0 && events[before-1]["path"] == "/last-before-them"
		})
		for _, r := range attacks {
			s.say(t, r.send)
		}
		eventually(t, "an event for each request", func() bool { return len(s.log.events("request")) >= before+len(attacks) })
		events := s.log.events("request")
		if len(events) != before+len(attacks) {
			t.Errorf("%d requests, %d events", len(attacks), len(events)-before)
		}
		for _, e := range events[before:] {
			if status, _ := e["status"].(float64); status >= 400 && e["error"] == nil || e["request_id"] == "" || e["client"] != "127.0.0.1" || e["time"] == nil {
				t.Errorf("event without its facts: %v", e)
			}
		}
	})
	s.operationsPagesTellNoSecret(t)
	s.retired(t)
}

// operationsPagesTellNoSecret plays row X06, without the dump of SIGQUIT.
func (s *arena) operationsPagesTellNoSecret(t *testing.T) {
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
}

// The dump that SIGQUIT prints is for a developer, and has no secret: the catalogue's row X06. It is taken while requests are in
// flight.
func TestDumpTellsNoSecret(t *testing.T) {
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
	_ = s.ended() // the exit status is 2
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

// Whatever clients send, there is no new series: the catalogue's row X05.
func TestSeriesStayTheSameWhateverClientsMakeUp(t *testing.T) {
	s, client, n := newArena(t), newClient(t), 1000
	if tests.Whole() {
		n = 10_000
	}
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
	series := func() []string {
		once(0) // after it, the request before has been counted
		all := s.metrics(t)
		maps.DeleteFunc(all, func(name string, _ float64) bool { return strings.HasPrefix(name, "roomgate_reloads_total") }) // reloads come with time
		return slices.Sorted(maps.Keys(all))
	}
	before := series()
	for i := range n {
		once(i)
	}
	after := series()
	t.Logf("%d series", len(after))
	if !slices.Equal(before, after) || len(after) > 500 {
		t.Errorf("%d series before, %d after %d requests: %q", len(before), len(after), n,
			slices.DeleteFunc(after, func(s string) bool { return slices.Contains(before, s) }))
	}
	client.CloseIdleConnections()
	s.retired(t)
}
