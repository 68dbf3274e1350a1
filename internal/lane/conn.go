package lane

// This file is the connection: which bytes the server gets, and when.

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// maxKept bounds what one read may bring of the next request, in bytes.
const maxKept = 16 << 10

// Conn is a connection that hands its server one request at a time. Like the server's own reader it is used by one reading
// goroutine at a time; deadlines, Write and Close may come from others meanwhile.
type Conn struct {
	net.Conn
	options *Options

	due    bool // the next byte begins a request
	head   head
	body   body
	broken error // nothing is read any more; nil: all is well

	// kept[read:own] is of the request that the server is reading, kept[own:] has come after it. Nil: nothing is kept.
	kept      []byte
	read, own int

	mu      sync.Mutex
	woken   sync.Cond // of mu: expired or closed has changed
	expired bool      // guarded by mu: the read deadline was set to a time that has passed
	closed  bool      // guarded by mu
}

func newConn(inner net.Conn, o *Options) *Conn {
	c := &Conn{Conn: inner, options: o, due: true}
	c.woken.L = &c.mu
	return c
}

// NetConn returns the connection beneath, as tls.Conn's does.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// next is called when the server has answered a request.
func (c *Conn) next() {
	if c.read != c.own || !c.body.done() {
		c.broken = io.ErrUnexpectedEOF // it didn't read to the end: whatever follows is no request
		return
	}
	c.due = true
}

// Read implements net.Conn, for one http.Server. The package doc says what it does when.
func (c *Conn) Read(p []byte) (int, error) {
	switch {
	case len(p) == 0:
		return 0, nil
	case c.read < c.own:
		return c.takeKept(p), nil
	case c.broken != nil:
		return 0, c.broken
	case c.due:
		return c.readHead(p[:min(len(p), maxKept)])
	case !c.body.done():
		return c.readBody(p[:min(len(p), maxKept)])
	}
	return 0, c.watch(p)
}

// readHead waits for a head, and hands it over with what has come of its body. It reads into p as long as p has room.
func (c *Conn) readHead(p []byte) (int, error) {
	rest := c.kept[c.own:]
	in, n := p, len(rest)
	if n > len(p) {
		in = rest
	} else {
		copy(p, rest)
		c.keep(nil)
	}
	c.head = head{limit: c.options.MaxHeaderBytes}
	timed := false
	for {
		end, wrong := c.head.scan(in[:n])
		if wrong == nil && end > 0 {
			c.body = c.head.body()
			end += c.body.measure(in[end:n])
			wrong = c.body.wrong
		}
		if wrong != nil {
			return 0, c.refuse(wrong, in[:n])
		}
		if end > 0 {
			c.due = false
			return c.handOver(p, in[:n], c.head.start, end), nil
		}
		if n > c.head.start && !timed && c.options.HeaderTimeout > 0 {
			timed = true
			_ = c.Conn.SetReadDeadline(time.Now().Add(c.options.HeaderTimeout)) // where that fails, Read does
		}
		if n == len(in) { // in grows to twice the limit at most: a longer head is refused
			in = append(in[:n:n], make([]byte, max(n, 512))...)
		}
		m, err := c.Conn.Read(in[n:])
		if n += m; m == 0 && err != nil {
			c.broken = err
			return 0, err
		}
	}
}

// handOver gives the server in[start:end], as much of it as p takes, and keeps the rest of in. The two may share memory.
func (c *Conn) handOver(p, in []byte, start, end int) int {
	if &in[0] != &p[0] {
		c.kept, c.read, c.own = in, start, end
		return c.takeKept(p)
	}
	c.keep(in[end:])
	if start > 0 {
		copy(p, in[start:end])
	}
	return end - start
}

// takeKept gives the server kept bytes of its request.
func (c *Conn) takeKept(p []byte) int {
	n := copy(p, c.kept[c.read:c.own])
	if c.read += n; c.read == len(c.kept) {
		c.keep(nil)
	}
	return n
}

// keep keeps a copy of rest, which belongs to the next request, and nothing else.
func (c *Conn) keep(rest []byte) {
	c.kept, c.read, c.own = append([]byte(nil), rest...), 0, 0
}

// readBody hands over what comes of a body. Nothing is kept before the body's end.
func (c *Conn) readBody(p []byte) (int, error) {
	if c.body.wrong != nil { // handed over up to there
		c.broken = io.ErrUnexpectedEOF
		return copy(p, malformed), nil
	}
	if c.body.state == length {
		p = p[:min(int64(len(p)), c.body.left)]
	}
	n, err := c.Conn.Read(p)
	end := c.body.measure(p[:n])
	switch {
	case end < n && c.body.wrong == nil:
		c.keep(p[end:n])
	case end == 0 && n > 0:
		return c.readBody(p)
	}
	return end, err
}

// watch blocks while a handler runs, until the client leaves or the server wants to go on.
func (c *Conn) watch(p []byte) error {
	if len(c.kept) == 0 {
		n, err := c.Conn.Read(p[:1])
		if n == 0 {
			return err
		}
		c.keep(p[:n])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.expired && !c.closed {
		c.woken.Wait()
	}
	return os.ErrDeadlineExceeded
}

// SetReadDeadline implements net.Conn. It wakes watch by a time in the past only: that is how the server wakes it.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.expired = !t.IsZero() && !t.After(time.Now())
	c.woken.Broadcast()
	c.mu.Unlock()
	return c.Conn.SetReadDeadline(t)
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.woken.Broadcast()
	c.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite tells the client that nothing more comes, where the connection beneath can. The server calls it before it closes a
// connection on which the client may still be sending.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
