package lane

// This file recognises plain requests: those that there is one way to read.

import (
	"net/netip"
	"strings"
	"sync"
)

const (
	maxPlainHead  = 8 << 10 // bytes
	maxPlainLines = 64
)

// Why a request is the server's, where the lane itself decides so.
const (
	notGet        = "method"
	notPlainForm  = "target"     // not in origin-form, or another version than HTTP/1.1
	notPlainField = "field"      // bytes beyond ASCII, or a header about more than the request
	hasBody       = "body"       // its head says something about a body
	tooLarge      = "size"       // of the head, in bytes or lines
	badConnection = "connection" // other than keep-alive or close, or twice
)

// Reasons are all the reasons that the lane itself gives to Options.HandedOver.
func Reasons() []string {
	return []string{notGet, notPlainForm, notPlainField, hasBody, tooLarge, badConnection}
}

// Field is a header line.
type Field struct{ Name, Value string }

// Request is a plain request, as the package doc has it: a GET in origin-form by HTTP/1.1, without a body, with one well-formed Host.
// It may be used until Options.Answer returns; its strings are never changed.
type Request struct {
	Target string
	Host   string
	// Fields are all header lines, in their order, names as sent. Values have no white space around them.
	Fields []Field
	// Peer is the address at the other end.
	Peer netip.AddrPort
	// TLS tells whether the connection is encrypted.
	TLS bool

	conn  *Conn
	close bool // the client wants the connection closed after it
}

// OnLeave has f called when the client closes its connection before the answer is written. It is noticed in calls that take over
// 100 ms. f must not block. It replaces the function before it. watched tells whether the client is being watched already: that
// function may still be called.
func (r *Request) OnLeave(f func()) (watched bool) {
	r.conn.mu.Lock()
	defer r.conn.mu.Unlock()
	r.conn.onLeave = f
	return r.conn.state.Load()&watchedMark != 0
}

// scratch is what it takes to answer a request. A connection has one only while it does.
type scratch struct {
	lines   [maxPlainLines]line // of the head
	fields  [maxPlainLines]Field
	request Request
	writer  Writer
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// release gives the scratch back, without what it refers to.
func (s *scratch) release() {
	clear(s.fields[:len(s.request.Fields)])
	s.request = Request{}
	s.writer = Writer{out: s.writer.out[:0]}
	if cap(s.writer.out) <= maxPlainHead+maxWhole {
		scratches.Put(s)
	}
}

// line is a header line, by the places of its parts.
type line struct{ name, value span }

// note keeps the places of a header line for request.
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

// notPlain returns why the whole head that ends at end is no plain request's, as far as it is known without its lines.
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

// read makes a plain request of the whole head that ends at end, or returns why it is none.
func (s *scratch) read(c *Conn, h *head, in []byte, end int) (reason string) {
	if reason := h.notPlain(in, end); reason != "" {
		return reason
	}
	r := &s.request
	*r = Request{Peer: c.peer, TLS: c.encrypted, conn: c, Fields: s.fields[:h.lines]}
	text := string(in[h.start:end]) // one allocation: all strings are parts of it
	part := func(s span) string { return text[s.from-h.start : s.to-h.start] }
	r.Target = part(h.target)
	connections := 0
	for i := range r.Fields {
		l := &s.lines[i]
		f := Field{part(l.name), strings.Trim(part(l.value), " \t")}
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

// What a header is about, as far as the lane cares.
type subject int

const (
	theRequest subject = iota
	theHost
	theConnection
	moreThanRequest
)

// about tells what a header is about.
func about(name, value string) subject {
	const proxy = "proxy-"
	switch len(name) { // the names that count have five lengths
	case len("host"):
		if strings.EqualFold(name, "host") {
			return theHost
		}
	case len("connection"):
		if strings.EqualFold(name, "connection") {
			return theConnection
		}
	case len("te"):
		if strings.EqualFold(name, "te") && !strings.EqualFold(value, "trailers") { // Firefox sends that; an answer without any is right
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
