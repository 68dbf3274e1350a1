package proxy

// This file is one connection to an upstream, used by one goroutine at a time: it writes a request's head and reads the
// answer by the rules of net/http, which both transports so have in common.

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync"
	"time"
)

// errBodyClosed is what a Read gets that comes after Close, or is interrupted by it.
var errBodyClosed = errors.New("read on closed answer")

// upstreamConn is a connection with its buffer. Between two requests it belongs to the pool.
type upstreamConn struct {
	conn   net.Conn // TLS, or socket itself
	socket *socket
	tls    *tls.ConnectionState // nil without TLS
	in     *bufio.Reader        // on this connection's Read
	unread int64                // how much more may be read
	abort  func()               // closes the socket; may be called at any time
	idle   time.Time            // since when it has been
	until  time.Time            // for how long it may be used
	one    [1]byte              // what quiet reads into
}

// newUpstreamConn takes over conn, which is TLS on s or s itself.
func newUpstreamConn(conn net.Conn, s *socket, until time.Time) *upstreamConn {
	// Not TLS: it would take its leave first, which can wait, and the upstream's reply to that looks like an answer's end.
	c := &upstreamConn{conn: conn, socket: s, until: until, abort: func() { _ = s.Close() }}
	if encrypted, ok := conn.(*tls.Conn); ok {
		state := encrypted.ConnectionState()
		c.tls = &state
	}
	c.in = bufio.NewReader(c) // 4096 bytes, as http.Transport's: a trailer has to fit into it
	return c
}

// Read implements io.Reader for the buffer.
func (c *upstreamConn) Read(p []byte) (int, error) {
	if c.unread <= 0 {
		return 0, errors.New("upstream's header is too long")
	}
	if int64(len(p)) > c.unread {
		p = p[:c.unread]
	}
	n, err := c.conn.Read(p)
	c.unread -= int64(n)
	return n, err
}

// close closes a connection that is not in use.
func (c *upstreamConn) close() { _ = c.conn.Close() }

// quiet reports whether nothing has come over the idle connection that no request has asked for, not even its end. It
// doesn't wait. With TLS it takes in what belongs to TLS alone: tickets and new keys are sent when it suits the server.
func (c *upstreamConn) quiet() bool {
	c.socket.probing = true
	n, err := c.conn.Read(c.one[:])
	c.socket.probing = false
	return n == 0 && errors.Is(err, errNothing)
}

// roundTrip sends a request and returns its answer. The connection goes to done as soon as the answer has been read whole
// and another may follow, or it is closed. answered tells whether any byte of an answer came.
func (c *upstreamConn) roundTrip(
	r *http.Request, head []byte, limit int64, done func(*upstreamConn),
) (_ *http.Response, answered bool, _ error) {
	ctx := r.Context()
	// The context's deadline needs no other timer than its own.
	stop := context.AfterFunc(ctx, c.abort)
	answer, answered, err := c.exchange(r, head, limit)
	if err != nil {
		stop()
		c.abort()
		return nil, answered, orCause(ctx, err)
	}
	answer.TLS = c.tls
	body := &connBody{
		body: answer.Body, conn: c, ctx: ctx, stop: stop, done: done, alive: !answer.Close && answer.StatusCode >= 200,
	}
	if answer.Body == http.NoBody {
		_ = body.end(io.EOF)
	} else {
		answer.Body = body
	}
	return answer, true, nil
}

// orCause returns why ctx has ended where it has, which is then what has caused err, and err otherwise.
func orCause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// exchange writes the head and reads answers up to the first that is not informational. 101 is one: it ends HTTP here.
func (c *upstreamConn) exchange(r *http.Request, head []byte, limit int64) (_ *http.Response, answered bool, _ error) {
	if _, err := c.conn.Write(head); err != nil {
		return nil, false, err
	}
	c.unread = limit
	if _, err := c.in.Peek(1); err != nil {
		return nil, false, err
	}
	for {
		answer, err := http.ReadResponse(c.in, r)
		if err != nil {
			return nil, true, err
		}
		if answer.StatusCode < 100 || answer.StatusCode > 199 || answer.StatusCode == http.StatusSwitchingProtocols {
			c.unread = math.MaxInt64
			return answer, true, nil
		}
		trace := httptrace.ContextClientTrace(r.Context())
		if trace == nil || trace.Got1xxResponse == nil {
			continue // all of them share the limit
		}
		if err := trace.Got1xxResponse(answer.StatusCode, textproto.MIMEHeader(answer.Header)); err != nil {
			return nil, true, fmt.Errorf("informational answer: %w", err)
		}
		c.unread = limit
	}
}

// connBody is an answer's body, which has the connection until its end. Close may be called while a Read is under way.
type connBody struct {
	body  io.Reader
	conn  *upstreamConn
	ctx   context.Context // the request's, which bounds the body too
	stop  func() bool     // of the context's hold on the connection
	done  func(*upstreamConn)
	alive bool // as far as its header says, another request may follow

	mu  sync.Mutex
	err error // what ended it, nil until then
}

// Read implements io.Reader.
func (b *connBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	err := b.err
	b.mu.Unlock()
	if err != nil {
		return 0, err // the connection may be another's by now
	}
	n, err := b.body.Read(p)
	if err != nil {
		err = b.end(err)
	}
	return n, err
}

// Close implements io.Closer. What hasn't been read by now costs the connection.
func (b *connBody) Close() error {
	_ = b.end(errBodyClosed)
	b.mu.Lock()
	b.err = errBodyClosed
	b.mu.Unlock()
	return nil
}

// end parts from the connection, once, and returns what the body ended with.
func (b *connBody) end(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	whole := err == io.EOF //nolint:errorlint // io.Reader's own sentinel: a wrapped one is no end
	free := b.stop()       // false: the context has ended, and the connection is being closed
	switch {
	case whole && free && b.alive && b.conn.in.Buffered() == 0:
		b.done(b.conn)
	case whole && free:
		b.conn.close()
	default:
		b.conn.abort()
	}
	if !whole && err != errBodyClosed { //nolint:errorlint // our own, never wrapped
		err = orCause(b.ctx, err)
	}
	b.err = err
	return err
}
