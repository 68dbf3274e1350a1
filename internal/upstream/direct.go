package upstream

// The direct way: GET and HEAD without a body, most of all requests, are sent in the caller's goroutine. http.Transport has two
// more goroutines for each connection and hands each request to them, which took a fifth of the CPU time of a forwarded request.

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"
)

// dialect is the part of the head that all requests to one upstream share.
type dialect struct {
	path string // precedes the target
	host string // from after the target up to the first field
}

// straight sends requests over the direct way's connections to one upstream. settings configure them.
type straight struct {
	settings *http.Transport
	dialect  dialect
	addr     string
	tls      *tls.Config // nil without TLS
	idle     connPool
	heads    sync.Pool // of *[]byte
}

// newStraight returns nil if the upstream's name needs IDNA, which net/http supports.
func newStraight(base *url.URL, settings *http.Transport) *straight {
	if strings.ContainsFunc(base.Host, func(c rune) bool { return c > unicode.MaxASCII || c == '%' }) {
		return nil
	}
	t := &straight{
		settings: settings, dialect: dialect{basePath(base), " HTTP/1.1\r\nHost: " + base.Host + "\r\n"},
		idle:  connPool{most: settings.MaxIdleConnsPerHost, limit: settings.IdleConnTimeout, age: maxConnectionAge},
		heads: sync.Pool{New: func() any { return new([]byte) }},
	}
	port := base.Port()
	switch {
	case base.Scheme == "https":
		t.tls = settings.TLSClientConfig.Clone()
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

// direct reports whether the request may go the direct way.
func direct(r *Request) bool {
	return (r.Method == http.MethodGet || r.Method == http.MethodHead) && (r.Body == nil || r.Body == http.NoBody)
}

// send sends the request and fills a. If a connection that had been idle ends before any byte of an answer, the request is sent
// again, once and over a new connection. The error is errLate if timeout is over; so is that of a Read of the answer's body.
func (t *straight) send(ctx context.Context, r *Request, timeout time.Duration, a *directAnswer) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	head := t.heads.Get().(*[]byte)
	defer t.putHead(head)
	*head = t.dialect.appendHead((*head)[:0], r)
	limits := limits{deadline: a.call.began.Add(timeout), slack: min(timeout/64, 100*time.Millisecond), header: t.settings.MaxResponseHeaderBytes}
	for c := t.idle.take(a.call.began); c != nil; c = t.idle.take(a.call.began) {
		answered, err := c.exchange(ctx, r.Method, *head, limits, &t.idle, a)
		if err == nil || answered || ctx.Err() != nil || errors.Is(err, errLate) {
			return err
		}
		if !errors.Is(err, errUnasked) {
			t.idle.drop() // the others are no better
			break
		}
	}
	c, err := t.dial(ctx, limits.deadline)
	if err != nil {
		return err
	}
	_, err = c.exchange(ctx, r.Method, *head, limits, &t.idle, a)
	return err
}

// putHead keeps a buffer for the next request, unless it is too large.
func (t *straight) putHead(head *[]byte) {
	if cap(*head) <= 16<<10 {
		t.heads.Put(head)
	}
}

// appendHead appends the head of a sendable request, byte for byte as net/http would write it.
func (d *dialect) appendHead(b []byte, r *Request) []byte {
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, d.path...)
	b = append(b, r.Target...)
	b = append(b, d.host...)
	for i := range r.Fields {
		f := &r.Fields[i]
		if f.Name == "User-Agent" && f.Value == "" {
			continue
		}
		b = append(b, f.Name...)
		b = append(b, ": "...)
		b = append(b, textproto.TrimString(f.Value)...)
		b = append(b, "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// isPrintable reports whether s is ASCII without spaces or control characters.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// isLine reports whether value has no control character but tabs, so that nothing in it can end a line. It checks eight bytes at
// a time, because tokens are long.
func isLine(value string) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	for ; len(value) >= 8; value = value[8:] {
		x := uint64(value[0]) | uint64(value[1])<<8 | uint64(value[2])<<16 | uint64(value[3])<<24 |
			uint64(value[4])<<32 | uint64(value[5])<<40 | uint64(value[6])<<48 | uint64(value[7])<<56
		del := x ^ 0x7f*each
		// High bits mark bytes below 0x20, and 0x7f. A marked byte may be a tab, which is allowed.
		if ((x-0x20*each)&^x|(del-each)&^del)&high != 0 && !isShortLine(value[:8]) {
			return false
		}
	}
	return isShortLine(value)
}

func isShortLine(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// dial makes a new connection. The error is errLate if the deadline passes.
func (t *straight) dial(ctx context.Context, deadline time.Time) (*upstreamConn, error) {
	limited, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	c, err := t.connect(limited)
	if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
		return c, err
	}
	if callers, ok := ctx.Deadline(); ok && callers.Before(deadline) {
		return nil, err // package net has its own timer, which may fire before the context's
	}
	return nil, errLate
}

// connect dials and does the TLS handshake.
func (t *straight) connect(ctx context.Context) (*upstreamConn, error) {
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
		if limited.Err() != nil { // TLSHandshakeTimeout; it must not look like the caller's deadline
			err = &net.OpError{Op: "handshake", Net: "tcp", Addr: conn.RemoteAddr(), Err: os.ErrDeadlineExceeded}
		}
		return nil, err
	}
	return newUpstreamConn(encrypted, s, t.idle.until()), nil
}
