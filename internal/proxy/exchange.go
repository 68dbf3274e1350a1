package proxy

// This file is the record of one request: what its steps find out, for the steps after them and for the access event.

import (
	"context"
	"net/http"
	"sync/atomic"

	"go.opentelemetry.io/otel/trace"

	"roomgate/internal/bridge"
)

// The upstreams, as logs and metrics call them.
const (
	upstreamGlory      = "glory"
	upstreamInterwater = "interwater"
)

// exchange is one request's record. It is made by observe and used by one goroutine at a time: the handler's, and
// within ReverseProxy the transport's; bodyErr alone is for several.
type exchange struct {
	requestID string
	client    string // address of the client, as far as it can be believed
	forwarded forwarding
	span      trace.SpanContext

	target      target
	route       string // the pattern; "" where none matched
	room        string // its {room_name}, decoded once; "" where it has none
	subject     string
	grant       bridge.Grant
	upstream    string // "" where none was called
	tokenSource string
	preflight   bool // answered by the CORS rules
	// bodyErr is why the client's body could not be read; then a failed forward is the client's doing. The transport may
	// still be reading the body when the upstream has answered already.
	bodyErr atomic.Pointer[error]
	// failure is the error that the gateway answered with; nil where an upstream answered.
	failure error
}

type exchangeKey struct{}

// exchangeOf returns the request's record. Every request under observe has one.
func exchangeOf(r *http.Request) *exchange {
	return r.Context().Value(exchangeKey{}).(*exchange)
}

func withExchange(r *http.Request, ex *exchange) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), exchangeKey{}, ex))
}
