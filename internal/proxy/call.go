package proxy

// This file is the record of one request: what its steps find out, for the steps after them and for the access event.

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

// call is the record of one request. One goroutine at a time uses it: the handler's.
type call struct {
	began     time.Time
	method    string
	requestID string
	client    string // address of the client, as far as it can be believed
	forwarded forwarding
	span      trace.SpanContext
	forged    bool // the client sent a credential header

	target  target
	route   string // the pattern; "" where none matched
	room    string // its {room_name}, decoded once; "" where it has none
	subject string
	grant   bridge.Grant
	asked   asked           // by a room request, once it is admitted
	borrows bool            // the answer's memory may be lent: whoever writes the answer gives it back then
	session *bridge.Session // whose token the request bears by a cookie, open or not; nil: none

	answered    fields // of a room's answer. It may be shared, so nobody changes it
	upstream    string // "" where none was called
	tokenSource string
	preflight   bool   // answered by the CORS rules
	failure     error  // what the gateway answered with, or what cut its answer off; nil where all went well
	refusal     string // the reason of an error answer, one of a fixed set; "" where an upstream answered
	// took is what the phases of a room request took; 0: not begun, or nobody asks.
	timed bool
	took  struct{ authenticate, token, upstream time.Duration }
}

// timer begins to time a phase, where somebody asks. What it returns adds the time to phase.
func (c *call) timer(phase *time.Duration) (stop func()) {
	if !c.timed {
		return untimed
	}
	began := time.Now()
	return func() { *phase += time.Since(began) }
}

func untimed() {}

type callKey struct{}

// withCall returns r with its call in the context, to cross ReverseProxy.
func withCall(r *http.Request, c *call) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), callKey{}, c))
}

// callOf returns the call of a request that has crossed ReverseProxy.
func callOf(ctx context.Context) *call { return ctx.Value(callKey{}).(*call) }

// serverTiming tells what the phases of a room request took, and where its access token came from (W3C Server Timing).
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

// requestID keeps the client's id if it is one that can stand in any log, and makes one otherwise.
func requestID(given []string) string {
	if len(given) == 1 && isRequestID(given[0]) {
		return given[0]
	}
	return newRequestID()
}

// newRequestID returns 26 letters and digits that hold 128 random bits. They needn't be a secret.
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

// spanContext is the server span's where tracing is on. Else it continues the client's trace (W3C Trace Context) or begins
// one; the span is the gateway's own.
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
