package proxy

// A trace has a span for the request, for its phases, and (from package upstream) for each call to an upstream. Attributes contain no
// query, header or token.

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

// server begins the server span, which continues the client's trace. It returns the request with the span in its context. end must be
// called once. otelhttp's handler doesn't fit: it wraps the server's writer, so the server doesn't learn that a body was too large. It
// also copies a client's text into attributes unchecked. Text that isn't UTF-8 makes the exporter lose the whole batch.
func (t tracing) server(r *http.Request) (traced *http.Request, end func()) {
	if t.tracer == nil {
		return r, func() {}
	}
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	ctx, span := t.tracer.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer))
	return r.WithContext(ctx), func() { span.End() } // a deferred End would recover a panic and record it as an exception
}

// describe adds attributes to the server span, as the access event has them. It comes last, when the route is known.
func (t tracing) describe(ctx context.Context, c *call, status int) {
	if t.tracer == nil {
		return
	}
	span := trace.SpanFromContext(ctx)
	span.SetAttributes(
		attribute.String("http.request.method", boundedMethod(c.method)), attribute.Int("http.response.status_code", status),
		attribute.String("url.path", valid(loggedPath(c))), attribute.String("client.address", valid(c.client)),
		attribute.String("roomgate.request_id", c.requestID), attribute.String("roomgate.license", c.grant.License),
	)
	if c.route != "" {
		_, path, ok := strings.Cut(c.route, " ") // drop the pattern's method: its GET stands for HEAD, too
		if !ok {
			path = c.route
		}
		span.SetName(boundedMethod(c.method) + " " + path)
		span.SetAttributes(attribute.String("http.route", c.route))
	}
	if c.refusal != "" {
		span.SetAttributes(attribute.String("roomgate.refusal", c.refusal))
	}
	if status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, c.refusal)
	}
}

// valid returns a client's text as valid UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// phase begins a span within the request's. The function that it returns ends the span.
func (t tracing) phase(ctx context.Context, name string) (context.Context, func(err error)) {
	if t.tracer == nil {
		return ctx, func(error) {}
	}
	ctx, span := t.tracer.Start(ctx, name)
	return ctx, func(err error) { endSpan(span, err) }
}

// tell adds an attribute to the span of ctx.
func (t tracing) tell(ctx context.Context, name, value string) {
	if t.tracer != nil {
		trace.SpanFromContext(ctx).SetAttributes(attribute.String(name, value))
	}
}

// endSpan ends a span. For a failure it adds the reason from the table of errors, and never the error's text.
func endSpan(span trace.Span, err error) {
	if err != nil {
		span.SetStatus(codes.Error, explain(err).reason)
	}
	span.End()
}
