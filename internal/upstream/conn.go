package upstream

// This file is one connection that has no goroutine of its own, used by one at a time. What isn't plain in an answer is read by
// net/http's own reader, so that both ways read alike.

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// upstreamConn is a connection with its buffer. Between two requests it belongs to the pool.
type upstreamConn struct {
	conn   net.Conn // TLS, or socket itself
	socket *socket
	in     *bufio.Reader // on this connection's Read
	unread int64         // how much more may be read
	left   time.Duration // the upstream's time for the rest of the answer; 0 while it sends the header: a deadline is set
	late   bool          // a Read ran into its deadline
	abort  func()        // closes the socket; may be called at any time
	idle   time.Time     // since when it has been
	until  time.Time     // for how long it may be used
	one    [1]byte       // what quiet reads into
	first  []byte        // what the next Read writes before it reads
}

// newUpstreamConn takes over conn, which is TLS on s or s itself.
func newUpstreamConn(conn net.Conn, s *socket, until time.Time) *upstreamConn {
	// Not TLS: it would take its leave first, which can wait, and the upstream's reply to that looks like an answer's end.
	c := &upstreamConn{conn: conn, socket: s, until: until, abort: func() { _ = s.Close() }}
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
	var began time.Time
	if c.left > 0 {
		began = time.Now()
		_ = c.conn.SetReadDeadline(began.Add(c.left)) // closed: Read says so
	}
	var n int
	var err error
	if c.first == nil {
		n, err = c.conn.Read(p)
	} else {
		n, err = c.socket.exchange(c.first, p)
		c.first = nil
	}
	if c.left > 0 {
		c.left = max(1, c.left-time.Since(began))
	}
	c.late = errors.Is(err, os.ErrDeadlineExceeded)
	c.unread -= int64(n)
	return n, err
}

// close closes a connection that is not in use.
func (c *upstreamConn) close() { _ = c.conn.Close() }

// looksFirst reports whether converse finds out by itself that an idle connection isn't quiet: with TLS it doesn't.
func (c *upstreamConn) looksFirst() bool { return c.conn == net.Conn(c.socket) }

// quiet reports whether nothing has come over the idle connection that no request has asked for, not even its end. It
// doesn't wait. With TLS it takes in what belongs to TLS alone: tickets and new keys are sent when it suits the server.
func (c *upstreamConn) quiet() bool {
	c.socket.probing = true
	n, err := c.conn.Read(c.one[:])
	c.socket.probing = false
	return n == 0 && errors.Is(err, errNothing)
}

// directAnswer is an answer with all that belongs to it, in one allocation.
type directAnswer struct {
	Answer
	call  call
	body  connBody
	exact exactBody // of a plain answer
	few   [6]Field  // holds a plain answer's, as long as they are few
}

// exchange sends a request and fills a with its answer. The connection goes to idle as soon as the answer has been read whole
// and another may follow, or it is closed. answered tells whether any byte of an answer came.
func (c *upstreamConn) exchange(
	ctx context.Context, method string, head []byte, limits limits, idle *connPool, a *directAnswer,
) (answered bool, _ error) {
	stop := afterFunc(ctx, c.abort)
	alive, answered, err := c.converse(method, head, limits, a)
	if err != nil {
		if stop != nil {
			stop()
		}
		c.abort()
		return answered, c.cause(err)
	}
	if a.Body == &a.exact && int64(c.in.Buffered()) >= a.exact.left {
		a.Text, a.Body = make([]byte, a.exact.left), http.NoBody
		_, _ = io.ReadFull(c.in, a.Text) // it is buffered
	}
	a.body = connBody{body: a.Body, conn: c, stop: stop, idle: idle, alive: alive}
	if a.Body == http.NoBody {
		_ = a.body.end(io.EOF)
	} else {
		c.left = max(1, time.Until(limits.deadline))
		a.Body = &a.body
	}
	return true, nil
}

// afterFunc is context.AfterFunc, which is nil for a context that never ends, and cheap for one that has a way of its own.
func afterFunc(ctx context.Context, f func()) (stop func() bool) {
	if own, ok := ctx.(interface{ AfterFunc(f func()) func() bool }); ok {
		return own.AfterFunc(f)
	}
	if ctx.Done() == nil {
		return nil
	}
	return context.AfterFunc(ctx, f)
}

// cause is errLate where a deadline has passed, whatever net/http's reader has made of that.
func (c *upstreamConn) cause(err error) error {
	if c.late || errors.Is(err, os.ErrDeadlineExceeded) {
		return errLate
	}
	return err
}

// limits are those of one answer.
type limits struct {
	deadline time.Time // for its header
	header   int64     // how long that may be, in bytes
}

// converse writes the head and reads answers up to the first that is not informational. 101 is one: it ends HTTP here. alive tells
// whether another request may follow. errUnasked: nothing was written, for the connection wasn't quiet.
func (c *upstreamConn) converse(method string, head []byte, limits limits, a *directAnswer) (alive, answered bool, _ error) {
	c.left = 0
	_ = c.conn.SetDeadline(limits.deadline) // closed: Write says so
	if !c.idle.IsZero() && c.looksFirst() {
		c.first = head
	} else if _, err := c.conn.Write(head); err != nil {
		return false, false, err
	}
	c.unread = limits.header                // all answers share it
	if _, err := c.in.Peek(1); err != nil { // the first Read
		return false, false, err
	}
	for {
		alive := method == http.MethodGet && readPlain(c.in, a)
		if !alive {
			answer, err := http.ReadResponse(c.in, &http.Request{Method: method}) //nolint:bodyclose // the caller of Ask closes it
			if err != nil {
				return false, true, err
			}
			a.Status, a.Fields, a.Length, a.Body = answer.StatusCode, fieldsOf(answer.Header), answer.ContentLength, answer.Body
			alive = !answer.Close && answer.StatusCode >= 200
		}
		if a.Status < 100 || a.Status > 199 || a.Status == http.StatusSwitchingProtocols {
			c.unread = math.MaxInt64
			return alive, true, nil
		}
	}
}

// connBody is an answer's body, which has the connection until its end. Close may be called while a Read is under way.
type connBody struct {
	body  io.Reader
	conn  *upstreamConn
	stop  func() bool // of the context's hold on the connection; nil: it has none
	idle  *connPool
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
	whole := err == io.EOF            //nolint:errorlint // io.Reader's own sentinel: a wrapped one is no end
	free := b.stop == nil || b.stop() // false: the context has ended, and the connection is being closed
	switch {
	case whole && free && b.alive && b.conn.in.Buffered() == 0:
		b.idle.put(b.conn)
	case whole && free:
		b.conn.close()
	default:
		b.conn.abort()
	}
	if !whole && err != errBodyClosed { //nolint:errorlint // our own, never wrapped
		err = b.conn.cause(err) // the reader's: nobody else has the connection
	}
	b.err = err
	return err
}
