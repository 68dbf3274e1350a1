package lane

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

// maxKept bounds one read into the server's buffer, in bytes. So it bounds what that read may bring of the next request.
const maxKept = 16 << 10

// Conn is a connection that hands its server one request at a time. Only one goroutine at a time may call Read. Others may call Write,
// Close and the deadline methods meanwhile.
type Conn struct {
	net.Conn
	options   *Options
	conns     *conns
	peer      netip.AddrPort
	peerText  string // see Request.PeerText
	encrypted bool

	due    bool // the next byte begins a request
	head   head
	body   body
	broken error // what Read returns from now on; nil: the connection is in order

	// kept[read:own] belongs to the request that the server is reading, kept[own:] to the next ones. Nil: nothing is kept.
	kept      []byte
	read, own int

	// For the lane's answers: see watch.go.
	state     atomic.Int64
	attention atomic.Pointer[attention]
	counted   bool // it is in conns.all
	watched   bool // unattend must end attention
	leaving   bool // close it after the answer

	plain   *scratch // of the head that is being read; nil: no head has begun, or Options.Answer is nil
	untimed bool     // the lane has removed the server's deadlines since Read was called
	first   bool     // the server hasn't answered a request yet: its read deadlines are for the first one

	mu       sync.Mutex
	woken    sync.Cond     // on mu: expired or closed has changed
	expired  bool          // guarded by mu: the read deadline was set to a time that has passed
	closed   bool          // guarded by mu
	onLeave  func()        // guarded by mu; called when the client leaves; may be nil
	deadline time.Time     // guarded by mu: the read deadline that the server has set
	called   time.Time     // guarded by mu: when Read was called for the first request; zero: not yet
	lag      time.Duration // guarded by mu: added to the read deadlines for the first request
}

func newConn(inner net.Conn, all *conns) *Conn {
	c := &Conn{Conn: inner, options: all.options, conns: all, due: true, first: true}
	c.woken.L = &c.mu
	if tcp, ok := inner.RemoteAddr().(*net.TCPAddr); ok {
		c.peer = tcp.AddrPort()
	}
	c.peerText = c.peer.Addr().Unmap().WithZone("").String()
	_, c.encrypted = inner.(*tls.Conn)
	return c
}

// NetConn returns the connection beneath, like NetConn of tls.Conn.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// next prepares for the next request. ConnState calls it when the server has answered one.
func (c *Conn) next() {
	if c.read != c.own || !c.body.done() {
		c.broken = io.EOF // the server hasn't read the whole request: what follows is its rest, not the next request
		return
	}
	c.due, c.first = true, false
	c.mu.Lock()
	c.lag = 0
	c.mu.Unlock()
}

// Read implements net.Conn, for one http.Server. See "A connection" in the package comment.
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

// readHead waits for a head. It answers plain requests and waits for the next head. Any other it hands over, with as much of
// the body as has come. It reads into p while p has room.
func (c *Conn) readHead(p []byte) (int, error) {
	rest := c.kept[c.own:]
	in, n := p, len(rest)
	if n > len(p) {
		in = rest
	} else {
		copy(p, rest)
		c.keep(nil)
	}
	if c.first {
		c.mu.Lock()
		c.called = time.Now()
		c.mu.Unlock()
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
		c.releaseScratch()
		if err != nil {
			c.broken = err
			return 0, err
		}
		if reason != "" {
			if c.enter(serving); c.leaving { // closed while it was idle
				c.broken = io.EOF
				return 0, io.EOF
			}
			c.due = false
			c.restoreDeadline()
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

// awaitHead reads on into in, behind in[:n], until there is a whole head. It returns the buffer, which is in or a longer one, the number
// of bytes in it, and the end of the head with what has come of its body.
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
			_ = c.Conn.SetReadDeadline(time.Now().Add(c.options.HeaderTimeout)) // if that fails, so does Read
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

// judgePlain answers the request whose head ends at end, or returns the reason why the server gets it. next is what has come of the next
// request meanwhile. An error ends the connection.
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

// answer lets Options.Answer answer a plain request. The results are those of judgePlain.
func (c *Conn) answer(w *Writer, r *Request) (reason string, next []byte, err error) {
	if !c.untimed {
		c.untimed = true
		_ = c.Conn.SetDeadline(time.Time{}) // removes the server's: the watch takes its place
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
	// After io.EOF the server writes nothing. After another error it would write a 400, behind what Answer has written.
	err = io.EOF
	if reason = c.options.Answer(w, r); reason != "" || w.answered && !w.closing {
		err = nil
	}
	return reason, next, err
}

// releaseScratch gives c.plain back, if there is one.
func (c *Conn) releaseScratch() {
	if c.plain != nil {
		c.plain.release()
		c.plain = nil
	}
}

// restoreDeadline moves the server's read deadlines for the first request by the time since Read was called, so that the lane's answers
// before that request don't count. It sets the present one again, if the lane has removed it.
func (c *Conn) restoreDeadline() {
	if !c.first {
		return
	}
	c.mu.Lock()
	c.lag = time.Since(c.called)
	deadline := c.deadline
	c.mu.Unlock()
	if c.untimed && !deadline.IsZero() {
		_ = c.Conn.SetReadDeadline(deadline.Add(c.lag))
	}
}

// handOver copies in[start:end] to p, as much as fits, and keeps the rest of in. in and p may share memory.
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

// takeKept copies kept bytes of the server's request to p.
func (c *Conn) takeKept(p []byte) int {
	n := copy(p, c.kept[c.read:c.own])
	if c.read += n; c.read == len(c.kept) {
		c.keep(nil)
	}
	return n
}

// keep keeps a copy of rest, which belongs to the next request. It drops what was kept before.
func (c *Conn) keep(rest []byte) {
	c.kept, c.read, c.own = append([]byte(nil), rest...), 0, 0
}

// readBody hands over bytes of a body. It keeps nothing except what comes after the body.
func (c *Conn) readBody(p []byte) (int, error) {
	if c.body.wrong != nil { // the server has got all that came before
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

// SetReadDeadline implements net.Conn. A time in the past ends watch: that is how the server stops it. Other times don't.
//
// The deadlines for the first request may lie in the past, too, before lag is added. They come after called; the time by which the
// server stops watch comes long before it.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.deadline = t
	if c.lag > 0 && t.After(c.called) {
		t = t.Add(c.lag)
	}
	c.expired = !t.IsZero() && !t.After(time.Now())
	c.woken.Broadcast()
	c.mu.Unlock()
	return c.Conn.SetReadDeadline(t)
}

// Close implements net.Conn. While the lane answers, Close returns at once, and the connection is closed after the answer.
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

// end closes the connection at once, whatever phase it is in.
func (c *Conn) end() error {
	for state := c.state.Load(); !c.state.CompareAndSwap(state, state&watchedMark|int64(shut)); {
		state = c.state.Load() // watchedMark stays: what watches the client may be about to call the function of OnLeave
	}
	c.conns.remove(c)
	return c.Conn.Close()
}

// CloseWrite tells the client that nothing more comes, if the connection beneath can do so. The server calls it before it closes a
// connection on which the client may still be sending.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
