package main

// The API description is true: it has the gateway's routes, and every answer of the gateway, errors among them, is as described.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"roomgate/internal/config"
	"roomgate/internal/proxy"
	"roomgate/internal/sandbox"
)

func TestEveryAnswerIsAsDescribed(t *testing.T) {
	t.Parallel()
	stands, redis := newStands(t), newRedis(t).Addr
	environ := settings(stands, redis, "MAX_BODY_BYTES=4096", "MEMBER_RATE_LIMIT=0", "ACCOUNT_RATE_LIMIT=0", "SESSION_SECRETS="+sessionSecret,
		`INTERWATER_ALLOW=member.sub != "9"`)
	gate := startReplica(t, environ).url
	d := fetchDescription(t, gate)
	token := stands.Glory.MintToken(demoSubject, time.Hour)

	stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/auth", Status: 503, RetryAfter: 1})
	d.ask(t, gate, d.operations("/v1/info")[0], token, 503, nil)
	stands.Interwater.Reset()
	eventually(t, "an access token", func() bool { return get(t, d.client, gate+"/v1/info", token).status == 200 })

	for _, op := range d.operations("/") {
		if !strings.HasPrefix(op.path, "/session") { // a logout would end the token
			d.ask(t, gate, op, token, 200, nil)
		}
		d.ask(t, gate, op, token, 400, func(r *http.Request) { r.URL.RawQuery = "a;b" })
		d.ask(t, gate, op, token, 431, func(r *http.Request) {
			for i := range 101 {
				r.Header.Set(fmt.Sprint("X-", i), "x")
			}
		})
	}
	d.askMembers(t, gate, token, stands)
	d.askRooms(t, gate, token, stands)
	d.askSessions(t, gate, stands)
	d.askLogout(t, gate, stands, environ)
	d.askUpstreamFailures(t, gate, token, stands, environ)
	d.askTooMuch(t, token, stands, environ)
	d.never(t)
}

// demoSubject is the member who has joined already.
const demoSubject = "1"

func (d *description) askMembers(t *testing.T, gate, token string, stands *sandbox.Sandbox) {
	for _, op := range d.operations("/public-api/v1/join", "/public-api/v1/login", "/session/login", "/session/join") {
		wrong := io.NopCloser(strings.NewReader(`{"id":"test-user-1","password":"no","name":"a","nickname":"b","email":"c"}`))
		d.ask(t, gate, op, "", 400, func(r *http.Request) { r.Body, r.ContentLength = wrong, -1 })
		d.ask(t, gate, op, "", 413, func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat(" ", 5000))), 5000
		})
	}
	for _, op := range d.operations("/api/") {
		d.ask(t, gate, op, "", 403, nil)
		stands.Glory.SetFaults(sandbox.Fault{Status: 401})
		d.ask(t, gate, op, token, 401, nil)
		stands.Glory.Reset()
	}
}

