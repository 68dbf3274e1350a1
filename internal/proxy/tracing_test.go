package proxy

// The trace of one request: its spans, their parents, what the upstream gets, and what no span contains. Tracing doesn't change answers.

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"roomgate/internal/bridge"
	"roomgate/internal/sandbox"
)

const (
	clientTrace = "0af7651916cd43dd8448eb211c80319c"
	clientSpan  = "b7ad6b7169203331"
	traceHeader = "traceparent: 00-" + clientTrace + "-" + clientSpan + "-01"
)

// newTraced starts a gateway with tracing on. Each span is exported as soon as it ends.
func newTraced(t *testing.T, change ...func(*setup)) (*gateway, *tracetest.InMemoryExporter) {
	t.Helper()
	spans := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	on := func(o *setup) { o.Tracing = provider }
	return start(t, append([]func(*setup){on}, change...)...), spans
}

// ended waits for the request's server span, which ends after the client has its answer. It returns all spans by name, in the order in
// which they ended.
func ended(t *testing.T, spans *tracetest.InMemoryExporter) map[string][]tracetest.SpanStub {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(patience); time.Now().Before(late); <-tick.C {
		byName, whole := map[string][]tracetest.SpanStub{}, false
		for _, s := range spans.GetSpans() {
			name := s.Name
			if s.SpanKind == trace.SpanKindServer {
				name, whole = "server", true
			}
			byName[name] = append(byName[name], s)
		}
		if whole {
			return byName
		}
	}
	t.Fatal("no server span")
	return nil
}

// attributes returns the span's attributes by their keys.
func attributes(s tracetest.SpanStub) map[string]any {
	all := map[string]any{}
	for _, a := range s.Attributes {
		all[string(a.Key)] = a.Value.AsInterface()
	}
	return all
}

// only returns the one span of the name.
func only(t *testing.T, all map[string][]tracetest.SpanStub, name string) tracetest.SpanStub {
	t.Helper()
	if len(all[name]) != 1 {
		t.Fatalf("%d spans %q, want one", len(all[name]), name)
	}
	return all[name][0]
}

// wantChild checks that s is a child of parent, in the same trace.
func wantChild(t *testing.T, s, parent tracetest.SpanStub) {
	t.Helper()
	if s.Parent.SpanID() != parent.SpanContext.SpanID() || s.Parent.TraceID() != parent.SpanContext.TraceID() ||
		s.SpanContext.TraceID() != parent.SpanContext.TraceID() {
		t.Errorf("%s is in trace %s under %s, want under %s", s.Name, s.SpanContext.TraceID(), s.Parent.SpanID(), parent.SpanContext.SpanID())
	}
}

// told returns the parts of the traceparent that an upstream got.
func told(t *testing.T, h http.Header) (traceID, parent string) {
	t.Helper()
	parts := strings.Split(strings.Join(h["Traceparent"], " and "), "-")
	if len(parts) != 4 || parts[3] != "01" {
		t.Fatalf("Traceparent %q", h["Traceparent"])
	}
	return parts[1], parts[2]
}

func TestTraceOfARoomRequestGoesFromTheClientToInterwater(t *testing.T) {
	registry := prometheus.NewRegistry()
	g, spans := newTraced(t, func(o *setup) { o.Metrics = registry })
	g.get(t, "/v1/sessions/gsda11", traceHeader, "tracestate: a=b", "X-Request-Id: the-id")
	all, event := ended(t, spans), g.event(t)

	server := only(t, all, "server")
	if server.Parent.TraceID().String() != clientTrace || server.Parent.SpanID().String() != clientSpan || !server.Parent.IsRemote() ||
		server.SpanContext.TraceID().String() != clientTrace {
		t.Errorf("the server span %s is under %s of %s", server.SpanContext.TraceID(), server.Parent.SpanID(), server.Parent.TraceID())
	}
	for _, name := range []string{"authorize", "token", "interwater"} {
		wantChild(t, only(t, all, name), server)
	}
	if len(spans.GetSpans()) != 4 {
		t.Errorf("%d spans: %v", len(spans.GetSpans()), all)
	}
	upstream := only(t, all, "interwater")
	seen := g.Interwater.LastRoomRequest().Header
	if id, parent := told(t, seen); id != clientTrace || parent != upstream.SpanContext.SpanID().String() {
		t.Errorf("Interwater was told %s %s, its span is %s", id, parent, upstream.SpanContext.SpanID())
	}
	if seen.Get("Tracestate") != "a=b" {
		t.Errorf("Tracestate %q", seen["Tracestate"])
	}
	if event["trace_id"] != clientTrace {
		t.Errorf("the access event has %v", event["trace_id"])
	}
	if got := exemplar(t, registry, "roomgate_request_duration_seconds"); got != clientTrace {
		t.Errorf("the exemplar points to %q", got)
	}
	if server.Name != "GET /v1/sessions/{room_name}" || upstream.SpanKind != trace.SpanKindClient {
		t.Errorf("%q, %v", server.Name, upstream.SpanKind)
	}
	for key, want := range map[string]any{
		"http.request.method": "GET", "http.route": "GET /v1/sessions/{room_name}", "http.response.status_code": int64(200),
		"url.path": "/v1/sessions/gsda11", "client.address": "127.0.0.1", "roomgate.request_id": "the-id", "roomgate.license": "default",
	} {
		if got := attributes(server)[key]; got != want {
			t.Errorf("%s is %v, want %v", key, got, want)
		}
	}
	if got := attributes(only(t, all, "token"))["roomgate.token_source"]; got != "fetched" {
		t.Errorf("token from %v", got)
	}
}

