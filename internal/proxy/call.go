package proxy

import (
	"context"
	"encoding/base32"
	"encoding/binary"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"roomgate/internal/bridge"
)

// The upstreams, as logs and metrics call them.
const (
	upstreamGlory      = "glory"
	upstreamInterwater = "interwater"
)

// call is the record of one request: what each step finds out, for later steps and for the access event. Only one goroutine at a
// time uses it, the handler's.
type call struct {
	began     time.Time
	method    string
	requestID string
	client    string // the client's address: the peer's, or what a trusted proxy says
	forwarded forwarding
	span      trace.SpanContext // set once
	parent    string            // traceparent's result; "" until it is called
	forged    bool              // the client sent a credential header

	target  target
	route   string // the pattern; "" if none matched
	room    string // the {room_name} of the path, decoded once; "" if the route has none
	subject string
	grant   bridge.Grant
	asked   asked           // what an admitted room request asks
	borrows bool            // the answer may be in lent memory; whoever writes the answer gives the memory back
	session *bridge.Session // of the cookie that counts as the member token, even if it can't be opened; nil: none

	answered    fields // the header of a room's answer; it may be shared, so nobody changes it
	upstream    string // "" if none was called
	tokenSource string
	preflight   bool   // answered by the CORS rules
	failure     error  // the error that the gateway answered with, or that cut off the answer; nil if all went well
	refusal     string // the reason of an error answer, one of a fixed set; "" if an upstream answered
	timed       bool   // fill took
	// took is how long each phase of a room request took. 0: the phase hasn't begun, or timed is false.
	took struct{ authenticate, token, upstream time.Duration }
}

// timer starts the clock of a phase, if calls are timed. stop adds the time since then to phase.
func (c *call) timer(phase *time.Duration) (stop func()) {
	if !c.timed {
		return untimed
	}
	began := time.Now()
	return func() { *phase += time.Since(began) }
}

func untimed() {}

type callKey struct{}

// withCall returns r with its call in the context. So the call crosses ReverseProxy.
func withCall(r *http.Request, c *call) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), callKey{}, c))
}

// callOf returns the call of a request that has crossed ReverseProxy.
func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// serverTiming returns a Server-Timing value: how long the phases of a room request took, and where its access token came from.
// It is "" for other requests.
func (c *call) serverTiming() (value string) {
	if c.took.authenticate == 0 {
		return ""
	}
	value = "authenticate;dur=" + milliseconds(c.took.authenticate)
	if c.took.token > 0 {
		value += ", token;dur=" + milliseconds(c.took.token)
		if c.tokenSource != "" {
			value += ";desc=" + c.tokenSource
		}
	}
	if c.took.upstream > 0 {
		value += ", upstream;dur=" + milliseconds(c.took.upstream)
	}
	return value
}

func milliseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', -1, 64)
}

// requestID returns the client's id if it is valid, and a new one otherwise.
func requestID(given []string) string {
	if len(given) == 1 && isRequestID(given[0]) {
		return given[0]
	}
	return newRequestID()
}

// newRequestID returns 128 random bits as 26 letters and digits. They aren't for secrets.
func newRequestID() string {
	var random [16]byte
	binary.LittleEndian.PutUint64(random[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(random[8:], rand.Uint64())
	var text [26]byte
	unpadded.Encode(text[:], random[:])
	return string(text[:])
}

var unpadded = base32.StdEncoding.WithPadding(base32.NoPadding)

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

// spanContext returns the server span's context if tracing is on. Otherwise it makes a span of the gateway's own, which continues
// the client's trace (W3C Trace Context) or begins one.
func spanContext(ctx context.Context, traceparent, tracestate []string) trace.SpanContext {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		return span
	}
	var span trace.SpanContext
	if len(traceparent) > 0 {
		claimed := propagation.HeaderCarrier{"Traceparent": traceparent, "Tracestate": tracestate}
		span = trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), claimed))
	}
	var random [24]byte
	for at := 0; at < len(random); at += 8 {
		binary.LittleEndian.PutUint64(random[at:], rand.Uint64())
	}
	if !span.IsValid() {
		span = trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID(random[:16])})
	}
	if binary.BigEndian.Uint64(random[16:]) == 0 {
		random[16] = 1 // an all-zero id is invalid
	}
	return span.WithSpanID(trace.SpanID(random[16:]))
}
