package upstream

import (
	"context"
	"errors"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// traced begins the call's span, and returns a copy of the request with its Traceparent. Attributes hold no query, header or
// token; otelhttp's transport would record the query.
func (u *Upstream) traced(r *http.Request) (*http.Request, trace.Span) {
	_, span := u.tracer.Start(r.Context(), u.span, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", boundedMethod(r.Method)), attribute.String("server.address", u.base.Hostname()),
	))
	told := *r
	told.Header = r.Header.Clone()
	if told.Header == nil {
		told.Header = http.Header{}
	}
	of := span.SpanContext()
	told.Header["Traceparent"] = []string{"00-" + of.TraceID().String() + "-" + of.SpanID().String() + "-" + of.TraceFlags().String()}
	return &told, span
}

// endSpan ends the call's span. status is 0 if there was no answer.
func endSpan(span trace.Span, status int, err error) {
	if status != 0 {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	if err != nil {
		span.SetStatus(codes.Error, reason(err))
	}
	span.End()
}

// reason returns the one word that a failed span may carry.
func reason(err error) string {
	switch {
	case errors.Is(err, ErrBody):
		return "body"
	case errors.Is(err, ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "client_gone"
	}
	return "upstream"
}

// boundedMethod keeps clients from inventing attribute values.
func boundedMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return method
	}
	return "other"
}