func (d *description) askRooms(t *testing.T, gate, token string, stands *sandbox.Sandbox) {
	for _, op := range d.operations("/v1/") {
		d.ask(t, gate, op, "", 401, nil)
		d.ask(t, gate, op, token+"x", 401, nil)
		d.ask(t, gate, op, stands.Glory.MintToken("9", time.Hour), 403, nil)
		if strings.Contains(op.path, "{") {
			d.ask(t, gate, op, token, 404, func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/v1/sessions/nobody", "" })
		}
	}
	for _, path := range []string{"/v1/auth", "/nowhere", "/docs/nothing.js"} {
		d.ask(t, gate, operation{method: http.MethodGet, path: path}, token, 404, nil)
	}
}

// askSessions begins sessions, and sends good and bad cookies.
func (d *description) askSessions(t *testing.T, gate string, stands *sandbox.Sandbox) {
	for _, op := range d.operations("/session/join", "/session/login") { // join first: login needs the member
		d.ask(t, gate, op, "", 200, nil)
		d.ask(t, gate, op, "", 403, func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") })
	}
	cookie := sessionCookie + "=" + beginSession(t, d.client, gate, stands.Demo)
	with := func(cookie string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Cookie", cookie) }
	}
	for _, op := range d.operations("/session") {
		if op.path == "/session" {
			d.ask(t, gate, op, "", 200, nil)
		}
	}
	session := d.Paths.Value("/session").Get
	for _, op := range append(d.operations("/v1/", "/api/"), operation{http.MethodGet, "/session", session}, operation{http.MethodHead, "/session", session}) {
		d.ask(t, gate, op, "", 200, with(cookie))
		d.ask(t, gate, op, "", 401, with(cookie[:len(cookie)-4]))
	}
	logout := d.operations("/session/logout")[0]
	d.ask(t, gate, logout, "", 403, func(r *http.Request) { with(cookie)(r); r.Header.Set("Origin", "https://evil.example") })
	d.ask(t, gate, logout, "", 200, with(cookie))
}

// askLogout logs out, also at a gateway that asks Glory about members, while Glory fails.
func (d *description) askLogout(t *testing.T, gate string, stands *sandbox.Sandbox, environ []string) {
	token := stands.Glory.MintToken("7", time.Hour) // no other test step has counted a logout of this member
	logout := d.operations("/session/logout")[0]
	d.ask(t, gate, logout, "", 401, nil)
	d.ask(t, gate, logout, token, 400, func(r *http.Request) { r.URL.RawQuery = "all=1" })
	remote := startReplica(t, append(slices.Clone(environ), "GLORY_JWT_SECRETS=", "GLORY_TIMEOUT=200ms")).url
	for status, kind := range map[int]sandbox.Kind{502: sandbox.KindReset, 504: sandbox.KindHang} {
		stands.Glory.SetFaults(sandbox.Fault{Kind: kind})
		d.ask(t, remote, logout, token, status, nil)
	}
	stands.Glory.Reset()
	for range 20 {
		d.ask(t, gate, logout, token, 200, nil)
	}
	d.ask(t, gate, logout, token, 429, nil)
	for _, op := range d.operations("/api/", "/v1/") {
		eventually(t, "the token is out", func() bool { return get(t, d.client, gate+"/v1/info", token).status == 401 })
		d.ask(t, gate, op, token, 401, nil)
	}
}

// askUpstreamFailures asks while both upstreams fail. Where they hang, it asks a gateway with short timeouts.
func (d *description) askUpstreamFailures(t *testing.T, gate, token string, stands *sandbox.Sandbox, environ []string) {
	impatient := startReplica(t, append(slices.Clone(environ), "GLORY_TIMEOUT=200ms", "INTERWATER_TIMEOUT=200ms")).url
	for _, failure := range []struct {
		gate   string
		status int
		fault  sandbox.Fault
	}{
		{gate, 500, sandbox.Fault{Status: 500}},
		{gate, 418, sandbox.Fault{Status: 418}}, // by default
		{gate, 502, sandbox.Fault{Kind: sandbox.KindReset}},
		{impatient, 504, sandbox.Fault{Kind: sandbox.KindHang}},
	} {
		stands.Glory.SetFaults(failure.fault)
		stands.Interwater.SetFaults(failure.fault)
		for _, op := range d.operations("/public-api/", "/api/", "/v1/", "/session/login", "/session/join") {
			d.ask(t, failure.gate, op, token, failure.status, nil)
		}
	}
	stands.Glory.Reset()
	stands.Interwater.Reset()
}

// askTooMuch exceeds the limits, at gateways where they are low.
func (d *description) askTooMuch(t *testing.T, token string, stands *sandbox.Sandbox, environ []string) {
	limited := startReplica(t, append(slices.Clone(environ), "LOGIN_RATE_LIMIT=1/1h", "MEMBER_RATE_LIMIT=1/1h")).url
	for _, path := range []string{"/v1/info", "/public-api/v1/login"} { // uses up the limits
		_, _ = call(t.Context(), d.client, http.MethodGet, limited+path, token, "")
		_, _ = call(t.Context(), d.client, http.MethodPost, limited+path, token, "{}")
	}
	for _, op := range d.operations("/v1/", "/public-api/v1/join", "/public-api/v1/login", "/session/login", "/session/join") {
		d.ask(t, limited, op, token, 429, nil)
	}

	full := startReplica(t, append(slices.Clone(environ), "MAX_IN_FLIGHT=1", "GLORY_TIMEOUT=60s")).url
	stands.Glory.SetFaults(sandbox.Fault{Kind: sandbox.KindHang})
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		_, _ = call(ctx, d.client, http.MethodGet, full+"/public-api/v1/health", "", "")
	}()
	eventually(t, "a request in flight", func() bool { return stands.Glory.Calls("/public-api/v1/health") > 0 })
	for _, op := range d.operations("/") {
		d.ask(t, full, op, token, 503, nil)
	}
	leave()
	<-left
	stands.Glory.Reset()
}

// The description and the gateway must have the same routes.
func TestTheDescriptionHasTheGatewaysRoutes(t *testing.T) {
	t.Parallel()
	stands := newStands(t)
	environ := settings(stands, newRedis(t).Addr)
	gate := startReplica(t, environ).url
	d := fetchDescription(t, gate)
	cfg, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	var rooms, members []string
	for _, op := range d.operations("/") {
		destination, err := proxy.Explain(cfg.InterwaterRoutes, true, true, op.method, strings.ReplaceAll(op.path, "{room_name}", "x"))
		if err != nil || destination.Route == "" {
			t.Errorf("%s %s is described, but the gateway doesn't have it: %+v %v", op.method, op.path, destination, err)
		}
		switch {
		case destination.Upstream == "glory" && op.method != http.MethodHead && !strings.HasPrefix(op.path, "/session/"):
			members = append(members, op.path)
		case destination.Upstream == "interwater" && op.method == http.MethodGet:
			rooms = append(rooms, op.method+" "+op.path)
		}
	}
	if want := slices.Sorted(slices.Values(cfg.InterwaterRoutes)); !slices.Equal(rooms, want) {
		t.Errorf("room routes described: %q, want %q", rooms, want)
	}
	var stats struct{ Requests map[string]int }
	if err := json.Unmarshal([]byte(get(t, d.client, stands.GloryURL+"/_sandbox/stats", "").body), &stats); err != nil {
		t.Fatal(err)
	}
	delete(stats.Requests, "other")
	if want := slices.Sorted(maps.Keys(stats.Requests)); !slices.Equal(slices.Sorted(slices.Values(members)), want) {
		t.Errorf("member routes described: %q, want %q", members, want)
	}
	// A room path allows exactly the described methods. Those of other paths are Glory's choice.
	for _, op := range d.operations("/v1/") {
		described := slices.Sorted(maps.Keys(d.Paths.Value(op.path).Operations()))
		if slices.Contains(described, http.MethodGet) {
			described = slices.Insert(described, slices.Index(described, http.MethodGet)+1, http.MethodHead)
		}
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodOptions, http.MethodTrace} {
			a := d.ask(t, gate, operation{method: method, path: op.path}, "", 405, nil)
			if allow := a.header.Get("Allow"); allow != strings.Join(described, ", ") {
				t.Errorf("%s is described with %q, and allows %q", op.path, described, allow)
			}
		}
	}
}

func TestNoDocsWhereTheyAreOff(t *testing.T) {
	client := newClient(t)
	r := startReplica(t, settings(newStands(t), newRedis(t).Addr, "API_DOCS=false"))
	for _, path := range []string{"/", "/docs/", "/openapi.json", "/docs", "/docs/start.js", "/docs/dark.css", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"} {
		if a := get(t, client, r.url+path, "").want(t, 404); a.body != `{"code":"404","message":"Not found"}` {
			t.Errorf("%s: %s", path, a.body)
		}
	}
}
