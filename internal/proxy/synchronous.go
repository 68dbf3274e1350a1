package proxy

// This file sends the bulk of all requests, bodiless GET and HEAD, in the goroutine that they came in. http.Transport has
// two more for each connection and hands every request from one to the other, which was a fifth of the CPU of a forward.

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"strings"
	"sync"
	"unicode"

	"roomgate/internal/bridge"
)

// transport is what both kinds are.
type transport interface {
	http.RoundTripper
	CloseIdleConnections()
}

// newTransport returns the transport for the upstream at base. It repeats a request once at most.
func newTransport(base *url.URL, synchronous bool) transport {
	t := repeatOnce(bridge.NewTransport())
	if !synchronous || !isASCII(base.Host) { // other names want IDNA
		return t
	}
	return newSynchronous(base, t)
}

// synchronous is a transport for one upstream. It takes its settings from next, and leaves to it all that needs more than
// writing a head and reading an answer. Its context bounds a request from the dialling to the end of the answer's body.
type synchronous struct {
	next         *http.Transport
	scheme, host string      // of the requests taken
	addr         string      // of the host
	tls          *tls.Config // nil without TLS
	idle         connPool
	heads        sync.Pool // of *bytes.Buffer
}

// newSynchronous returns one over next for the requests to base's scheme and host.
func newSynchronous(base *url.URL, next *http.Transport) *synchronous {
	t := &synchronous{
		next: next, scheme: base.Scheme, host: base.Host,
		idle:  connPool{most: next.MaxIdleConnsPerHost, limit: next.IdleConnTimeout, age: bridge.MaxConnectionAge},
		heads: sync.Pool{New: func() any { return new(bytes.Buffer) }},
	}
	port := base.Port()
	switch {
	case base.Scheme == "https":
		t.tls = next.TLSClientConfig.Clone()
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

// RoundTrip implements http.RoundTripper. A request that got no byte of an answer over a connection that had been idle is
// sent again, once and over a new one.
func (t *synchronous) RoundTrip(r *http.Request) (*http.Response, error) {
	if !t.takes(r) {
		return t.next.RoundTrip(r)
	}
	ctx := r.Context()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	head := t.heads.Get().(*bytes.Buffer)
	defer t.putHead(head)
	if err := r.Write(head); err != nil {
		return nil, err
	}
	limit := t.next.MaxResponseHeaderBytes
	if c := t.idle.take(); c != nil {
		answer, answered, err := c.roundTrip(r, head.Bytes(), limit, t.idle.put)
		if err == nil || answered || ctx.Err() != nil {
			return answer, err
		}
		t.idle.drop() // the others are no better
	}
	c, err := t.dial(ctx)
	if err != nil {
		return nil, orCause(ctx, err)
	}
	answer, _, err := c.roundTrip(r, head.Bytes(), limit, t.idle.put)
	return answer, err
}

// putHead keeps a buffer for the next request, unless it is a giant.
func (t *synchronous) putHead(head *bytes.Buffer) {
	if head.Cap() <= 16<<10 {
		head.Reset()
		t.heads.Put(head)
	}
}

// dial makes a new connection.
func (t *synchronous) dial(ctx context.Context) (*upstreamConn, error) {
	conn, err := t.next.DialContext(ctx, "tcp", t.addr)
	if err != nil {
		return nil, err
	}
	s := newSocket(conn)
	if t.tls == nil {
		return newUpstreamConn(s, s, t.idle.until()), nil
	}
	encrypted := tls.Client(s, t.tls)
	limited, cancel := context.WithTimeout(ctx, t.next.TLSHandshakeTimeout)
	defer cancel()
	if err := encrypted.HandshakeContext(limited); err != nil {
		_ = conn.Close()
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
		len(r.TransferEncoding) == 0 && len(r.Trailer) == 0 && isPlain(r.Header) &&
		!isWatched(httptrace.ContextClientTrace(r.Context()))
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

// isWatched reports whether somebody wants to be told of what only http.Transport tells.
func isWatched(trace *httptrace.ClientTrace) bool {
	return trace != nil && (trace.GetConn != nil || trace.GotConn != nil || trace.PutIdleConn != nil ||
		trace.GotFirstResponseByte != nil || trace.TLSHandshakeStart != nil || trace.TLSHandshakeDone != nil ||
		trace.WroteHeaderField != nil || trace.WroteHeaders != nil || trace.WroteRequest != nil)
}
