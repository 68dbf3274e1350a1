package proxy

// This file is the request's trace: a span for the whole, for its phases, and for each call of an upstream. Attributes hold
// no query, header or token.

import (
	"context"
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
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

// server wraps the public handler in the server span, which continues the client's trace.
func (t tracing) server(next http.Handler) http.Handler {
	if t.tracer == nil {
		return next
	}
	return otelhttp.NewHandler(next, "request",
		otelhttp.WithTracerProvider(t.provider), otelhttp.WithPropagators(propagation.TraceContext{}),
		otelhttp.WithMeterProvider(metricnoop.NewMeterProvider())) // Prometheus has the metrics
}

// named gives the server span its route, which is known in the end only.
func (t tracing) named(ctx context.Context, r *http.Request, ex *exchange) {
	if t.tracer == nil {
		return
	}
	span := trace.SpanFromContext(ctx)
	if ex.route != "" {
		span.SetName(boundedMethod(r.Method) + " " + ex.route)
		span.SetAttributes(attribute.String("http.route", ex.route))
	}
	span.SetAttributes(attribute.String("roomgate.request_id", ex.requestID), attribute.String("roomgate.license", ex.grant.License))
	if ex.refusal != "" {
		span.SetAttributes(attribute.String("roomgate.refusal", ex.refusal))
	}
}

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
