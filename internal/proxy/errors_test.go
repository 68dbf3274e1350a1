package proxy

// The gateway's own errors: Glory's envelope, byte for byte, with the right headers. They reveal nothing about the inside.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"roomgate/internal/bridge"
	"roomgate/internal/sandbox"
	"roomgate/internal/upstream"
)

const inside = "SECRET dial tcp 10.0.0.1:443"

func TestEveryErrorOverTheWire(t *testing.T) {
	unauthorized := "Full authentication is required to access this resource"
	for _, tt := range []struct {
		rule    string
		arrange func(*gateway)
		target  string
		lines   []string
		status  int
		message string
		also    string // a header line
	}{
		{"unclean path", nil, "//v1/info", nil, 400, "Malformed request path or query", ""},
		{"query", nil, "/v1/info?;", nil, 400, "Malformed request path or query", ""},
		{"no member token", nil, "/v1/info", []string{"Accept: */*"}, 401, unauthorized, "Www-Authenticate: Bearer"},
		{"bad member token", nil, "/v1/info", []string{"Authorization: Bearer x"}, 401, unauthorized, `Www-Authenticate: Bearer error="invalid_token"`},
		{"expired", func(g *gateway) { g.authenticate = always(bridge.ErrExpired) }, "/v1/info", nil, 401, unauthorized, `Www-Authenticate: Bearer error="invalid_token", error_description="expired"`},
		{"two member tokens", nil, "/v1/info", []string{asMember, asMember}, 401, unauthorized, `Www-Authenticate: Bearer error="invalid_token"`},
		{"no license", func(g *gateway) { g.authorize = always(bridge.ErrForbidden) }, "/v1/info", nil, 403, "Not admitted", ""},
		{"unknown path", nil, "/v1/auth", nil, 404, "Not found", ""},
		{"header", nil, "/v1/info", slices.Repeat([]string{"X: y"}, 101), 431, "Request header too large", ""},
		{"panic", func(g *gateway) { g.authorize = func() error { panic(inside) } }, "/v1/info", nil, 500, "Internal error", ""},
		{"license refused", func(g *gateway) {
			g.credential = always(&bridge.NoCredential{Refused: true, RetryAfter: 30 * time.Second, Err: errors.New(inside)})
		}, "/v1/info", nil, 502, "Room service refused the gateway", "Retry-After: 30"},
		{"no access token", func(g *gateway) {
			g.credential = always(&bridge.NoCredential{RetryAfter: 2100 * time.Millisecond, Err: errors.New(inside)})
		}, "/v1/info", nil, 503, "Room service is not available right now", "Retry-After: 3"},
		{"Glory failed", func(g *gateway) { g.authenticate = always(fmt.Errorf("x: %w: %s", upstream.ErrFailed, inside)) }, "/v1/info", nil, 502, "Upstream failed", ""},
		{"Glory is late", func(g *gateway) { g.authenticate = always(fmt.Errorf("x: %w: %s", upstream.ErrTimeout, inside)) }, "/v1/info", nil, 504, "Upstream did not answer in time", ""},
		{"an error that nobody foresaw", func(g *gateway) { g.authorize = always(errors.New(inside)) }, "/v1/info", nil, 502, "Upstream failed", ""},
		{"Interwater broke off", func(g *gateway) { g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Kind: sandbox.KindReset}) }, "/v1/info", nil, 502, "Upstream failed", ""},
	} {
		g := start(t)
		if tt.arrange != nil {
			tt.arrange(g)
		}
		lines := tt.lines
		if tt.status != 401 {
			lines = append([]string{asMember}, lines...)
		}
		get := g.do(t, "GET", tt.target, lines...)
		events := []map[string]any{g.event(t)} // for a refused head, the event comes after the answer
		head := g.do(t, "HEAD", tt.target, lines...)
		events = append(events, g.event(t))
		get.wantError(t, tt.status)
		if want := fmt.Sprintf(`{"code":"%d","message":"%s"}`, tt.status, tt.message); get.body != want {
			t.Errorf("%s: %s, want %s", tt.rule, get.body, want)
		}
		if head.status != tt.status || head.body != "" || !strings.HasSuffix(head.raw, "\r\n\r\n") {
			t.Errorf("%s: HEAD gives %q", tt.rule, head.raw)
		}
		want := map[string][]string{"Cache-Control": {"no-store"}, "Content-Length": {itoa(len(get.body))}, "Retry-After": nil, "Www-Authenticate": nil, "Allow": nil}
		if name, value, there := strings.Cut(tt.also, ": "); there {
			want[name] = []string{value}
		}
		for name, values := range want {
			if !slices.Equal(get.header[name], values) || !slices.Equal(head.header[name], values) {
				t.Errorf("%s: %s is %q for GET and %q for HEAD, want %q", tt.rule, name, get.header[name], head.header[name], values)
			}
		}
		if strings.Contains(get.raw+head.raw, "SECRET") || strings.Contains(get.raw+head.raw, "10.0.0.1") {
			t.Errorf("%s: the answer reveals something about the inside: %q", tt.rule, get.raw)
		}
		for i, method := range []string{"GET", "HEAD"} {
			e := events[i]
			if e["status"] != float64(tt.status) || e["error"] == nil || e["method"] != method {
				t.Errorf("%s: event %v", tt.rule, e)
			}
			if sent := len(get.body); method == "HEAD" && e["bytes"] != 0.0 || method == "GET" && e["bytes"] != float64(sent) {
				t.Errorf("%s %s: the event has %v bytes", tt.rule, method, e["bytes"])
			}
		}
	}
}

