package proxy

// The access event, one for each request: its fields, and what it never contains.

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// eventFields are the documented fields, with slog's level and message.
var eventFields = []string{
	"bytes", "client", "duration_ms", "level", "license", "method", "msg", "path", "request_id", "route", "status", "sub", "time",
	"token_source", "trace_id", "upstream",
}

func TestAccessEventHasAllFields(t *testing.T) {
	g := start(t, unread)
	for _, tt := range []struct {
		method, target string
		lines          []string
		want           map[string]any
	}{
		{"GET", "/v1/sessions/gsda11?secret=QUERY", []string{asMember}, map[string]any{
			"route": "GET /v1/sessions/{room_name}", "path": "/v1/sessions/gsda11", "status": 200.0, "sub": "7", "license": "default",
			"upstream": "interwater", "token_source": "fetched",
		}},
		{"GET", "/v1/info?QUERY", []string{asMember}, map[string]any{
			"route": "GET /v1/info", "path": "/v1/info", "status": 200.0, "sub": "7", "license": "default", "upstream": "interwater", "token_source": "memory",
		}},
		{"GET", "/v1/sessions/%EC%A3%BC%EA%B0%84%ED%9A%8C%EC%9D%98", []string{asMember}, map[string]any{
			"path": "/v1/sessions/%EC%A3%BC%EA%B0%84%ED%9A%8C%EC%9D%98", "status": 200.0,
		}},
		{"GET", "/public-api/v1/health?QUERY", nil, map[string]any{
			"route": "/public-api/", "path": "/public-api/v1/health", "status": 200.0, "sub": "", "license": "", "upstream": "glory", "token_source": "",
		}},
		{"POST", "/api/v1/x?QUERY", nil, map[string]any{"route": "/api/", "path": "/api/v1/x", "status": 403.0, "upstream": "glory"}},
		{"GET", "/v1/info?QUERY", nil, map[string]any{
			"route": "GET /v1/info", "path": "/v1/info", "status": 401.0, "sub": "", "license": "", "upstream": "", "token_source": "",
		}},
		{"GET", "/nowhere?QUERY", nil, map[string]any{"route": "", "path": "/nowhere", "status": 404.0, "upstream": ""}},
		{"GET", "//v1/auth?QUERY", nil, map[string]any{"route": "", "path": "//v1/auth", "status": 400.0}},
		{"GET", "/v1/sessions/a%0d%0ab?QUERY", nil, map[string]any{"path": "/v1/sessions/a%0d%0ab", "status": 400.0}},
		{"GET", "/v1/info?QUERY;", nil, map[string]any{"path": "/v1/info", "status": 400.0}},
		{"DELETE", "/v1/info?QUERY", nil, map[string]any{"path": "/v1/info", "status": 405.0}},
		{"CONNECT", "gateway.test:443", nil, map[string]any{"path": "", "status": 405.0}},
		{"GET", "http://user:QUERY@h/v1/info", nil, map[string]any{"path": "/v1/info", "status": 401.0}},
	} {
		answer := g.do(t, tt.method, tt.target, append(tt.lines, "X-Request-Id: the-id")...)
		e := g.event(t)
		want := slices.Clone(eventFields)
		if tt.want["status"].(float64) >= 400 && e["upstream"] == "" {
			want = append(want, "error")
		}
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(e)); !slices.Equal(got, want) {
			t.Errorf("%s %s:\n got %q\nwant %q", tt.method, tt.target, got, want)
		}
		for name, value := range tt.want {
			if e[name] != value {
				t.Errorf("%s %s: %s is %v, want %v", tt.method, tt.target, name, e[name], value)
			}
		}
		if e["method"] != tt.method || e["level"] != "INFO" || e["request_id"] != "the-id" || e["client"] != "127.0.0.1" ||
			e["bytes"] != float64(len(answer.body)) || len(e["trace_id"].(string)) != 32 || e["duration_ms"].(float64) <= 0 {
			t.Errorf("%s %s: %v", tt.method, tt.target, e)
		}
	}
	if log := g.logs.String(); strings.Contains(log, "QUERY") {
		t.Errorf("a query is logged: %s", log)
	}
}

