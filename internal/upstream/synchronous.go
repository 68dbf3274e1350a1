package upstream

// This file sends the bulk of all requests, bodiless GET and HEAD, in the goroutine that they came in. http.Transport has
// two more for each connection and hands every request from one to the other, which was a fifth of the CPU of a forward.

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
)

// synchronous is a transport for one upstream. It takes its settings from next, and leaves to it all that needs more than
// writing a head and reading an answer. A request's context bounds it from the dialling to the end of the answer's body.
type synchronous struct {
	next         *pooled
	settings     *http.Transport
	scheme, host string      // of the requests taken
	addr         string      // of the host
	tls          *tls.Config // nil without TLS
	idle         connPool
	heads        sync.Pool // of *bytes.Buffer
}

// newSynchronous returns one over next for the requests to base's scheme and host.
func newSynchronous(base *url.URL, next *pooled) *synchronous {
	h := next.http
	t := &synchronous{
		next: next, settings: h, scheme: base.Scheme, host: base.Host,
		idle:  connPool{most: h.MaxIdleConnsPerHost, limit: h.IdleConnTimeout, age: maxConnectionAge},
		heads: sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}
	port := base.Port()
	switch {
	case base.Scheme == "https":
		t.tls = h.TLSClientConfig.Clone()
		if t.tls.ServerName == "" {
			t.tls.ServerName = base.Hostname()
		}
		t.tls.NextProtos = []string{"http/1.1"}
		if port == "" {
			port = "443"
		}
	case port == "":
		port = "80"
	}
	t.addr = net.JoinHostPort(base.Hostname(), port)
	return t
}

// CloseIdleConnections closes the idle connections of both.
func (t *synchronous) CloseIdleConnections() {
	t.idle.close()
	t.next.CloseIdleConnections()
}

// send implements transport. A request that got no byte of an answer over a connection that had been idle is
// sent again, once and over a new one.
func (t *synchronous) send(r *http.Request, timeout time.Duration) (*http.Response, error) {
	if !t.takes(r) {
		return t.next.send(r, timeout)
	}
	ctx := r.Context()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	head := t.heads.Get().(*bytes.Buffer)
	defer t.putHead(head)
	if err := t.writeHead(head, r); err != nil {
		return nil, err
	}
	limits := limits{deadline: time.Now().Add(timeout), header: t.settings.MaxResponseHeaderBytes}
	if c := t.idle.take(); c != nil {
		answer, answered, err := c.roundTrip(r, head.Bytes(), limits, &t.idle)
		if err == nil || answered || ctx.Err() != nil || errors.Is(err, errLate) {
			return answer, err
		}
		t.idle.drop() // the others are no better
	}
	c, err := t.dial(ctx, limits.deadline)
	if err != nil {
		return nil, err
	}
	answer, _, err := c.roundTrip(r, head.Bytes(), limits, &t.idle)
	return answer, err
}

// putHead keeps a buffer for the next request, unless it is a giant.
func (t *synchronous) putHead(head *bytes.Buffer) {
	if head.Cap() <= 16<<10 {
		head.Reset()
		t.heads.Put(head)
	}
}

// dial makes a new connection. The error is errLate where that takes until the deadline.
func (t *synchronous) dial(ctx context.Context, deadline time.Time) (*upstreamConn, error) {
	limited, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	c, err := t.connect(limited)
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return c, err
	}
	if callers, ok := ctx.Deadline(); ok && callers.Before(deadline) {
		return nil, err // net goes by its own clock
	}
	return nil, errLate
}

// connect dials and agrees on TLS.
func (t *synchronous) connect(ctx context.Context) (*upstreamConn, error) {
	conn, err := t.settings.DialContext(ctx, "tcp", t.addr)
	if err != nil {
		return nil, err
	}
	s := conn.(*socket)
	if t.tls == nil {
		return newUpstreamConn(s, s, t.idle.until()), nil
	}
	encrypted := tls.Client(s, t.tls)
	limited, cancel := context.WithTimeout(ctx, t.settings.TLSHandshakeTimeout)
	defer cancel()
	if err := encrypted.HandshakeContext(limited); err != nil {
		_ = conn.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if limited.Err() != nil { // not the caller's deadline, and not to be taken for it
			err = &net.OpError{Op: "handshake", Net: "tcp", Addr: conn.RemoteAddr(), Err: os.ErrDeadlineExceeded}
		}
		return nil, err
	}
	return newUpstreamConn(encrypted, s, t.idle.until()), nil
}

// takes reports whether the request is one of the simple kind. One that http.Transport might refuse isn't.
func (t *synchronous) takes(r *http.Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.URL != nil &&
		r.URL.Scheme == t.scheme && r.URL.Host == t.host &&
		(r.Body == nil || r.Body == http.NoBody) && r.ContentLength == 0 && !r.Close && r.Header != nil &&
		len(r.TransferEncoding) == 0 && len(r.Trailer) == 0 && isPlain(r.Header)
}

// isPlain reports whether a header is surely valid, so that nothing in it can end a line, and asks nothing of the
// connection.
func isPlain(h http.Header) bool {
	for name, values := range h {
		switch name {
		case "", "Connection", "Expect", "Upgrade":
			return false
		}
		for i := range len(name) {
			if c := name[i] | 0x20; (c < 'a' || c > 'z') && (name[i] < '0' || name[i] > '9') && name[i] != '-' {
				return false
			}
		}
		for _, value := range values {
			for i := range len(value) {
				if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
					return false
				}
			}
		}
	}
	return true
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c > unicode.MaxASCII })
}
