package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"
)

// upstreamConn is a connection without a goroutine of its own. One call at a time uses it; between calls it belongs to the pool.
// It parses plain answers itself. net/http's reader parses all others, so that both ways read answers alike.
type upstreamConn struct {
	conn     net.Conn // TLS, or socket itself
	socket   *socket
	in       *bufio.Reader // reads through upstreamConn.Read
	unread   int64         // bytes that may still be read
	left     time.Duration // time left for the body; 0 while the header is read: bound has set its deadline
	deadline time.Time     // the deadline that bound has set; zero: none, or another was set since
	late     bool          // the last Read hit its deadline
	abort    func()        // closes the socket; may be called at any time
	idle     time.Time     // since when it has been idle; zero: not used yet
	until    time.Time     // when it is too old to be reused
	last     plainHead     // of the last plain answer
	one      [1]byte       // quiet's buffer
	first    []byte        // the head that the next Read writes before it reads; nil: none
}

// newUpstreamConn takes over conn, which is either s or TLS on s.
func newUpstreamConn(conn net.Conn, s *socket, until time.Time) *upstreamConn {
	// abort closes the socket, not TLS. TLS would send a close alert first, which can block, and the upstream's reply to it looks
	// like the end of an answer.
	c := &upstreamConn{conn: conn, socket: s, until: until, abort: func() { _ = s.Close() }}
	c.in = bufio.NewReader(c) // 4096 bytes, like http.Transport's: a trailer must fit into it
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
		began, c.deadline = time.Now(), time.Time{}
		_ = c.conn.SetReadDeadline(began.Add(c.left)) // if it fails, so does Read
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

// bound sets the deadline for a header, up to limits.slack late. So a busy connection needs few of these calls.
func (c *upstreamConn) bound(limits limits) {
	if late := c.deadline.Sub(limits.deadline); late < 0 || late > limits.slack {
		c.deadline = limits.deadline.Add(limits.slack)
		_ = c.conn.SetDeadline(c.deadline) // if it fails, so does Write
	}
}

// close closes a connection that is not in use.
func (c *upstreamConn) close() { _ = c.conn.Close() }

// looksFirst reports whether converse itself checks that the connection is quiet before it writes. With TLS it can't.
func (c *upstreamConn) looksFirst() bool { return c.conn == net.Conn(c.socket) }

// quiet reports whether nothing unrequested, not even the end, has come over the idle connection. It doesn't block. With TLS it
// consumes session tickets and key updates, which a server may send at any time.
func (c *upstreamConn) quiet() bool {
	c.socket.probing = true
	n, err := c.conn.Read(c.one[:])
	c.socket.probing = false
	return n == 0 && errors.Is(err, errNothing)
}

// directAnswer holds an answer and everything it needs in one allocation.
type directAnswer struct {
	Answer
	call  call
	came  time.Time // when the header was complete, or the call failed
	body  connBody
	exact exactBody // a plain answer's body
	few   [6]Field  // room for a plain answer's first fields
	text  []byte    // room for Text
}

// exchange sends a request and fills a with its answer. Once the answer has been read whole, the connection returns to idle if it
// can take another request; otherwise it is closed. answered reports whether any byte of an answer came.
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
	a.came = time.Now()
	if a.Body == &a.exact && int64(c.in.Buffered()) >= a.exact.left {
		a.text = slices.Grow(a.text[:0], int(a.exact.left))
		a.Text, a.Body = a.text[:a.exact.left], http.NoBody
		_, _ = io.ReadFull(c.in, a.Text) // it is buffered
	}
	a.body = connBody{body: a.Body, conn: c, stop: stop, idle: idle, alive: alive}
	if a.Body == http.NoBody {
		_ = a.body.end(io.EOF, a.came)
	} else {
		c.left = max(1, limits.deadline.Sub(a.came))
		a.Body = &a.body
	}
	return true, nil
}

// afterFunc is context.AfterFunc, with two shortcuts: stop is nil if the context never ends, and a context with an AfterFunc
// method of its own is called directly.
func afterFunc(ctx context.Context, f func()) (stop func() bool) {
	if own, ok := ctx.(interface{ AfterFunc(f func()) func() bool }); ok {
		return own.AfterFunc(f)
	}
	if ctx.Done() == nil {
		return nil
	}
	return context.AfterFunc(ctx, f)
}

// cause returns errLate if a deadline has passed, whatever net/http's reader made of it, and otherwise err.
func (c *upstreamConn) cause(err error) error {
	if c.late || errors.Is(err, os.ErrDeadlineExceeded) {
		return errLate
	}
	return err
}

// limits apply to one answer.
type limits struct {
	deadline time.Time     // when the header must be complete
	slack    time.Duration // how late the deadline may be noticed
	header   int64         // maximum size of the header, in bytes
}

// converse writes the head and reads answers until one is final. 101 counts as final, because HTTP ends there. alive reports
// whether the connection may take another request. errUnasked: the connection wasn't quiet, and nothing was written.
func (c *upstreamConn) converse(method string, head []byte, limits limits, a *directAnswer) (alive, answered bool, _ error) {
	c.left = 0
	c.bound(limits)
	if !c.idle.IsZero() && c.looksFirst() {
		c.first = head
	} else if _, err := c.conn.Write(head); err != nil {
		return false, false, err
	}
	c.unread = limits.header                // one limit for all answers together
	if _, err := c.in.Peek(1); err != nil { // the first Read
		return false, false, err
	}
	for {
		alive := method == http.MethodGet && readPlain(c.in, &c.last, a)
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

// connBody is an answer's body. It holds the connection until it ends. Close may be called during a Read.
type connBody struct {
	body  io.Reader
	conn  *upstreamConn
	stop  func() bool // from afterFunc
	idle  *connPool
	alive bool // the header allows another request

	mu  sync.Mutex
	err error // what ended the body; nil: not ended
}

// Read implements io.Reader.
func (b *connBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	err := b.err
	b.mu.Unlock()
	if err != nil {
		return 0, err // another call may have the connection by now
	}
	n, err := b.body.Read(p)
	if err != nil {
		err = b.end(err, time.Now())
	}
	return n, err
}

// Close implements io.Closer. If the body hasn't been read whole, the connection is closed.
func (b *connBody) Close() error {
	_ = b.end(errBodyClosed, time.Now())
	b.mu.Lock()
	b.err = errBodyClosed
	b.mu.Unlock()
	return nil
}

// end gives the connection up, once, and returns the error that the body ended with.
func (b *connBody) end(err error, now time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	whole := err == io.EOF            //nolint:errorlint // a wrapped io.EOF is no end
	free := b.stop == nil || b.stop() // false: the context has ended, and closes the connection
	switch {
	case whole && free && b.alive && b.conn.in.Buffered() == 0:
		b.idle.put(b.conn, now)
	case whole && free:
		b.conn.close()
	default:
		b.conn.abort()
	}
	if !whole && err != errBodyClosed { //nolint:errorlint // our own, never wrapped
		err = b.conn.cause(err) // safe: only the reader still has the connection
	}
	b.err = err
	return err
}
