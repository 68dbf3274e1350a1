package lane

// This file is the connection: which bytes the server gets, and when.

import (
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// maxKept bounds what one read may bring of the next request, in bytes.
const maxKept = 16 << 10

// Conn is a connection that hands its server one request at a time. Like the server's own reader it is used by one reading
// goroutine at a time; deadlines, Write and Close may come from others meanwhile.
type Conn struct {
	net.Conn
	options   *Options
	conns     *conns
	peer      netip.AddrPort
	encrypted bool

	due    bool // the next byte begins a request
	head   head
	body   body
	broken error // nothing is read any more; nil: all is well

	// kept[read:own] is of the request that the server is reading, kept[own:] has come after it. Nil: nothing is kept.
	kept      []byte
	read, own int

	// What the lane does when it answers: see watch.go.
	state     atomic.Int64
	attention atomic.Pointer[attention]
	counted   bool // among conns: the lane has answered on it
	watched   bool // attention is to be ended
	leaving   bool // to be closed after the answer

	plain   *scratch // of the head that is being read; nil: none has begun, or nobody answers plain requests
	untimed bool     // the server's deadlines were taken away since it called Read
	first   bool     // the server hasn't got its first request yet, and has set deadlines for it

	mu       sync.Mutex
	woken    sync.Cond     // of mu: expired or closed has changed
	expired  bool          // guarded by mu: the read deadline was set to a time that has passed
	closed   bool          // guarded by mu
	onLeave  func()        // guarded by mu; nil: nobody wants to know
	deadline time.Time     // guarded by mu: for reading, as the server has set it
	lag      time.Duration // guarded by mu: what is added to deadlines for the first request
}

func newConn(inner net.Conn, all *conns) *Conn {
	c := &Conn{Conn: inner, options: all.options, conns: all, due: true, first: true}
	c.woken.L = &c.mu
	if tcp, ok := inner.RemoteAddr().(*net.TCPAddr); ok {
		c.peer = tcp.AddrPort()
	}
	_, c.encrypted = inner.(*tls.Conn)
	return c
}

// NetConn returns the connection beneath, as tls.Conn's does.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// next is called when the server has answered a request.
func (c *Conn) next() {
	if c.read != c.own || !c.body.done() {
		c.broken = io.EOF // it didn't read to the end: whatever follows is no request
		return
	}
	c.due, c.first = true, false
	c.mu.Lock()
	c.lag = 0
	c.mu.Unlock()
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

// readHead waits for a head, and answers it or hands it over with as much of its body as has come. It reads into p as long as p
// has room.
func (c *Conn) readHead(p []byte) (int, error) {
	rest := c.kept[c.own:]
	in, n := p, len(rest)
	if n > len(p) {
		in = rest
	} else {
		copy(p, rest)
		c.keep(nil)
	}
	var called time.Time
	if c.first {
		called = time.Now()
	}
	c.untimed = false
	for {
		var end int
		var err error
		if in, n, end, err = c.awaitHead(in, n); err == nil && c.plain == nil {
			c.due = false
			return c.handOver(p, in[:n], c.head.start, end), nil
		}
		var next []byte
		reason := ""
		if err == nil {
			reason, next, err = c.judgePlain(in, end)
		}
		c.unlend()
		if err != nil {
			c.broken = err
			return 0, err
		}
		if reason != "" {
			c.due = false
			c.restoreDeadline(called)
			in = append(in[:n:n], next...)
			return c.handOver(p, in, c.head.start, end), nil
		}
		rest := append(in[end:n:n], next...)
		if in = p; len(rest) > len(p) {
			in = make([]byte, len(rest))
		}
		n = copy(in, rest)
	}
}

// awaitHead reads until a whole head is in in[:n], and says where it ends, with what has come of its body. It may return a
// longer in.
func (c *Conn) awaitHead(in []byte, n int) (grown []byte, read, end int, err error) {
	c.head = head{limit: c.options.MaxHeaderBytes}
	timed := false
	for {
		if n > 0 && c.plain == nil && c.options.Answer != nil {
			c.plain = scratches.Get().(*scratch)
			c.head.plain = &c.plain.lines
		}
		end, wrong := c.head.scan(in[:n])
		if wrong == nil && end > 0 {
			c.body = c.head.body()
			end += c.body.measure(in[end:n])
			wrong = c.body.wrong
		}
		if wrong != nil {
			c.enter(serving)
			return in, n, 0, c.refuse(wrong, in[:n])
		}
		if end > 0 {
			return in, n, end, nil
		}
		if n > c.head.start && !timed && c.options.HeaderTimeout > 0 {
			timed, c.untimed = true, false
			c.enter(serving)
			_ = c.Conn.SetReadDeadline(time.Now().Add(c.options.HeaderTimeout)) // where that fails, Read does
		}
		if n == len(in) { // in grows to twice the limit at most: a longer head is refused
			in = append(in[:n:n], make([]byte, max(n, 512))...)
		}
		m, err := c.Conn.Read(in[n:])
		if n += m; m == 0 && err != nil {
			return in, n, 0, err
		}
	}
}

// judgePlain answers the request whose head ends at end, or returns why the server gets it. next has come of the next request. The
// error ends the connection.
func (c *Conn) judgePlain(in []byte, end int) (reason string, next []byte, err error) {
	reason = c.plain.read(c, &c.head, in, end)
	if reason == "" {
		reason, next, err = c.answer(&c.plain.writer, &c.plain.request)
	}
	if reason != "" && c.options.HandedOver != nil {
		c.options.HandedOver(reason)
	}
	return reason, next, err
}

// answer has a plain request answered.
func (c *Conn) answer(w *Writer, r *Request) (reason string, next []byte, err error) {
	if !c.untimed {
		c.untimed = true
		_ = c.Conn.SetDeadline(time.Time{}) // the server's, from before: the watch takes its place
	}
	w.conn, w.closing = c, r.close
	if !c.counted {
		c.counted = true
		c.conns.add(c)
	}
	c.enter(answering)
	defer func() {
		after := idle
		if reason != "" || err != nil {
			after = serving
		}
		c.enter(after) // also after a panic
		r.OnLeave(nil)
		var left error
		if next, left = c.unattend(); err == nil {
			err = left
		}
		if c.leaving || after == idle && c.conns.ending.Load() {
			_ = c.end()
			err = io.EOF
		}
	}()
	// The server says nothing to io.EOF. To another error it would answer 400, and that would follow what has been written.
	err = io.EOF
	if reason = c.options.Answer(w, r); reason != "" || w.answered && !w.closing {
		err = nil
	}
	return reason, next, err
}

// unlend gives the scratch back.
func (c *Conn) unlend() {
	if c.plain != nil {
		c.plain.release()
		c.plain = nil
	}
}

// restoreDeadline sets the server's read deadline again, where the lane has taken it away. Those that the server had for the first
// request of a connection begin with Read: answers before that request don't count towards them.
func (c *Conn) restoreDeadline(called time.Time) {
	if !c.first || !c.untimed {
		return
	}
	c.mu.Lock()
	c.lag = time.Since(called)
	deadline := c.deadline
	c.mu.Unlock()
	if !deadline.IsZero() {
		_ = c.Conn.SetReadDeadline(deadline.Add(c.lag))
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
	c.deadline = t
	if c.lag > 0 && !c.expired && !t.IsZero() {
		t = t.Add(c.lag)
	}
	c.woken.Broadcast()
	c.mu.Unlock()
	return c.Conn.SetReadDeadline(t)
}

// Close implements net.Conn. While the lane answers, the connection is closed after that.
func (c *Conn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.woken.Broadcast()
	c.mu.Unlock()
	for {
		state := c.state.Load()
		if p := phase(state & phaseBits); p != answering && p != writing {
			return c.end()
		}
		if c.state.CompareAndSwap(state, state|closingMark) {
			return nil
		}
	}
}

// end closes the connection, whatever it does.
func (c *Conn) end() error {
	c.state.Store(int64(shut))
	c.conns.remove(c)
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
