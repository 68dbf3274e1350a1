package proxy

// This file is the record of one request: what its steps find out, for the steps after them and for the access event.

import (
	"context"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

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
	sent        http.Header // of a room request, on its way to Interwater
	preflight   bool        // answered by the CORS rules
	// bodyErr is why the client's body could not be read; then a failed forward is the client's doing. The transport may
	// still be reading the body when the upstream has answered already.
	bodyErr atomic.Pointer[error]
	// failure is the error that the gateway answered with; nil where an upstream answered.
	failure  error
	refusal  string  // the failure's reason, one of a fixed set; "" where an upstream answered
	forged   bool    // the client sent a credential header
	attempts int     // of the upstream call that is under way: see repeatOnce
	flight   *flight // that the request leads: see coalescer
	// took is what the phases of a room request took; 0: not begun.
	took struct{ authenticate, token, upstream time.Duration }
}

type exchangeKey struct{}

// exchangeOf returns the request's record. Every request under observe has one.
func exchangeOf(r *http.Request) *exchange {
	return r.Context().Value(exchangeKey{}).(*exchange)
}

func withExchange(r *http.Request, ex *exchange) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), exchangeKey{}, ex))
}

// serverTiming tells what the phases of a room request took, and where its access token came from (W3C Server Timing).
func (ex *exchange) serverTiming(h http.Header) {
	if ex.took.authenticate == 0 {
		return
	}
	value := "authenticate;dur=" + milliseconds(ex.took.authenticate)
	if ex.took.token > 0 {
		value += ", token;dur=" + milliseconds(ex.took.token)
		if ex.tokenSource != "" {
			value += ";desc=" + ex.tokenSource
		}
	}
	if ex.took.upstream > 0 {
		value += ", upstream;dur=" + milliseconds(ex.took.upstream)
	}
	h.Set("Server-Timing", value)
}

func milliseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', -1, 64)
}
