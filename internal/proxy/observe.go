package proxy

// This file gives every request its record and ids, and writes its one access event.

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const maxLoggedPath = 1 << 10

// observe wraps next so that every request is counted and logged once, however it ends.
func observe(o Options, m *metrics, origins *crossOrigin, next http.Handler) http.Handler {
	audited, t := auditEvents(), newTracing(o.Tracing)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		m.inFlight.Inc()
		defer m.inFlight.Dec()
		out := &response{
			ResponseWriter: w, control: *http.NewResponseController(w), request: r, origins: origins, draining: o.Draining(),
			exchange: exchange{requestID: requestID(r.Header), span: spanContext(r), forged: forged(r.Header)},
			pause:    max(o.GloryTimeout, o.InterwaterTimeout), timing: o.ServerTiming,
		}
		ex := &out.exchange
		ex.client, ex.forwarded = believe(r, o.TrustedProxies)
		defer func() {
			status := out.status
			if status == 0 || ex.failure != nil && explain(ex.failure).status == statusClientGone {
				status = statusClientGone // aborted before an answer began
			}
			took := time.Since(began)
			m.request(r, ex, status, took)
			t.describe(r, ex, status)
			if event, ok := audited[ex.refusal]; ok {
				audit(o.Log, event, ex.refusal, r, ex)
			}
			if ex.refusal == "no_route" && probes(ex.target.path) {
				audit(o.Log, "attack", "token_endpoint", r, ex)
			}
			if ex.forged {
				audit(o.Log, "attack", "credential_header", r, ex)
			}
			if o.Log.Enabled(context.Background(), slog.LevelInfo) {
				o.Log.LogAttrs(context.WithoutCancel(r.Context()), slog.LevelInfo, "request", event(r, ex, status, out.bytes, took)...)
			}
		}()
		next.ServeHTTP(out, withExchange(r, ex))
		if out.status == 0 {
			out.WriteHeader(http.StatusOK)
		}
	})
}

// event is the access event. It holds no query, body, token or key.
func event(r *http.Request, ex *exchange, status int, bytes int64, took time.Duration) []slog.Attr {
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs,
		slog.String("request_id", ex.requestID),
		slog.String("method", r.Method),
		slog.String("route", ex.route),
		slog.String("path", loggedPath(r, ex)),
		slog.Int("status", status),
		slog.Int64("bytes", bytes),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("client", ex.client),
		slog.String("sub", ex.subject),
		slog.String("license", ex.grant.License),
		slog.String("upstream", ex.upstream),
		slog.String("token_source", ex.tokenSource),
		slog.String("trace_id", ex.span.TraceID().String()),
	)
	if ex.failure != nil {
		attrs = append(attrs, slog.String("error", ex.failure.Error()))
	}
	return attrs
}

// loggedPath is the path as sent, cut where it is long.
func loggedPath(r *http.Request, ex *exchange) string {
	path := ex.target.path
	if path == "" && r.URL != nil { // refused before it was a target
		path = r.URL.EscapedPath()
	}
	return path[:min(len(path), maxLoggedPath)]
}

// requestID keeps the client's id if it is one that can stand in any log, and makes one otherwise.
func requestID(h http.Header) string {
	given := h["X-Request-Id"]
	if len(given) == 1 && isRequestID(given[0]) {
		return given[0]
	}
	return rand.Text()
}

// isRequestID accepts [A-Za-z0-9._-]{1,128}.
func isRequestID(s string) bool {
	if len(s) == 0 || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// spanContext is the server span's where tracing is on. Else it continues the client's trace (W3C Trace Context) or begins
// one; the span is the gateway's own.
func spanContext(r *http.Request) trace.SpanContext {
	if span := trace.SpanContextFromContext(r.Context()); span.IsValid() {
		return span
	}
	var span trace.SpanContext
	if len(r.Header["Traceparent"]) > 0 {
		span = trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(r.Header)))
	}
	var random [24]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	if !span.IsValid() {
		span = trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID(random[:16])})
	}
	if binary.BigEndian.Uint64(random[16:]) == 0 {
		random[16] = 1 // an all-zero id is invalid
	}
	return span.WithSpanID(trace.SpanID(random[16:]))
}
