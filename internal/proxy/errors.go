package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/language"

	"roomgate/internal/bridge"
	"roomgate/internal/fleet"
	"roomgate/internal/upstream"
)

// Errors of this package. Their texts go to the access event, and not to clients.
var (
	errTarget      = errors.New("malformed request target")
	errOrigins     = errors.New("more than one Origin")
	errOrigin      = errors.New("preflight: the origin is not in CORS_ALLOWED_ORIGINS")
	errFieldNames  = errors.New("invalid header names")
	errHost        = errors.New("malformed host")
	errBody        = errors.New("request body can't be read")
	errRoomBody    = errors.New("GET or HEAD of a room with a body")
	errParameter   = errors.New("invalid query parameter")
	errNotFound    = errors.New("no such route")
	errBodySize    = errors.New("request body too large")
	errHeaderSize  = errors.New("request header too large")
	errOverloaded  = errors.New("too many requests in flight")
	errCrossOrigin = errors.New("request from a page of another origin")
	errPanic       = errors.New("handler panicked")
	errRedirect    = errors.New("upstream redirected a room request")
	errRejectedTwo = errors.New("access token rejected, and the request can't be sent again")
	errAnswerSize  = errors.New("upstream's answer is too large")
	errEchoed      = errors.New("upstream's answer contains the access token")
)

// methodError means that the path is known, but not with this method. allow is the value of Allow.
type methodError struct{ allow string }

// Error implements error.
func (*methodError) Error() string { return "method not allowed" }

// statusClientGone is the status in logs and metrics if the client left before its answer (499, as in nginx).
const statusClientGone = 499

// refusal is the answer to a client for an error. No field contains text of the error itself.
type refusal struct {
	status     int
	reason     string        // in metrics and audit events; one of a fixed set
	body       []byte        // Glory's envelope
	korean     []byte        // the same in Korean
	retryAfter time.Duration // 0: no Retry-After
	challenge  string        // WWW-Authenticate
}

// message is a text for clients, in both languages.
type message struct{ english, korean string }

// refuse makes a line of the table.
func refuse(status int, reason string, m message) *refusal {
	return &refusal{status: status, reason: reason, body: envelope(status, m.english), korean: envelope(status, m.korean)}
}

// envelope returns an error body in Glory's form.
func envelope(status int, message string) []byte {
	body, _ := json.Marshal(struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	}{strconv.Itoa(status), message}) // can't fail: two strings
	return body
}

// languages are those of the messages. The first is the default.
var languages = language.NewMatcher([]language.Tag{language.English, language.Korean})

// prefersKorean reports whether Accept-Language puts Korean before English.
func prefersKorean(accepted []string) bool {
	list := strings.Join(accepted, ",")
	if !strings.Contains(strings.ToLower(list), "ko") {
		return false // most requests; the code below is slower
	}
	_, i := language.MatchStrings(languages, list)
	return i == 1
}

// after returns a copy with Retry-After.
func (r *refusal) after(d time.Duration) *refusal {
	with := *r
	with.retryAfter = d
	return &with
}

// challenging returns a copy with WWW-Authenticate.
func (r *refusal) challenging(challenge string) *refusal {
	with := *r
	with.challenge = challenge
	return &with
}

// inKorean returns a copy with the Korean body.
func (r *refusal) inKorean() *refusal {
	with := *r
	with.body = r.korean
	return &with
}

// Messages of more than one refusal.
var (
	unauthorized   = message{"Full authentication is required to access this resource", "이 리소스에 접근하려면 인증이 필요합니다"}
	notAdmitted    = message{"Not admitted", "접근 권한이 없습니다"}
	notFound       = message{"Not found", "찾을 수 없습니다"}
	malformed      = message{"Malformed request", "잘못된 형식의 요청입니다"}
	unreadableBody = message{"Request body can't be read", "요청 본문을 읽을 수 없습니다"}
	tooMany        = message{"Too many requests", "요청이 너무 많습니다"}
	tooManyAtOnce  = message{"Too many requests at once", "동시 요청이 너무 많습니다"}
	refusedGateway = message{"Room service refused the gateway", "회의실 서비스가 게이트웨이를 거부했습니다"}
	tooLate        = message{"Upstream did not answer in time", "업스트림이 제시간에 응답하지 않았습니다"}
)

// Refusals for errors that aren't sentinels. The others are in the table refusals.
var (
	refuseMethod      = refuse(405, "method", message{"Method not allowed", "허용되지 않는 메서드입니다"})
	refuseUpstream    = refuse(502, "upstream", message{"Upstream failed", "업스트림 요청이 실패했습니다"})
	refuseLicense     = refuse(502, "refused_credential", refusedGateway)
	refuseNoAccess    = refuse(503, "no_credential", message{"Room service is not available right now", "지금은 회의실 서비스를 이용할 수 없습니다"})
	refuseLoginRate   = refuse(429, "login_limit", tooMany)
	refuseAccountRate = refuse(429, "account_limit", tooMany)
	refuseMemberRate  = refuse(429, "member_limit", tooMany)
	refuseLogoutRate  = refuse(429, "logout_limit", tooMany)
)