func TestTraceOfAGloryRequestGoesToGlory(t *testing.T) {
	g, spans := newTraced(t)
	g.do(t, "GET", "/public-api/v1/health", traceHeader)
	all := ended(t, spans)
	upstream := only(t, all, "glory")
	wantChild(t, upstream, only(t, all, "server"))
	if id, parent := told(t, g.Glory.LastRequest().Header); id != clientTrace || parent != upstream.SpanContext.SpanID().String() {
		t.Errorf("Glory was told %s %s", id, parent)
	}
	if len(spans.GetSpans()) != 2 {
		t.Errorf("%v", all)
	}
}

// After a rejected token, the trace has two token spans and two upstream spans. Each attempt sent its own span to Interwater.
func TestTraceShowsTheRepair(t *testing.T) {
	g, spans := newTraced(t)
	g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Status: 401, Times: 1})
	g.get(t, "/v1/info", traceHeader)
	all := ended(t, spans)
	server := only(t, all, "server")
	if len(all["token"]) != 2 || len(all["interwater"]) != 2 {
		t.Fatalf("%d token and %d upstream spans, want two each", len(all["token"]), len(all["interwater"]))
	}
	for i, status := range []int64{401, 200} {
		upstream := all["interwater"][i]
		wantChild(t, all["token"][i], server)
		wantChild(t, upstream, server)
		if got := attributes(upstream)["http.response.status_code"]; got != status {
			t.Errorf("attempt %d: status %v", i, got)
		}
		if _, parent := told(t, g.Interwater.RoomRequests()[i].Header); parent != upstream.SpanContext.SpanID().String() {
			t.Errorf("attempt %d: Interwater was told %s, its span is %s", i, parent, upstream.SpanContext.SpanID())
		}
	}
}

func TestTraceThatTheClientDoesNotWantIsNotRecorded(t *testing.T) {
	g, spans := newTraced(t)
	g.get(t, "/v1/info", "traceparent: 00-"+clientTrace+"-"+clientSpan+"-00")
	if e := g.event(t); e["trace_id"] != clientTrace || len(spans.GetSpans()) > 0 {
		t.Errorf("%v, %v", e["trace_id"], spans.GetSpans())
	}
	if got := g.Interwater.LastRoomRequest().Header.Get("Traceparent"); !strings.HasPrefix(got, "00-"+clientTrace) || !strings.HasSuffix(got, "-00") {
		t.Errorf("Traceparent %q", got)
	}
}

func TestTraceTellsWhyARequestFailed(t *testing.T) {
	for _, tt := range []struct {
		arrange        func(*gateway)
		refusal, fails string // fails: the span that ends with the reason
		server         codes.Code
	}{
		{func(g *gateway) { g.authenticate = always(bridge.ErrMemberToken) }, "bad_token", "authorize", codes.Unset},
		{func(g *gateway) { g.credential = always(&bridge.NoCredential{Err: fmt.Errorf("%s", inside)}) }, "no_credential", "token", codes.Error},
		{func(g *gateway) { g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Kind: sandbox.KindReset}) }, "upstream", "interwater", codes.Error},
	} {
		g, spans := newTraced(t)
		tt.arrange(g)
		g.get(t, "/v1/info")
		all := ended(t, spans)
		server, failed := only(t, all, "server"), only(t, all, tt.fails)
		if failed.Status.Code != codes.Error || failed.Status.Description != tt.refusal {
			t.Errorf("%s: %s ends with %+v", tt.refusal, tt.fails, failed.Status)
		}
		if attributes(server)["roomgate.refusal"] != tt.refusal || server.Status.Code != tt.server {
			t.Errorf("%s: the server span has %v, %+v", tt.refusal, server.Attributes, server.Status)
		}
		if text := fmt.Sprintf("%+v", spans.GetSpans()); strings.Contains(text, inside) {
			t.Errorf("%s: an error's text in %s", tt.refusal, text)
		}
	}
}

