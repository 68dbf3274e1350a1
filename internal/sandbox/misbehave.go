package sandbox

// How each kind of fault is acted out.

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

// leakHeader is the header that must never travel on to a client, and leakMarker what faults put in
// it when the request brought no access token to leak.
const (
	leakHeader = "s-connector-jwt"
	leakMarker = "leaked-by-sandbox"
)

// defaultSize is more than any answer of either API and what anybody should buffer, in bytes.
const defaultSize = 64 << 20

// garbage is what a captive portal or a misrouted balancer answers.
const garbage = "<!doctype html><html><body><h1>It works!</h1></body></html>"

// misbehave answers as the fault says. It panics with http.ErrAbortHandler where the connection has
// to break, as net/http wants it.
func (f *front) misbehave(fault Fault, w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	// The body first: the wait has to notice when the client leaves.
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
		f.hang(r) // does not return
	case KindReset, KindUpgrade, KindRaw: // not to be had through net/http
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
		w.Header().Del(leakHeader) // it would stay for the final answer
		answer(w)
	case KindTrailer:
		// Announced before the answer, set after it.
		w.Header().Set("Trailer", leakHeader)
		answer(w)
		w.Header().Set(leakHeader, leak(r))
	case KindEcho:
		w.Header().Set(leakHeader, leak(r))
		writeJSON(w, fault.status(), r.Header)
	case KindCookie:
		setHostile(w.Header())
		answer(w)
	default:
		answer(w)
	}
}

// given is the fault's own answer, or the normal one where it has none. A redirect goes before a body,
// and either before a bare status.
func (f *front) given(fault Fault, w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	switch {
	case fault.Redirect != "":
		w.Header().Set("Location", fault.Redirect)
		w.WriteHeader(cmp.Or(fault.Status, http.StatusFound))
	case fault.Body != "":
		w.Header().Set("Content-Type", cmp.Or(fault.ContentType, jsonType))
		w.WriteHeader(fault.status())
		_, _ = io.WriteString(w, fault.Body)
	case fault.Status >= 400: // a plausible error, the way the API itself would say it
		f.refuse.status(w, fault.Status)
	case fault.Status != 0:
		w.WriteHeader(fault.Status)
	default: // only here can an access token be issued, right or wrong
		next(w, r.WithContext(context.WithValue(r.Context(), tokenFaultKey{}, fault.Token)))
	}
}

// tokenFaultKey brings a *TokenFault, maybe nil, to the route that issues access tokens.
type tokenFaultKey struct{}

// status is that of an answer which is not the normal one.
func (f Fault) status() int { return cmp.Or(f.Status, http.StatusOK) }

// setHeaders sets them before the answer is made, which may set its own over them.
func (f Fault) setHeaders(h http.Header) {
	for name, value := range f.Header {
		h.Set(name, value)
	}
	if f.RetryAfter != 0 {
		h.Set("Retry-After", strconv.Itoa(f.RetryAfter))
	}
}

// holdBody reads the body into memory, as far as it would be read anyway. Only behind a body that was
// read to its end does net/http watch for the client's leaving.
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

// wait returns after d, or aborts the answer when nobody wants it any longer.
func (f *front) wait(r *http.Request, d time.Duration) {
	if d <= 0 {
		return // even a context that has ended must not abort an answer without delay
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

// hang ends by aborting: even a late answer would be one.
func (f *front) hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-f.done:
	}
	panic(http.ErrAbortHandler)
}

// takeOver does what net/http would not: it writes to the bare connection and closes it.
func (f Fault) takeOver(w http.ResponseWriter) {
	// What net/http has read ahead is dropped: none of these kinds wants more of the request.
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2, or a recorder: an abort is the closest to it
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
			// Without lingering, Close sends RST instead of FIN.
			_ = tcp.SetLinger(0)
		}
	}
}

// cut promises the whole length and breaks the promise. Aborting the handler closes the connection, so
// that the client can tell a cut answer from a short one.
func cut(w http.ResponseWriter, answer func(http.ResponseWriter)) {
	c := capture{header: w.Header(), status: http.StatusOK}
	answer(&c)
	w.Header().Set("Content-Length", strconv.Itoa(c.body.Len()))
	w.WriteHeader(c.status)
	_, _ = w.Write(c.body.Bytes()[:c.body.Len()/2])
	flush(w)
	panic(http.ErrAbortHandler)
}

// trickle sends the headers at once: a timeout on them alone will not catch it.
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

// huge is valid JSON all the same, so that only its size can be held against it.
func (f *front) huge(fault Fault, w http.ResponseWriter) {
	w.Header().Set("Content-Type", jsonType)
	w.WriteHeader(fault.status())
	size := cmp.Or(fault.Size, defaultSize) // the two quotes included
	_, _ = io.WriteString(w, `"`)
	f.fill(w, size-2, 'a')
	_, _ = io.WriteString(w, `"`)
}

// bomb claims an encoding whether or not the client asked for it.
func (f *front) bomb(fault Fault, w http.ResponseWriter) {
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("Content-Encoding", "gzip")
	w.WriteHeader(fault.status())
	zip := gzip.NewWriter(w)
	f.fill(zip, cmp.Or(fault.Size, defaultSize), ' ')
	_ = zip.Close()
}

// fill writes n times b, until the client leaves or Close.
func (f *front) fill(w io.Writer, n int64, b byte) {
	chunk := bytes.Repeat([]byte{b}, 32<<10)
	// Write fails when the client has left; done is for the one who reads on for ever.
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

// leak is what a careless upstream would give away: the access token that it was sent.
func leak(r *http.Request) string { return cmp.Or(r.Header.Get(leakHeader), leakMarker) }

// setHostile sets what misconfigured upstreams are known to send and a proxy must not pass on to its own clients.
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

// flush sends what was written so far. It can't fail but by the client's leaving, which the next
// write will tell.
func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }

// capture is a ResponseWriter that keeps the answer, for kinds that must know its length before they
// send it. It shares the header map of the real one, so that headers need no copying.
type capture struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// The methods of http.ResponseWriter. The status is the last one written, where net/http takes the
// first: the answers captured write one.

func (c *capture) Header() http.Header         { return c.header }
func (c *capture) WriteHeader(status int)      { c.status = status }
func (c *capture) Write(b []byte) (int, error) { return c.body.Write(b) }
