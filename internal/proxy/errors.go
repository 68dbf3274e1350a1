package proxy

// This file is the one place that turns an error into an HTTP answer.

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"roomgate/internal/bridge"
	"roomgate/internal/fleet"
)

// Errors of the edge itself.
var (
	errTarget      = errors.New("malformed request target")
	errHost        = errors.New("malformed host")
	errBody        = errors.New("request body can't be read")
	errRoomBody    = errors.New("a GET or HEAD of a room has no body")
	errNotFound    = errors.New("no such route")
	errBodySize    = errors.New("request body too large")
	errHeaderSize  = errors.New("request header too large")
	errOverloaded  = errors.New("too many requests in flight")
	errPanic       = errors.New("handler panicked")
	errRedirect    = errors.New("upstream redirected a room request")
	errSwitch      = errors.New("upstream switched protocols unasked")
	errRejectedTwo = errors.New("access token rejected on a request that can't be repeated")
	errAnswerSize  = errors.New("upstream's answer too large")
	errRepeated    = errors.New("upstream broke off the repetition too")
	errEchoed      = errors.New("upstream's answer contains the access token")
)

// methodError is a known path with another method.
type methodError struct{ allow string }

// Error implements error.
func (*methodError) Error() string { return "method not allowed" }

// statusClientGone is what logs and metrics say of a client that left before its answer (nginx's 499).
const statusClientGone = 499

// answer is what the client sees of an error. No field repeats anything of the error itself.
type answer struct {
	status     int
	reason     string // in metrics and audit events; one of a fixed set
	message    string
	retryAfter time.Duration // 0: no Retry-After
	challenge  string        // WWW-Authenticate
	allow      *string
	limit      *fleet.LimitError // RateLimit fields
}

// explain is the table. The first line that fits counts.
func explain(err error) answer {
	if e, ok := errors.AsType[*methodError](err); ok {
		return answer{status: http.StatusMethodNotAllowed, reason: "method", message: "Method not allowed", allow: &e.allow}
	}
	if e, ok := errors.AsType[*fleet.LimitError](err); ok {
		return answer{
			status: http.StatusTooManyRequests, reason: e.Name + "_limit", message: "Too many requests", retryAfter: e.RetryAfter, limit: e,
		}
	}
	if e, ok := errors.AsType[*bridge.NoCredential](err); ok {
		a := answer{status: http.StatusServiceUnavailable, reason: "no_credential", message: "Room service is not available right now"}
		if e.Refused {
			a = answer{status: http.StatusBadGateway, reason: "refused_credential", message: refusedGateway}
		}
		a.retryAfter = e.RetryAfter
		return a
	}
	for _, line := range []struct {
		err error
		answer
	}{
		{errTarget, answer{status: 400, reason: "malformed", message: "Malformed request path or query"}},
		{errHost, answer{status: 400, reason: "malformed", message: "Malformed host"}},
		{errRoomBody, answer{status: 400, reason: "malformed", message: "A room request has no body"}},
		{errBodySize, answer{status: 413, reason: "body", message: "Request body too large"}},
		{errBody, answer{status: 400, reason: "body", message: "Request body can't be read"}},
		{errHeaderSize, answer{status: 431, reason: "header", message: "Request header too large"}},
		{errNotFound, answer{status: 404, reason: "no_route", message: "Not found"}},
		{bridge.ErrNoMemberToken, answer{status: 401, reason: "no_token", message: unauthorized, challenge: "Bearer"}},
		{bridge.ErrMemberToken, answer{status: 401, reason: "bad_token", message: unauthorized, challenge: `Bearer error="invalid_token"`}},
		{bridge.ErrDenied, answer{status: 403, reason: "denied", message: "Not admitted"}},
		{bridge.ErrForbidden, answer{status: 403, reason: "forbidden", message: "Not admitted"}},
		{errOverloaded, answer{status: 503, reason: "overload", message: "Too many requests at once", retryAfter: time.Second}},
		{errCircuit, answer{status: 503, reason: "circuit", message: "Upstream is not available right now", retryAfter: breakerPause}},
		{errUnreadable, answer{status: 502, reason: "upstream", message: "Upstream's answer can't be read"}},
		{errGuard, answer{status: 404, reason: "internal", message: "Not found"}},
		{errPanic, answer{status: 500, reason: "internal", message: "Internal error"}},
		{errRejectedTwo, answer{status: 502, reason: "refused_credential", message: refusedGateway, retryAfter: time.Second}},
		{bridge.ErrUpstreamTimeout, answer{status: 504, reason: "timeout", message: "Upstream did not answer in time"}},
		{context.Canceled, answer{status: statusClientGone, reason: "client_gone"}},
		{context.DeadlineExceeded, answer{status: 504, reason: "timeout", message: "Upstream did not answer in time"}},
	} {
		if errors.Is(err, line.err) {
			return line.answer
		}
	}
	return answer{status: http.StatusBadGateway, reason: "upstream", message: "Upstream failed"}
}

const (
	unauthorized   = "Full authentication is required to access this resource"
	refusedGateway = "Room service refused the gateway"
)

// fail answers with err, in Glory's envelope. The cause goes to the access event.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	ex := exchangeOf(r)
	if cause := ex.bodyErr.Load(); cause != nil {
		err = *cause
	}
	a := explain(err)
	ex.failure, ex.refusal = err, a.reason
	if a.status == statusClientGone {
		panic(http.ErrAbortHandler) // nobody is left to read an answer
	}
	body, _ := json.Marshal(struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}{strconv.Itoa(a.status), a.message}) // two strings: can't fail
	h := w.Header()
	clear(h) // whatever an upstream or a step before has left
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	if a.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(a.retryAfter.Seconds()))))
	}
	if a.challenge != "" {
		h.Set("WWW-Authenticate", a.challenge)
	}
	if a.allow != nil {
		h.Set("Allow", *a.allow)
	}
	if a.limit != nil {
		h.Set("RateLimit-Policy", rateLimitPolicy(a.limit))
		h.Set("RateLimit", rateLimitState(a.limit))
	}
	w.WriteHeader(a.status)
	if r.Method == http.MethodHead {
		return // net/http would drop the body, and the access event count it
	}
	_, _ = w.Write(body) // a client that has gone is noticed by the server
}