func TestTraceHoldsNoSecretAndNoHeader(t *testing.T) {
	g, spans := newTraced(t)
	g.get(t, "/v1/sessions/a?token=MARKER", "User-Agent: MARKER", "Cookie: MARKER", "X-Forwarded-For: 192.0.2.99", "s-connector-jwt: MARKER",
		"Referer: MARKER", "baggage: k=MARKER")
	g.do(t, "GET", "/public-api/v1/health?MARKER", "Authorization: Bearer MARKER", "User-Agent: MARKER")
	g.event(t)
	g.event(t)
	ended(t, spans)
	text := fmt.Sprintf("%+v", spans.GetSpans())
	for _, never := range []string{"MARKER", "good", "192.0.2.99", g.Interwater.LastRoomRequest().Header.Get("s-connector-jwt")} {
		if strings.Contains(text, never) {
			t.Errorf("%q in %s", never, text)
		}
	}
}

// OTLP uses protocol buffers, whose strings must be UTF-8. One invalid string loses all spans of its batch.
func TestSpansAreUTF8WhateverTheClientSends(t *testing.T) {
	g, spans := newTraced(t, unread)
	for _, request := range []string{
		"GET /%ff HTTP/1.1\r\nHost: h\r\n", "GET /\xff HTTP/1.1\r\nHost: h\r\n", "GET http://%ff/v1/info HTTP/1.1\r\nHost: h\r\n",
		"GET /v1/info HTTP/1.1\r\nHost: h\r\nUser-Agent: \xff\r\nX-Forwarded-For: fe80::1%\xff\r\nX-Request-Id: \xff\r\n",
	} {
		g.raw(t, request+"\r\n")
		ended(t, spans)
		for _, s := range spans.GetSpans() {
			for _, a := range append(s.Attributes, attribute.String("name", s.Name)) {
				if text := a.Value.String(); text != valid(text) {
					t.Errorf("%q: %s is %q", request, a.Key, text)
				}
			}
		}
		spans.Reset()
	}
}

// The server must learn that a body is too large. Otherwise it reads on as long as the client sends.
func TestTracedBodyOverTheLimitEndsTheConnection(t *testing.T) {
	t.Parallel()
	g, _ := newTraced(t, func(o *setup) { o.MaxBodyBytes = 10 })
	conn := g.dial(t)
	defer conn.Close()
	// The body has no end. The answer must come nevertheless, and the connection must close.
	io.WriteString(conn, "POST /api/x HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n"+strings.Repeat("4\r\naaaa\r\n", 1000))
	answer := read(t, conn, "POST")
	answer.wantError(t, http.StatusRequestEntityTooLarge)
	if _, err := io.WriteString(conn, "GET /nowhere HTTP/1.1\r\nHost: g\r\n\r\n"); err == nil {
		if again := read(t, conn, "GET"); again.status != 0 {
			t.Errorf("the connection goes on: %q", again.raw)
		}
	}
}

func TestTracedAnswersAreFlushedAndBroken(t *testing.T) {
	proceed := make(chan struct{})
	upstream := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-proceed:
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	})
	g, spans := newTraced(t, func(o *setup) { o.Glory = upstream })
	conn := g.dial(t)
	defer conn.Close()
	io.WriteString(conn, "GET /api/x HTTP/1.1\r\nHost: g\r\n\r\n")
	readUntil(t, conn, "first")
	close(proceed)
	rest, _ := io.ReadAll(conn)
	if strings.HasSuffix(string(rest), "0\r\n\r\n") {
		t.Errorf("an answer that broke off looks whole: %q", rest)
	}
	if server := only(t, ended(t, spans), "server"); len(server.Events) > 0 {
		t.Errorf("an aborted answer is an exception: %v", server.Events)
	}
}

func TestWithoutTracingThereAreNoExemplars(t *testing.T) {
	registry := prometheus.NewRegistry()
	g := start(t, func(o *setup) { o.Metrics = registry })
	g.get(t, "/v1/info", traceHeader)
	g.event(t)
	if got := exemplar(t, registry, "roomgate_request_duration_seconds"); got != "" {
		t.Errorf("an exemplar points to %q, which nobody has recorded", got)
	}
}
