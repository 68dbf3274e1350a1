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
	"roomgate/internal/upstream"
)

// Errors of the edge itself.
var (
	errTarget      = errors.New("malformed request target")
	errOrigins     = errors.New("more than one Origin")
	errHost        = errors.New("malformed host")
	errBody        = errors.New("request body can't be read")
	errRoomBody    = errors.New("a GET or HEAD of a room has no body")
	errNotFound    = errors.New("no such route")
	errBodySize    = errors.New("request body too large")
	errHeaderSize  = errors.New("request header too large")
	errOverloaded  = errors.New("too many requests in flight")
	errPanic       = errors.New("handler panicked")
	errRedirect    = errors.New("upstream redirected a room request")
	errRejectedTwo = errors.New("access token rejected on a request that can't be sent again")
	errAnswerSize  = errors.New("upstream's answer too large")
	errEchoed      = errors.New("upstream's answer contains the access token")
)

// methodError is a known path with another method.
type methodError struct{ allow string }

// Error implements error.
func (*methodError) Error() string { return "method not allowed" }

// statusClientGone is what logs and metrics say of a client that left before its answer (nginx's 499).
const statusClientGone = 499

// refusal is what the client sees of an error. No field repeats anything of the error itself.
type refusal struct {
	status     int
	reason     string        // in metrics and audit events; one of a fixed set
	body       []byte        // Glory's envelope
	retryAfter time.Duration // 0: no Retry-After
	challenge  string        // WWW-Authenticate
}

// refuse makes a line of the table.
func refuse(status int, reason, message string) *refusal {
	body, _ := json.Marshal(struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}{strconv.Itoa(status), message}) // two strings: can't fail
	return &refusal{status: status, reason: reason, body: body}
}

// after sets when asking again may help.
func (r *refusal) after(d time.Duration) *refusal {
	with := *r
	with.retryAfter = d
	return &with
}

// challenging sets WWW-Authenticate.
func (r *refusal) challenging(challenge string) *refusal {
	with := *r
	with.challenge = challenge
	return &with
}

const (
	unauthorized   = "Full authentication is required to access this resource"
	refusedGateway = "Room service refused the gateway"
	tooLate        = "Upstream did not answer in time"
)

// The lines that no sentinel names. The others are in refusals.
var (
	refuseMethod      = refuse(405, "method", "Method not allowed")
	refuseUpstream    = refuse(502, "upstream", "Upstream failed")
	refuseLicense     = refuse(502, "refused_credential", refusedGateway)
	refuseNoAccess    = refuse(503, "no_credential", "Room service is not available right now")
	refuseLoginRate   = refuse(429, "login_limit", "Too many requests")
	refuseAccountRate = refuse(429, "account_limit", "Too many requests")
	refuseMemberRate  = refuse(429, "member_limit", "Too many requests")
)

// refusals is the table. The first line that fits counts.
var refusals = []struct {
	err error
	*refusal
}{
	{errTarget, refuse(400, "malformed", "Malformed request path or query")},
	{errHost, refuse(400, "malformed", "Malformed host")},
	{errOrigins, refuse(400, "malformed", "Malformed request")},
	{errRoomBody, refuse(400, "malformed", "A room request has no body")},
	{errBodySize, refuse(413, "body", "Request body too large")},
	{errBody, refuse(400, "body", "Request body can't be read")},
	{errHeaderSize, refuse(431, "header", "Request header too large")},
	{errNotFound, refuse(404, "no_route", "Not found")},
	{bridge.ErrNoMemberToken, refuse(401, "no_token", unauthorized).challenging("Bearer")},
	{bridge.ErrMemberToken, refuse(401, "bad_token", unauthorized).challenging(`Bearer error="invalid_token"`)},
	{bridge.ErrDenied, refuse(403, "denied", "Not admitted")},
	{bridge.ErrForbidden, refuse(403, "forbidden", "Not admitted")},
	{errOverloaded, refuse(503, "overload", "Too many requests at once").after(time.Second)},
	{upstream.ErrBusy, refuse(503, "overload", "Too many requests at once").after(time.Second)},
	{upstream.ErrCircuit, refuse(503, "circuit", "Upstream is not available right now").after(upstream.CircuitPause)},
	{errUnreadable, refuse(502, "upstream", "Upstream's answer can't be read")},
	{errGuard, refuse(404, "internal", "Not found")},
	{errPanic, refuse(500, "internal", "Internal error")},
	{errRejectedTwo, refuse(502, "refused_credential", refusedGateway).after(time.Second)},
	{upstream.ErrTimeout, refuse(504, "timeout", tooLate)},
	{upstream.ErrBody, refuse(400, "body", "Request body can't be read")},
	{context.Canceled, refuse(statusClientGone, "client_gone", "")},
	{context.DeadlineExceeded, refuse(504, "timeout", tooLate)},
}

