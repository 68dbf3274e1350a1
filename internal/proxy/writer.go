package proxy

// This file is the response writer through which every answer leaves: it adds what all answers carry and lets nothing
// out that none may.

import (
	"net/http"
	"time"

	"roomgate/internal/upstream"
)

// writeLimit is how long a client may take for one buffer of an answer; slower ones are cut off. It is longer where an
// upstream may take longer, since the time also runs while nothing is there to write.
const writeLimit = 10 * time.Second

// writer counts what is written and has the last word on the header. It holds the request's call.
type writer struct {
	http.ResponseWriter
	call    call
	proxy   *Proxy
	request *http.Request
	control http.ResponseController
	bounded time.Time // when the client was given its time last
	status  int       // 0 until the header is written
	bytes   int64
	own     bool // counted in the proxy's own
}

// WriteHeader implements http.ResponseWriter. Informational answers of an upstream are not relayed: no route needs
// them, and ReverseProxy would copy their headers unfiltered.
func (w *writer) WriteHeader(status int) {
	h := w.Header()
	if status < 200 {
		clear(h)
		return
	}
	if w.status != 0 {
		return
	}
	w.status = status
	if w.call.refusal == "" {
		w.call.answered.addTo(h)
	}
	dropCredentials(h)
	if _, typed := h["Content-Type"]; !typed {
		h["Content-Type"] = nil // else net/http guesses one
	}
	if !w.call.preflight {
		w.proxy.origins.permit(h, w.request.Header["Origin"])
	}
	w.proxy.everyAnswers(make(fields, 0, 5), &w.call, w.request.TLS != nil).setIn(h)
	w.bound() // answers without a body are written too
	w.ResponseWriter.WriteHeader(status)
}

// everyAnswers adds the lines of every answer.
func (p *Proxy) everyAnswers(lines fields, c *call, encrypted bool) fields {
	if p.draining() {
		lines = append(lines, upstream.Field{Name: "Connection", Value: "close"}) // with HTTP/2 it becomes GOAWAY
	}
	if p.timing {
		if value := c.serverTiming(); value != "" {
			lines = append(lines, upstream.Field{Name: "Server-Timing", Value: value})
		}
	}
	if encrypted {
		lines = append(lines, upstream.Field{Name: "Strict-Transport-Security", Value: "max-age=31536000"})
	}
	return append(lines,
		upstream.Field{Name: "X-Content-Type-Options", Value: "nosniff"}, upstream.Field{Name: "X-Request-Id", Value: c.requestID})
}

// WriteTimeout is how long a client may take for one write.
func (p *Proxy) WriteTimeout() time.Duration { return p.writeLimit }

// bound gives the client its time for what is written next. Within a tenth of a second once is enough.
func (w *writer) bound() {
	now := time.Now()
	if now.Sub(w.bounded) < 100*time.Millisecond {
		return
	}
	w.bounded = now
	_ = w.control.SetWriteDeadline(now.Add(w.proxy.writeLimit)) // not supported: by a test's recorder only
}

// Write implements http.ResponseWriter.
func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	w.bound()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// deliver waits until the client has taken an answer over HTTP/2, within the time of its last write. The server keeps the end
// of an answer in a buffer and would write it after the call is closed: a client that opens no window would hold any number
// of answers, and none would count as in flight. With HTTP/1 it is one for each connection at most.
func (w *writer) deliver() {
	if w.request.ProtoMajor == 2 && w.bytes > 0 {
		_ = w.control.Flush() // the server notices a client that has gone
	}
}

// mayAnswer counts an error's answer or a page over HTTP/2, and reports false where too many of those wait for their clients: then
// the stream is to be reset instead. Anybody may ask for them, without a token: so clients that take no answers leave the other
// places to members.
func (w *writer) mayAnswer() bool {
	if w.request.ProtoMajor != 2 || w.own {
		return true
	}
	w.own = true
	return w.proxy.own.Add(1) <= w.proxy.bounds.own()
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