func always(err error) func() error { return func() error { return err } }

func TestErrorClearsWhatAStepBeforeHasLeft(t *testing.T) {
	g := start(t)
	log := g.log()
	server := scripted(t, serving(t, log, func(w *writer, _ *http.Request) {
		for _, name := range []string{"Set-Cookie", "Content-Encoding", "Etag", "Location", "Trailer", "S-Connector-Jwt"} {
			w.Header().Set(name, "left")
		}
		w.fail(errNotFound)
	}).ServeHTTP)
	g.addr = server.Host
	answer := g.do(t, "GET", "/api/x")
	answer.wantError(t, http.StatusNotFound)
	if strings.Contains(answer.raw, "left") {
		t.Errorf("%q", answer.raw)
	}
}

func TestNobodyIsAnsweredWhoHasLeft(t *testing.T) {
	g := start(t)
	for _, arrange := range []func(error){
		func(err error) { g.authenticate = always(err) },
		func(err error) { g.authenticate, g.authorize = nil, always(err) },
		func(err error) { g.authorize, g.credential = nil, always(err) },
	} {
		arrange(fmt.Errorf("waiting: %w", context.Canceled))
		if answer := g.get(t, "/v1/info"); answer.status != 0 {
			t.Errorf("%q", answer.raw)
		}
		if e := g.event(t); e["status"] != 499.0 || e["bytes"] != 0.0 {
			t.Errorf("event %v", e)
		}
	}
}

func TestExplainTakesTheFirstLineThatFits(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("a: %w", fmt.Errorf("%w: b", err)) }
	for _, tt := range []struct {
		err    error
		status int
	}{
		{wrap(errTarget), 400}, {wrap(errBody), 400}, {wrap(errRoomBody), 400},
		{fmt.Errorf("%w: %w", errBody, io.ErrUnexpectedEOF), 400}, {fmt.Errorf("%w: %w", errBody, context.Canceled), 400},
		{wrap(bridge.ErrNoMemberToken), 401}, {wrap(bridge.ErrMemberToken), 401}, {wrap(bridge.ErrForbidden), 403}, {wrap(errNotFound), 404},
		{wrap(&methodError{"GET"}), 405}, {wrap(errBodySize), 413}, {wrap(errHeaderSize), 431}, {wrap(errPanic), 500},
		{wrap(upstream.ErrFailed), 502}, {wrap(errRedirect), 502}, {wrap(errRejectedTwo), 502}, {wrap(io.EOF), 502},
		{wrap(&bridge.NoCredential{Refused: true, Err: context.DeadlineExceeded}), 502},
		{wrap(&bridge.NoCredential{Err: context.DeadlineExceeded}), 503}, {wrap(&bridge.NoCredential{Err: context.Canceled}), 503},
		{wrap(errOverloaded), 503}, {wrap(upstream.ErrTimeout), 504}, {wrap(context.DeadlineExceeded), 504}, {wrap(context.Canceled), 499},
	} {
		if got := explain(tt.err); got.status != tt.status || len(got.body) == 0 {
			t.Errorf("%v: %+v, want %d", tt.err, got, tt.status)
		}
	}
}

func TestAllCausesOfA401HaveOneBody(t *testing.T) {
	g := start(t)
	var bodies []string
	for _, lines := range [][]string{{"Accept: */*"}, {"Authorization: Bearer x"}, {"Authorization: Basic x"}, {asMember, asMember}} {
		bodies = append(bodies, g.do(t, "GET", "/v1/info", lines...).body)
	}
	if len(slices.Compact(bodies)) != 1 {
		t.Errorf("%q", bodies)
	}
	g.wantNoCalls(t)
	if got := g.asked("credential"); len(got) > 0 {
		t.Error("an access token was fetched for a refused request")
	}
}

// The gateway's messages are Korean if the client prefers that. Glory's own are always Korean.
func TestErrorsAreKoreanForWhoPrefersIt(t *testing.T) {
	const english, korean = "Not admitted", "접근 권한이 없습니다"
	g := start(t)
	g.authorize = always(bridge.ErrForbidden)
	for accepted, want := range map[string]string{
		"ko": korean, "ko-KR,ko;q=0.9,en-US;q=0.8": korean, "KO": korean, "fr, ko;q=0.5": korean, "en;q=0.5, ko;q=0.9": korean,
		"en-US,ko;q=0.9": english, "en": english, "": english, "*": english, "kok": english, "ko;q=0": english, "ko;q=x": english,
		strings.Repeat("ko-", 2000): english,
	} {
		answer := g.get(t, "/v1/info", "Accept-Language: "+accepted)
		language := answer.header.Get("Content-Language")
		if body := `{"code":"403","message":"` + want + `"}`; answer.body != body || (language == "ko") != (want == korean) {
			t.Errorf("%.40q: %s in %q", accepted, answer.body, language)
		}
	}
	g.authorize = nil
	for target, want := range map[string]string{"/nowhere": "찾을 수 없습니다", "/v1/..": "요청 경로 또는 쿼리의 형식이 잘못되었습니다"} {
		if answer := g.do(t, "GET", target, "Accept-Language: ko-KR"); !strings.Contains(answer.body, want) {
			t.Errorf("%s: %s", target, answer.body)
		}
	}
	for _, line := range refusals {
		if line.status >= 400 && line.status != statusClientGone && (len(line.korean) == 0 || bytes.Equal(line.body, line.korean)) {
			t.Errorf("%v: %s", line.err, line.korean)
		}
	}
}
