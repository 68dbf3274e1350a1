package lane

import (
	"net/netip"
	"net/textproto"
	"strings"
	"sync"
)

const (
	maxPlainHead  = 8 << 10 // bytes
	maxPlainLines = 64
)

// The lane's own reasons to hand a request over.
const (
	notGet        = "method"
	notPlainForm  = "target"     // not in origin-form, or a version other than HTTP/1.1
	notPlainField = "field"      // a value with bytes outside ASCII, or a header such as Upgrade: see moreThanRequest
	hasBody       = "body"       // Content-Length or Transfer-Encoding
	tooLarge      = "size"       // a head with too many bytes or lines
	badConnection = "connection" // Connection other than keep-alive or close, or repeated
)

// Reasons returns all reasons that the lane itself gives to Options.HandedOver.
func Reasons() []string {
	return []string{notGet, notPlainForm, notPlainField, hasBody, tooLarge, badConnection}
}

// Field is a header line.
type Field struct{ Name, Value string }

// Request is a plain request, as the package comment defines it: a GET in origin-form, HTTP/1.1, without a body, with one well-formed
// Host. It may be used until Options.Answer returns. Its strings may be kept for longer.
type Request struct {
	Target string
	Host   string
	// Fields are all header lines in the order sent, Host included. Names are as sent. Values have no white space around them.
	Fields []Field
	// Peer is the address at the other end. The zero AddrPort: it isn't a TCP connection.
	Peer netip.AddrPort
	// PeerText is Peer's address without port and zone. It is IPv4 if the address is an IPv4-mapped one.
	PeerText string
	// TLS tells whether the connection is encrypted.
	TLS bool

	conn  *Conn
	close bool // the client wants the connection closed after the answer
}

// OnLeave sets the function to call when the client closes its connection before the answer is written. That is noticed only in calls
// of Options.Answer that take over 100 ms. f must not block; nil: nothing is called. It replaces the function of an earlier
// OnLeave. watched reports whether the client is being watched already: then the earlier function may still be called.
func (r *Request) OnLeave(f func()) (watched bool) {
	r.conn.mu.Lock()
	defer r.conn.mu.Unlock()
	r.conn.onLeave = f
	return r.conn.state.Load()&watchedMark != 0
}

// scratch is the memory for answering a request. A connection has one only while it reads a head and answers.
type scratch struct {
	lines   [maxPlainLines]line // of the head
	fields  [maxPlainLines]Field
	request Request
	writer  Writer
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// release gives the scratch back to the pool, without references to the request. One with a large buffer is dropped.
func (s *scratch) release() {
	clear(s.fields[:len(s.request.Fields)])
	s.request = Request{}
	s.writer = Writer{out: s.writer.out[:0]}
	if cap(s.writer.out) <= maxPlainHead+maxWhole {
		scratches.Put(s)
	}
}

// line is a header line, by the offsets of its parts.
type line struct{ name, value span }

// note keeps the offsets of a header line in h.plain.
func (h *head) note(l span, colon int) {
	if h.plain == nil {
		return
	}
	if h.lines > len(h.plain) {
		h.plain, h.reason = nil, tooLarge
		return
	}
	h.plain[h.lines-1] = line{span{l.from, l.from + colon}, span{l.from + colon + 1, l.to}}
}

// notPlain returns why the head that ends at end isn't a plain request's, or "". It doesn't look at the header lines; read does.
func (h *head) notPlain(in []byte, end int) (reason string) {
	switch method, target := h.method.of(in), h.target.of(in); {
	case string(method) != "GET":
		return notGet
	case target[0] != '/' || in[h.target.to+len(" HTTP/1.")] != '1':
		return notPlainForm
	case h.lengths > 0 || h.codings > 0:
		return hasBody
	case h.reason != "":
		return h.reason
	case end-h.start > maxPlainHead:
		return tooLarge
	}
	return ""
}

// read makes s.request of the head that ends at end, or returns why that isn't a plain request's.
func (s *scratch) read(c *Conn, h *head, in []byte, end int) (reason string) {
	if reason := h.notPlain(in, end); reason != "" {
		return reason
	}
	r := &s.request
	*r = Request{Peer: c.peer, PeerText: c.peerText, TLS: c.encrypted, conn: c, Fields: s.fields[:h.lines]}
	text := string(in[h.start:end]) // one allocation: all strings share it
	part := func(s span) string { return text[s.from-h.start : s.to-h.start] }
	r.Target = part(h.target)
	connections := 0
	for i := range r.Fields {
		l := &s.lines[i]
		f := Field{part(l.name), textproto.TrimString(part(l.value))}
		r.Fields[i] = f
		switch about(f.Name, f.Value) {
		case theRequest:
		case moreThanRequest:
			return notPlainField
		case theHost:
			r.Host = f.Value
		case theConnection:
			connections++
			r.close = strings.EqualFold(f.Value, "close")
			if connections > 1 || !r.close && !strings.EqualFold(f.Value, "keep-alive") {
				return badConnection
			}
		}
	}
	return ""
}

// subject is what a header is about, as far as it matters to the lane.
type subject int

const (
	theRequest subject = iota
	theHost
	theConnection
	moreThanRequest // the connection or the form of the answer: the lane leaves such requests to the server
)

// about returns the subject of a header.
func about(name, value string) subject {
	const proxy = "proxy-"
	switch len(name) { // the names that matter have only five lengths, "proxy-…" apart
	case len("host"):
		if strings.EqualFold(name, "host") {
			return theHost
		}
	case len("connection"):
		if strings.EqualFold(name, "connection") {
			return theConnection
		}
	case len("te"):
		if strings.EqualFold(name, "te") && !strings.EqualFold(value, "trailers") { // Firefox sends "trailers"; an answer without trailers is right
			return moreThanRequest
		}
	case len("expect"), len("trailer"):
		for _, other := range [...]string{"expect", "trailer", "upgrade"} {
			if strings.EqualFold(name, other) {
				return moreThanRequest
			}
		}
	}
	if len(name) > len(proxy) && strings.EqualFold(name[:len(proxy)], proxy) {
		return moreThanRequest
	}
	return theRequest
}