// refusals is the table from errors to answers. The first line that matches counts.
var refusals = []struct {
	err error
	*refusal
}{
	{errTarget, refuse(400, "malformed", message{"Malformed request path or query", "요청 경로 또는 쿼리의 형식이 잘못되었습니다"})},
	{errHost, refuse(400, "malformed", message{"Malformed host", "호스트의 형식이 잘못되었습니다"})},
	{errOrigins, refuse(400, "malformed", malformed)},
	{errOrigin, refuse(204, "origin", message{})}, // a browser looks only at the CORS headers, which are missing
	{errFieldNames, refuse(400, "malformed", malformed)},
	{errRoomBody, refuse(400, "malformed", message{"A room request has no body", "회의실 요청에는 본문을 넣을 수 없습니다"})},
	{errBodySize, refuse(413, "body", message{"Request body too large", "요청 본문이 너무 큽니다"})},
	{errBody, refuse(400, "body", unreadableBody)},
	{errHeaderSize, refuse(431, "header", message{"Request header too large", "요청 헤더가 너무 큽니다"})},
	{errParameter, refuse(400, "parameter", message{"Invalid parameter", "유효하지 않은 파라미터입니다"})},
	{errNotFound, refuse(404, "no_route", notFound)},
	{errNoToken, refuse(502, "upstream", message{"Upstream's answer can't be read", "업스트림의 응답을 읽을 수 없습니다"})},
	{bridge.ErrNoMemberToken, refuse(401, "no_token", unauthorized).challenging("Bearer")},
	{bridge.ErrExpired, refuse(401, "bad_token", unauthorized).challenging(`Bearer error="invalid_token", error_description="expired"`)},
	{bridge.ErrLoggedOut, refuse(401, "logged_out", unauthorized).challenging(`Bearer error="invalid_token"`)},
	{bridge.ErrMemberToken, refuse(401, "bad_token", unauthorized).challenging(`Bearer error="invalid_token"`)},
	{bridge.ErrSession, refuse(401, "bad_session", unauthorized).challenging(`Bearer error="invalid_token"`)},
	{errCrossOrigin, refuse(403, "cross_origin", message{"Not allowed from another origin", "다른 출처에서는 허용되지 않습니다"})},
	{bridge.ErrDenied, refuse(403, "denied", notAdmitted)},
	{bridge.ErrForbidden, refuse(403, "forbidden", notAdmitted)},
	{bridge.ErrLogout, refuse(503, "logout", message{"Logging out is not possible right now", "지금은 로그아웃할 수 없습니다"}).after(5 * time.Second)},
	{errOverloaded, refuse(503, "overload", tooManyAtOnce).after(time.Second)},
	{upstream.ErrBusy, refuse(503, "overload", tooManyAtOnce).after(time.Second)},
	{upstream.ErrCircuit, refuse(503, "circuit", message{"Upstream is not available right now", "지금은 업스트림을 이용할 수 없습니다"}).after(upstream.CircuitPause)},
	{errUnreadable, refuse(502, "upstream", message{"Upstream's answer can't be read", "업스트림의 응답을 읽을 수 없습니다"})},
	{errGuard, refuse(404, "internal", notFound)},
	{errPanic, refuse(500, "internal", message{"Internal error", "내부 오류가 발생했습니다"})},
	{errRejectedTwo, refuse(502, "refused_credential", refusedGateway).after(time.Second)},
	{upstream.ErrTimeout, refuse(504, "timeout", tooLate)},
	{upstream.ErrBody, refuse(400, "body", unreadableBody)},
	{context.Canceled, refuse(statusClientGone, "client_gone", message{})},
	{context.DeadlineExceeded, refuse(504, "timeout", tooLate)},
}

// explain returns the refusal for an error. Retry-After comes from the error if it has one.
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

// rateRefusal returns the refusal for a rate limit.
func rateRefusal(e *fleet.LimitError) *refusal {
	switch e.Name {
	case "login":
		return refuseLoginRate
	case "account":
		return refuseAccountRate
	case "logout":
		return refuseLogoutRate
	}
	return refuseMemberRate
}

// refuse records err in the call. It returns the answer and its header lines, in the language that the client prefers.
func (c *call) refuse(err error, acceptLanguage []string) (*refusal, fields) {
	refusal := explain(err)
	c.failure, c.refusal = err, refusal.reason
	lines := fields{{Name: "Cache-Control", Value: "no-store"}}
	if prefersKorean(acceptLanguage) {
		refusal = refusal.inKorean()
		lines = append(lines, upstream.Field{Name: "Content-Language", Value: "ko"})
	}
	lines = append(lines, upstream.Field{Name: "Content-Length", Value: strconv.Itoa(len(refusal.body))},
		upstream.Field{Name: "Content-Type", Value: "application/json; charset=utf-8"})
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

// fail answers with err, and the access event tells the cause. It panics with http.ErrAbortHandler if the client has left, or if too
// many such answers wait for their clients.
func (w *writer) fail(err error) {
	refusal, lines := w.call.refuse(err, w.request.Header["Accept-Language"])
	if refusal.status == statusClientGone || !w.mayAnswer() {
		panic(http.ErrAbortHandler) // nobody reads the answer
	}
	h := w.Header()
	clear(h) // drop what an upstream or an earlier step has set
	lines.addTo(h)
	if w.call.session != nil && refusal.status == http.StatusUnauthorized {
		h["Set-Cookie"] = []string{w.proxy.sessions.end(endedBy(err))}
	}
	w.WriteHeader(refusal.status)
	if w.request.Method == http.MethodHead {
		return // net/http would drop the body, but the access event would count it
	}
	_, _ = w.Write(refusal.body) // the server notices a client that has gone
}
