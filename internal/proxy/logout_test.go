package proxy

// How a logout is answered, and its rate limit. Package bridge tests which tokens it takes out of use.

import (
	"fmt"
	"testing"

	"roomgate/internal/bridge"
)

func TestLogoutIsAnsweredTheSameEachTime(t *testing.T) {
	g := start(t)
	for i, query := range []string{"", "", "?all=false", "?all=true"} {
		a := g.do(t, "POST", "/session/logout"+query, asMember)
		if a.status != 200 || a.body != `{"data":{"result":"ok"}}` || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Content-Type") != "application/json; charset=utf-8" {
			t.Errorf("%q: %d %s %v", query, a.status, a.body, a.header)
		}
		if got, want := g.asked("logout"), fmt.Sprint("logout 7 ", query == "?all=true"); len(got) != i+1 || got[i] != want {
			t.Errorf("%q: %q, want %s", query, got, want)
		}
		if e := g.event(t); e["sub"] != "7" || e["route"] != "POST /session/logout" {
			t.Errorf("%v", e)
		}
	}
	events := g.audited(t)
	if last := events[len(events)-1]; len(events) != 4 || last["event"] != "logout" || last["reason"] != "member" || last["sub"] != "7" {
		t.Errorf("audited: %v", events)
	}
	if len(g.Glory.Requests()) > 0 {
		t.Error("Glory was called")
	}
}

func TestRefusedLogouts(t *testing.T) {
	for name, tt := range map[string]struct {
		arrange        func(*gateway)
		method, target string
		lines          []string
		status         int
		audited        string // the reason; "": not audited
	}{
		"no token":         {nil, "POST", "/session/logout", nil, 401, ""},
		"forged":           {nil, "POST", "/session/logout", []string{"Authorization: Bearer forged"}, 401, "bad_token"},
		"another method":   {nil, "GET", "/session/logout", []string{asMember}, 405, ""},
		"parameter":        {nil, "POST", "/session/logout?all=1", []string{asMember}, 400, ""},
		"parameter twice":  {nil, "POST", "/session/logout?all=true&all=true", []string{asMember}, 400, ""},
		"Redis is out":     {func(g *gateway) { g.logout = always(bridge.ErrLogout) }, "POST", "/session/logout", []string{asMember}, 503, ""},
		"no sessions":      {nil, "GET", "/session", []string{asMember}, 404, ""},
		"no login":         {nil, "POST", "/session/login", []string{asMember}, 404, ""},
		"logged out: api":  {nil, "GET", "/api/v1/profile", []string{"Authorization: Bearer out"}, 401, "logged_out"},
		"logged out: room": {func(g *gateway) { g.authenticate = always(bridge.ErrLoggedOut) }, "GET", "/v1/info", []string{asMember}, 401, "logged_out"},
	} {
		g := start(t)
		if tt.arrange != nil {
			tt.arrange(g)
		}
		a := g.do(t, tt.method, tt.target, tt.lines...)
		if a.status != tt.status || a.status != 503 && len(g.asked("logout")) > 0 {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
		if challenge := a.header.Get("WWW-Authenticate"); tt.audited != "" && challenge != `Bearer error="invalid_token"` {
			t.Errorf("%s: WWW-Authenticate: %s", name, challenge)
		}
		g.event(t)
		events := g.audited(t)
		if tt.audited == "" && len(events) > 0 || tt.audited != "" && (len(events) != 1 || events[0]["reason"] != tt.audited || events[0]["event"] != "verification_failure") {
			t.Errorf("%s: audited %v", name, events)
		}
	}
}

// Logouts are limited because each may add to the deny list, which every replica keeps.
func TestAMembersLogoutsAreLimited(t *testing.T) {
	g := start(t)
	for i := range logoutLimit().Burst + 1 {
		a := g.do(t, "POST", "/session/logout", asMember)
		if want := map[bool]int{true: 200, false: 429}[i < logoutLimit().Burst]; a.status != want {
			t.Errorf("logout %d: %d, want %d", i, a.status, want)
		}
	}
	if got := len(g.asked("logout")); got != logoutLimit().Burst {
		t.Errorf("%d logouts", got)
	}
}
