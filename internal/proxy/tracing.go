package proxy

// This file is the request's trace: a span for the whole, for its phases, and for each call of an upstream. Attributes hold
// no query, header or token.

import (
	"context"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// tracing begins spans. The zero value begins none and costs nothing.
type tracing struct {
	provider trace.TracerProvider
	tracer   trace.Tracer
}

func newTracing(provider trace.TracerProvider) tracing {
	if provider == nil {
		return tracing{}
	}
	return tracing{provider, provider.Tracer("roomgate/internal/proxy")}
}

// server wraps the public handler in the server span, which continues the client's trace. otelhttp's handler would put its own
// writer before the server's, which then doesn't learn that a body was too large, and into attributes what a client made up:
// one that is no UTF-8 loses the whole batch.
func (t tracing) server(next http.Handler) http.Handler {
	if t.tracer == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := t.tracer.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer))
		defer func() { span.End() }() // End itself, deferred, would note an aborted answer as an exception
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// describe tells of the request in its server span, as much as the access event does; the route is known in the end only.
func (t tracing) describe(r *http.Request, ex *exchange, status int) {
	if t.tracer == nil {
		return
	}
	span := trace.SpanFromContext(r.Context())
	span.SetAttributes(
		attribute.String("http.request.method", boundedMethod(r.Method)), attribute.Int("http.response.status_code", status),
		attribute.String("url.path", valid(loggedPath(r, ex))), attribute.String("client.address", valid(ex.client)),
		attribute.String("roomgate.request_id", ex.requestID), attribute.String("roomgate.license", ex.grant.License),
	)
	if ex.route != "" {
		_, path, ok := strings.Cut(ex.route, " ") // where the pattern has a method, GET stands for HEAD too
		if !ok {
			path = ex.route
		}
		span.SetName(boundedMethod(r.Method) + " " + path)
		span.SetAttributes(attribute.String("http.route", ex.route))
	}
	if ex.refusal != "" {
		span.SetAttributes(attribute.String("roomgate.refusal", ex.refusal))
	}
	if status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, ex.refusal)
	}
}

// valid makes UTF-8 of what a client sent.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// phase begins a span within the request's. The function ends it.
func (t tracing) phase(ctx context.Context, name string) (context.Context, func(err error, attributes ...attribute.KeyValue)) {
	if t.tracer == nil {
		return ctx, func(error, ...attribute.KeyValue) {}
	}
	ctx, span := t.tracer.Start(ctx, name)
	return ctx, func(err error, attributes ...attribute.KeyValue) {
		span.SetAttributes(attributes...)
		endSpan(span, err)
	}
}

// endSpan tells the reason of a failure, from the table of errors, and never its text.
func endSpan(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, explain(err).reason)
	}
	span.End()
}

// Traced makes each call of an upstream a span, and tells the upstream so. A nil provider returns next. otelhttp's own
// transport would put the query into an attribute.
func Traced(provider trace.TracerProvider, upstream string, next http.RoundTripper) http.RoundTripper {
	t := newTracing(provider)
	if t.tracer == nil {
		return next
	}
	return &tracedTransport{tracing: t, upstream: upstream, next: next}
}

// tracedTransport is what Traced returns.
type tracedTransport struct {
	tracing
	upstream string
	next     http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *tracedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, span := t.tracer.Start(r.Context(), t.upstream, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", boundedMethod(r.Method)), attribute.String("server.address", r.URL.Hostname()),
	))
	r = r.Clone(ctx)
	r.Header.Set("Traceparent", traceparent(span.SpanContext()))
	answer, err := t.next.RoundTrip(r)
	if err == nil {
		span.SetAttributes(attribute.Int("http.response.status_code", answer.StatusCode))
	}
	endSpan(span, err)
	return answer, err
}
