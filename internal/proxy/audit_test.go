package proxy

// Audit events: which requests have one, what it contains, and what it never contains.

import (
	"context"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"roomgate/internal/bridge"
	"roomgate/internal/fleet"
	"roomgate/internal/sandbox"
)

// audited returns the audit events so far. A request's audit events come before its access event.
func (g *gateway) audited(t *testing.T) []map[string]any {
	t.Helper()
	var events []map[string]any
	for line := range strings.Lines(g.logs.String()) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if record["msg"] == "audit" {
			events = append(events, record)
		}
	}
	return events
}

func TestAuditEventsTellWhoTriedWhat(t *testing.T) {
	owner := func(g *gateway) { g.role = bridge.RoleOwner }
	refused := func(err error) func(*gateway) { return func(g *gateway) { g.authorize = always(err) } }
	login := []string{"Content-Type: application/json", "Content-Length: 0"}
	for _, tt := range []struct {
		event, reason  string
		arrange        func(*gateway)
		method, target string
		lines          []string
		sub, license   string
	}{
		{"verification_failure", "bad_token", nil, "GET", "/v1/info?QUERY", []string{"Authorization: Bearer SECRET"}, "", ""},
		{"license_refusal", "forbidden", refused(bridge.ErrForbidden), "GET", "/v1/info?QUERY", []string{asMember}, "7", ""},
		{"license_refusal", "denied", refused(bridge.ErrDenied), "GET", "/v1/info?QUERY", []string{asMember}, "7", ""},
		{"owner_use", "", owner, "GET", "/v1/sessions/a?QUERY", []string{asMember}, "7", "default"},
		{"limit_hit", "member_limit", nil, "GET", "/v1/info?QUERY", []string{asMember}, "7", ""},
		{"limit_hit", "login_limit", nil, "POST", "/public-api/v1/join?QUERY", login, "", ""},
		{"limit_hit", "account_limit", nil, "POST", "/public-api/v1/login?QUERY", login, "", ""},
		{"attack", "malformed", nil, "GET", "//v1/auth?QUERY", []string{asMember}, "", ""},
		{"attack", "malformed", nil, "GET", "/v1/auth%2f?QUERY", []string{asMember}, "", ""},
		{"attack", "header", nil, "GET", "/v1/info?QUERY", slices.Repeat([]string{"X: SECRET"}, 101), "", ""},
		{"attack", "credential_header", nil, "GET", "/v1/info?QUERY", []string{asMember, "S_CONNECTOR.JWT: SECRET"}, "7", "default"},
		{"attack", "credential_header", nil, "GET", "/public-api/v1/health?QUERY", []string{"s-connector-jwt: SECRET"}, "", ""},
	} {
		g := start(t, func(o *setup) {
			one := fleet.Limit{Burst: 1, Per: time.Hour}
			switch tt.reason {
			case "member_limit":
				o.MemberLimit = one
			case "login_limit":
				o.LoginLimit = one
			case "account_limit":
				o.AccountLimit = one
			}
		})
		if tt.event == "limit_hit" { // the first request passes
			g.do(t, tt.method, tt.target, tt.lines...)
			g.event(t)
		}
		if tt.arrange != nil {
			tt.arrange(g)
		}
		g.do(t, tt.method, tt.target, append(tt.lines, "X-Request-Id: the-id")...)
		access := g.event(t)
		events := g.audited(t)
		if len(events) != 1 {
			t.Errorf("%s, %s: %d events %v", tt.event, tt.reason, len(events), events)
			continue
		}
		path, _, _ := strings.Cut(tt.target, "?")
		got := events[0]
		for key, want := range map[string]any{
			"event": tt.event, "reason": tt.reason, "sub": tt.sub, "license": tt.license, "method": tt.method, "path": path,
			"client": "127.0.0.1", "request_id": access["request_id"], "trace_id": access["trace_id"], "level": "INFO",
		} {
			if got[key] != want {
				t.Errorf("%s, %s: %s is %v, want %v", tt.event, tt.reason, key, got[key], want)
			}
		}
		if len(got) != 13 { // the fields above, and time, msg and schema_version
			t.Errorf("%s: fields %q", tt.event, slices.Sorted(maps.Keys(got)))
		}
		for _, never := range []string{"QUERY", "SECRET", "Bearer", g.token()} {
			if never != "" && strings.Contains(g.logs.String(), never) {
				t.Errorf("%s, %s: %q is logged", tt.event, tt.reason, never)
			}
		}
	}
}

// token returns the access token in use.
func (g *fakeBridge) token() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.current
}

func TestOrdinaryRequestsAreNotAudited(t *testing.T) {
	g := start(t)
	n := 0
	for _, target := range []string{"/v1/info", "/nowhere", "/public-api/v1/health"} {
		for _, lines := range [][]string{{asMember}, {"Accept: */*"}} {
			g.do(t, "GET", target, lines...)
			g.event(t)
			n++
		}
	}
	g.credential = always(context.DeadlineExceeded)
	g.get(t, "/v1/info")
	g.event(t)
	if events := g.audited(t); len(events) > 0 {
		t.Errorf("%d requests left %v", n, events)
	}
}

func TestServerTimingIsOnRoomAnswersWhereItIsAskedFor(t *testing.T) {
	g := start(t, func(o *setup) { o.ServerTiming = true })
	const ms = `\d+(\.\d+)?`
	for _, tt := range []struct {
		rule, target string
		lines        []string
		want         string // "": no header
	}{
		{"first", "/v1/info", []string{asMember}, "authenticate;dur=" + ms + ", token;dur=" + ms + ";desc=fetched, upstream;dur=" + ms},
		{"from memory", "/v1/sessions", []string{asMember}, "authenticate;dur=" + ms + ", token;dur=" + ms + ";desc=memory, upstream;dur=" + ms},
		{"refused", "/v1/info", nil, "authenticate;dur=" + ms},
		{"Glory", "/public-api/v1/health", nil, ""},
		{"Glory's refusal", "/api/v1/profile", nil, ""},
		{"no route", "/nowhere", nil, ""},
	} {
		got := g.do(t, "GET", tt.target, tt.lines...).header["Server-Timing"]
		if tt.want == "" && got != nil || tt.want != "" && (len(got) != 1 || !regexp.MustCompile("^"+tt.want+"$").MatchString(got[0])) {
			t.Errorf("%s: %q, want %q", tt.rule, got, tt.want)
		}
	}
	g.Interwater.SetFaults(sandbox.Fault{Header: map[string]string{"Server-Timing": "db;dur=1"}})
	if got := g.get(t, "/v1/info").header["Server-Timing"]; len(got) != 1 || strings.Contains(got[0], "db") {
		t.Errorf("Interwater's own is passed on: %q", got)
	}
	off := start(t)
	if got := off.get(t, "/v1/info").header["Server-Timing"]; got != nil {
		t.Errorf("off: %q", got)
	}
}