// explain finds an error's line, with what only the error itself knows: when to ask again.
func explain(err error) *refusal {
	if _, ok := errors.AsType[*methodError](err); ok {
		return refuseMethod
	}
	if e, ok := errors.AsType[*fleet.LimitError](err); ok {
		return rateRefusal(e).after(e.RetryAfter)
	}
	if e, ok := errors.AsType[*bridge.NoCredential](err); ok {
		if e.Refused {
			return refuseLicense.after(e.RetryAfter)
		}
		return refuseNoAccess.after(e.RetryAfter)
	}
	for _, line := range refusals {
		if errors.Is(err, line.err) {
			return line.refusal
		}
	}
	return refuseUpstream
}

// rateRefusal is the line of a rate limit.
func rateRefusal(e *fleet.LimitError) *refusal {
	switch e.Name {
	case "login":
		return refuseLoginRate
	case "account":
		return refuseAccountRate
	}
	return refuseMemberRate
}

// refuse notes in the call that it is answered with err, and returns the answer.
func (c *call) refuse(err error) (*refusal, fields) {
	refusal := explain(err)
	c.failure, c.refusal = err, refusal.reason
	lines := fields{
		{Name: "Cache-Control", Value: "no-store"}, {Name: "Content-Length", Value: strconv.Itoa(len(refusal.body))},
		{Name: "Content-Type", Value: "application/json; charset=utf-8"},
	}
	if e, ok := errors.AsType[*methodError](err); ok {
		lines = append(lines, upstream.Field{Name: "Allow", Value: e.allow})
	}
	if e, ok := errors.AsType[*fleet.LimitError](err); ok {
		lines = append(lines, upstream.Field{Name: "Ratelimit", Value: rateLimitState(e)}, upstream.Field{Name: "Ratelimit-Policy", Value: rateLimitPolicy(e)})
	}
	if refusal.retryAfter > 0 {
		lines = append(lines, upstream.Field{Name: "Retry-After", Value: strconv.Itoa(int(math.Ceil(refusal.retryAfter.Seconds())))})
	}
	if refusal.challenge != "" {
		lines = append(lines, upstream.Field{Name: "Www-Authenticate", Value: refusal.challenge})
	}
	return refusal, lines
}

// fail answers with err. The cause goes to the access event. It panics with http.ErrAbortHandler where the client has left, or
// too many clients don't take such answers.
func (w *writer) fail(err error) {
	refusal, lines := w.call.refuse(err)
	if refusal.status == statusClientGone || !w.mayAnswer() {
		panic(http.ErrAbortHandler) // nobody is there to read an answer
	}
	h := w.Header()
	clear(h) // whatever an upstream or a step before has left
	lines.addTo(h)
	w.WriteHeader(refusal.status)
	if w.request.Method == http.MethodHead {
		return // net/http would drop the body, and the access event count it
	}
	_, _ = w.Write(refusal.body) // the server notices a client that has gone
}
