package proxy

// Every answer through net/http passes this writer. It adds the headers that every answer has, and removes those that no client may see.

import (
	"net/http"
	"time"

	"roomgate/internal/upstream"
)

// writeLimit is how long a client may take for one buffer of an answer. Slower clients are cut off. If an upstream's timeout is longer,
// that counts: the time also runs while there is nothing to write.
const writeLimit = 10 * time.Second

// writer counts what is written and finishes the header. It holds the request's call.
type writer struct {
	http.ResponseWriter
	call    call
	proxy   *Proxy
	request *http.Request
	control http.ResponseController
	bounded time.Time // when the write deadline was last set
	status  int       // 0 until the header is written
	bytes   int64
	own     bool // counted in Proxy.own
}

// WriteHeader implements http.ResponseWriter. It drops an upstream's informational answers: no route needs them, and ReverseProxy copies
// their headers unfiltered.
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
		h["Content-Type"] = nil // keeps net/http from guessing one
	}
	if !w.call.preflight {
		w.proxy.origins.permit(h, w.request.Header["Origin"])
	}
	w.proxy.everyAnswers(make(fields, 0, 5), &w.call, w.request.TLS != nil).setIn(h)
	w.bound() // for answers without a body
	w.ResponseWriter.WriteHeader(status)
}

// everyAnswers adds the header lines that every answer has.
func (p *Proxy) everyAnswers(lines fields, c *call, encrypted bool) fields {
	if p.draining() {
		lines = append(lines, upstream.Field{Name: "Connection", Value: "close"}) // net/http makes it GOAWAY in HTTP/2
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

// bound sets the deadline for the next write, at most once in a tenth of a second.
func (w *writer) bound() {
	now := time.Now()
	if now.Sub(w.bounded) < 100*time.Millisecond {
		return
	}
	w.bounded = now
	_ = w.control.SetWriteDeadline(now.Add(w.proxy.writeLimit)) // fails only with a test's recorder, which doesn't support it
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

// deliver waits until the client has taken an answer over HTTP/2, or until the write deadline. Otherwise the server would keep the end of
// the answer in a buffer and write it after the call is closed. A client that opens no window could then hold any number of answers
// that don't count as in flight. In HTTP/1, it holds at most one for each connection.
func (w *writer) deliver() {
	if w.request.ProtoMajor == 2 && w.bytes > 0 {
		_ = w.control.Flush() // the server notices a client that has gone
	}
}

// mayAnswer counts one of the gateway's own answers (an error or a page) over HTTP/2. It reports false if too many of them wait for their
// clients. The caller then resets the stream. Such answers need no token, so the limit leaves the other places in flight to members.
func (w *writer) mayAnswer() bool {
	if w.request.ProtoMajor != 2 || w.own {
		return true
	}
	w.own = true
	return w.proxy.own.Add(1) <= w.proxy.bounds.own()
}

// Unwrap lets http.ResponseController find the server's writer.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }
