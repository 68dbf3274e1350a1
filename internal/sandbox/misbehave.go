package sandbox

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"
)

// leakHeader must never reach a client. Faults put leakMarker in it if the request contains no access token to leak.
const (
	leakHeader = "s-connector-jwt"
	leakMarker = "leaked-by-sandbox"
)

// defaultSize, in bytes, is more than any answer of either API, and more than anybody should buffer.
const defaultSize = 64 << 20

// garbage looks like the answer of a captive portal or a misrouted balancer.
const garbage = "<!doctype html><html><body><h1>It works!</h1></body></html>"

// misbehave answers as the fault says. To break the connection it panics with http.ErrAbortHandler, as net/http requires.
func (f *front) misbehave(fault Fault, w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	// Read the body first: otherwise wait doesn't notice when the client leaves.
	holdBody(r)
	f.wait(r, fault.Delay)
	fault.setHeaders(w.Header())
	answer := func(w http.ResponseWriter) { f.given(fault, w, r, next) }
	switch fault.Kind {
	case KindGarbage:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(fault.status())
		_, _ = io.WriteString(w, garbage)
	case KindEmpty:
		w.WriteHeader(fault.status())
	case KindHang:
		f.hang(r) // doesn't return
	case KindReset, KindUpgrade, KindRaw: // net/http can't do these
		fault.takeOver(w)
	case KindCut:
		cut(w, answer)
	case KindHuge:
		f.huge(fault, w)
	case KindBomb:
		f.bomb(fault, w)
	case KindTrickle:
		f.trickle(fault, w, r, answer)
	case KindEarlyHints:
		w.Header().Set(leakHeader, leak(r))
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del(leakHeader) // otherwise it stays in the final answer
		answer(w)
	case KindTrailer:
		// Announce the trailer before the answer, and set it after.
		w.Header().Set("Trailer", leakHeader)
		answer(w)
		w.Header().Set(leakHeader, leak(r))
	case KindEcho:
		w.Header().Set(leakHeader, leak(r))
		writeJSON(w, fault.status(), r.Header)
	case KindCookie:
		setHostile(w.Header())
		answer(w)
	case KindNormal:
		answer(w)
	default:
		panic("sandbox: no code for the fault " + fault.Kind) // check lets known kinds pass only
	}
}

// given sends the fault's own answer, or the normal one if it has none. A redirect takes precedence over a body, and both over a
// bare status.
func (f *front) given(fault Fault, w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	switch {
	case fault.Redirect != "":
		w.Header().Set("Location", fault.Redirect)
		w.WriteHeader(cmp.Or(fault.Status, http.StatusFound))
	case fault.Body != "":
		w.Header().Set("Content-Type", cmp.Or(fault.ContentType, jsonType))
		w.WriteHeader(fault.status())
		_, _ = io.WriteString(w, fault.Body)
	case fault.Status >= 400: // a plausible error, in the API's own form
		f.refuse.status(w, fault.Status)
	case fault.Status != 0:
		w.WriteHeader(fault.Status)
	default: // only here an access token can be issued, correct or wrong
		next(w, r.WithContext(context.WithValue(r.Context(), tokenFaultKey{}, fault.Token)))
	}
}

// tokenFaultKey is the context key of a *TokenFault, maybe nil, for the route that issues access tokens.
type tokenFaultKey struct{}

// status returns the status of an answer that isn't the normal one.
func (f Fault) status() int { return cmp.Or(f.Status, http.StatusOK) }

// setHeaders sets the fault's headers before the answer is made, which may overwrite them.
func (f Fault) setHeaders(h http.Header) {
	for name, value := range f.Header {
		h.Set(name, value)
	}
	if f.RetryAfter != 0 {
		h.Set("Retry-After", strconv.Itoa(f.RetryAfter))
	}
}

// holdBody reads the body into memory, up to the usual limit. net/http notices a client's leaving only after the body has been
// read to its end.
func holdBody(r *http.Request) {
	if r.Body == nil {
		return
	}
	head, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(head), r.Body))
}

// wait returns after d. If the client leaves or Close is called, it aborts the answer.
func (f *front) wait(r *http.Request, d time.Duration) {
	if d <= 0 {
		return // without a delay, even an ended context must not abort the answer
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
		panic(http.ErrAbortHandler)
	case <-f.done:
		panic(http.ErrAbortHandler)
	}
}

// hang aborts in the end: even a late answer would be one.
func (f *front) hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-f.done:
	}
	panic(http.ErrAbortHandler)
}

// takeOver does what net/http can't: it writes to the bare connection and closes it.
func (f Fault) takeOver(w http.ResponseWriter) {
	// Drop what net/http has read ahead: these kinds need no more of the request.
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2 or a recorder: an abort is the closest equivalent
	}
	defer conn.Close()
	switch f.Kind {
	case KindUpgrade:
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
	case KindRaw:
		_, _ = io.WriteString(conn, f.Body)
	default:
		_, _ = io.WriteString(conn, f.Body)
		if tcp, ok := conn.(*net.TCPConn); ok {
			// With a linger time of 0, Close sends RST instead of FIN.
			_ = tcp.SetLinger(0)
		}
	}
}

// cut announces the whole length and sends half. It aborts the handler, which closes the connection, so that the client can tell
// a cut answer from a short one.
func cut(w http.ResponseWriter, answer func(http.ResponseWriter)) {
	c := capture{header: w.Header(), status: http.StatusOK}
	answer(&c)
	w.Header().Set("Content-Length", strconv.Itoa(c.body.Len()))
	w.WriteHeader(c.status)
	_, _ = w.Write(c.body.Bytes()[:c.body.Len()/2])
	flush(w)
	panic(http.ErrAbortHandler)
}

// trickle sends the headers at once, so that a timeout for headers doesn't catch it.
func (f *front) trickle(fault Fault, w http.ResponseWriter, r *http.Request, answer func(http.ResponseWriter)) {
	c := capture{header: w.Header(), status: http.StatusOK}
	answer(&c)
	w.Header().Set("Content-Length", strconv.Itoa(c.body.Len()))
	w.WriteHeader(c.status)
	flush(w)
	for _, b := range c.body.Bytes() {
		f.wait(r, cmp.Or(fault.Interval, time.Second))
		if _, err := w.Write([]byte{b}); err != nil {
			return
		}
		flush(w)
	}
}

// huge sends valid JSON, so that only its size is wrong.
func (f *front) huge(fault Fault, w http.ResponseWriter) {
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(fault.status())
	size := cmp.Or(fault.Size, defaultSize) // the two quotes included
	_, _ = io.WriteString(w, `"`)
	f.fill(w, size-2, 'a')
	_, _ = io.WriteString(w, `"`)
}

// bomb sends gzip even if the client doesn't accept it.
func (f *front) bomb(fault Fault, w http.ResponseWriter) {
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("Content-Encoding", "gzip")
	w.WriteHeader(fault.status())
	zip := gzip.NewWriter(w)
	f.fill(zip, cmp.Or(fault.Size, defaultSize), ' ')
	_ = zip.Close()
}

// fill writes b n times. It aborts if the client leaves or Close is called.
func (f *front) fill(w io.Writer, n int64, b byte) {
	chunk := bytes.Repeat([]byte{b}, 32<<10)
	// Write fails if the client has left. done is for a client that reads forever.
	for ; n > 0; n -= int64(len(chunk)) {
		select {
		case <-f.done:
			panic(http.ErrAbortHandler)
		default:
		}
		if _, err := w.Write(chunk[:min(n, int64(len(chunk)))]); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// leak returns what a careless upstream would reveal: the access token that it received.
func leak(r *http.Request) string { return cmp.Or(r.Header.Get(leakHeader), leakMarker) }

// setHostile sets headers that misconfigured upstreams send, and that a proxy must not pass on.
func setHostile(h http.Header) {
	maps.Copy(h, http.Header{
		"Set-Cookie":                        {"session=sandbox; Path=/; HttpOnly", "tracking=1; Domain=example.com"},
		"Server":                            {"sandbox/1.0"},
		"X-Powered-By":                      {"Express"},
		"Via":                               {"1.1 sandbox"},
		"Alt-Svc":                           {`h3=":443"; ma=86400`},
		"Strict-Transport-Security":         {"max-age=31536000; includeSubDomains"},
		"Access-Control-Allow-Origin":       {"*"},
		"Access-Control-Allow-Credentials":  {"true"},
		"Cache-Control":                     {"public, max-age=86400"},
		"Clear-Site-Data":                   {`"*"`},
		"Www-Authenticate":                  {`Basic realm="sandbox"`},
		http.CanonicalHeaderKey(leakHeader): {leakMarker},
	})
}

// flush sends what was written so far. It fails only if the client has left, which the next write reports.
func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// capture is a ResponseWriter that keeps the answer, for kinds that must know its length in advance. It shares the header map of
// the real one, so headers need no copying.
type capture struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// The methods of http.ResponseWriter. The last status written counts, while in net/http the first does: captured answers write
// only one.

func (c *capture) Header() http.Header         { return c.header }
func (c *capture) WriteHeader(status int)      { c.status = status }
func (c *capture) Write(b []byte) (int, error) { return c.body.Write(b) }