func TestOneRequestIsOneEvent(t *testing.T) {
	g := start(t)
	n := 0
	for _, target := range []string{"/v1/info", "/v1/sessions", "/public-api/v1/health", "/nowhere", "//", "/v1/info?;", "/v1/auth"} {
		for _, method := range []string{"GET", "HEAD", "POST", "TRACE"} {
			g.do(t, method, target, asMember)
			g.event(t)
			n++
		}
	}
	if got := strings.Count(g.logs.String(), `"msg":"request"`); got != n {
		t.Errorf("%d events for %d requests", got, n)
	}
}

func TestEventIsOneLineWhateverTheClientSends(t *testing.T) {
	g := start(t)
	for _, target := range []string{
		"/nowhere/a%0d%0a%7b%22msg%22%3a%22request%22%7d", "/nowhere/\"}{\"", "/nowhere/\xff\xfe", "/nowhere/%e2%80%a8", "/nowhere/<script>",
	} {
		g.do(t, "GET", target, "X-Request-Id: a\"}", "User-Agent: \"}")
		g.event(t)
	}
	lines := strings.Split(strings.TrimSuffix(g.logs.String(), "\n"), "\n")
	if events := strings.Count(g.logs.String(), "\n{\"time\"") + 1; events != len(lines) || strings.Count(g.logs.String(), `"msg":"request"`) != 5 {
		t.Errorf("%d lines, %d events", len(lines), events)
	}
	for _, line := range lines {
		if !json.Valid([]byte(line)) {
			t.Errorf("%q", line)
		}
	}
}

func TestLongPathIsLoggedShort(t *testing.T) {
	g := start(t)
	g.do(t, "GET", "/"+strings.Repeat("a", 10_000))
	if e := g.event(t); len(e["path"].(string)) != maxLoggedPath {
		t.Errorf("%d characters", len(e["path"].(string)))
	}
}

func TestNoSecretIsLogged(t *testing.T) {
	g := start(t)
	member := g.Glory.MintToken("1", patience)
	g.get(t, "/v1/info?token=CANARY", "Cookie: CANARY", "s-connector-jwt: CANARY", "Tracestate: a=CANARY")
	g.do(t, "GET", "/v1/info?CANARY", "Authorization: Bearer CANARY", "Cookie: CANARY")
	g.do(t, "GET", "/api/v1/profile?CANARY", "Authorization: Bearer "+member)
	g.raw(t, "POST /public-api/v1/login HTTP/1.1\r\nHost: g\r\nContent-Length: 6\r\n\r\nCANARY")
	g.raw(t, "POST /public-api/v1/login HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\nCANARY\r\n")
	for range 5 {
		g.event(t)
	}
	log := g.logs.String()
	for _, canary := range []string{"CANARY", member, g.current, g.Interwater.Licenses()[0].SecretKey} {
		if strings.Contains(log, canary) {
			t.Errorf("%q is in %s", canary, log)
		}
	}
}

func TestRequestsAreCountedWithBoundedLabels(t *testing.T) {
	registry := prometheus.NewRegistry()
	g := start(t, func(o *setup) { o.Metrics = registry })
	for _, line := range [][2]string{
		{"GET", "/v1/sessions/a"}, {"GET", "/v1/sessions/b"}, {"FOO", "/v1/info"}, {"BAR", "/nowhere"}, {"BAZ", "/elsewhere"}, {"GET", "/api/a"}, {"GET", "/api/b"},
	} {
		g.do(t, line[0], line[1])
		g.event(t) // the request is counted before its event
	}
	families, err := registry.Gather()
	at := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == "roomgate_requests_total" })
	if err != nil || at < 0 {
		t.Fatalf("%v, %v", families, err)
	}
	got := map[string]float64{}
	for _, m := range families[at].GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, l.GetValue())
		}
		got[strings.Join(labels, " ")] = m.GetCounter().GetValue()
	}
	want := map[string]float64{
		"401 GET GET /v1/sessions/{room_name}": 2, "405 other none": 1, "404 other none": 2, "403 GET /api/": 2,
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if err := newMetrics(false).register(registry); err == nil {
		t.Error("the same metrics could be registered twice")
	}
}

func TestHandlerThatAnswersNothingIs200(t *testing.T) {
	g := start(t)
	server := scripted(t, serving(t, g.log(), func(_ *writer, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}).ServeHTTP)
	g.addr = server.Host
	if answer := g.do(t, "GET", "/api/x"); answer.status != 200 || answer.header.Get("X-Request-Id") == "" {
		t.Errorf("%q", answer.raw)
	}
	if e := g.event(t); e["status"] != 200.0 {
		t.Errorf("event %v", e)
	}
}
