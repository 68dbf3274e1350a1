package lane

// This file is what users of the package see: the listener and its options.

import (
	"context"
	"net"
	"net/http"
	"time"
)

// Options configures a listener.
type Options struct {
	// MaxHeaderBytes bounds a head, from the request line to the empty line. The server must take at least as many. Required.
	MaxHeaderBytes int
	// HeaderTimeout is how long a head may take from its first byte. Zero: as long as the server's deadline lets it.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a connection may wait for its next request, once the lane has answered one. Zero: for ever.
	IdleTimeout time.Duration
	// WriteTimeout is how long a client may take for one write of the lane's answers. Zero: for ever.
	WriteTimeout time.Duration
	// Answer answers a plain request through the Writer, or writes nothing and returns why not, a word of few: then the server gets
	// the request. It may be called by many connections at a time. When it returns "" without an answer, or one that breaks
	// off, the connection is closed. Nil: the server gets all requests.
	Answer func(*Writer, *Request) (handedOver string)
	// HandedOver is told why a request went to the server: one of Reasons, or Answer's word. Nil: nobody is told.
	HandedOver func(reason string)
	// Permission returns the header lines, each with its CR LF, that let a page of origin read the answer to a request that is refused.
	// origin is as sent; "" stands for none, and for more than one. Nil: there are none.
	Permission func(origin string) string
	// Refused is told of each refused request, after it was answered. It may be called by many connections at a time. Nil: nobody
	// is told.
	Refused func(Refusal)
}

// Refusal is a request that the lane has answered with an error.
type Refusal struct {
	// Status is that of the answer: 400, 431 or 505.
	Status int
	// Err says what is wrong. It repeats nothing that the client sent.
	Err error
	// RequestID is the answer's X-Request-Id.
	RequestID string
	// Method and Path are as sent, without a query. They are empty where the request line can't be read; Path also where the target
	// doesn't begin with it.
	Method, Path string
	// RemoteAddr is the peer's, as in http.Request.
	RemoteAddr string
	// Bytes is the length of the answer's body.
	Bytes int64
}

// Listener is a listener whose connections the lane reads.
type Listener struct {
	net.Listener
	conns *conns
}

// Listen returns a listener whose connections read strictly. The http.Server that serves it must call ConnState.
func Listen(inner net.Listener, o Options) *Listener {
	l := &listener{inner, newConns(&o)}
	return &Listener{l, l.conns}
}

// CloseIdle closes the connections that wait for a next request after one that the lane has answered, from now on too. For
// http.Server.Shutdown such a connection may be a new one, to which it gives five seconds: call CloseIdle before it.
func (l *Listener) CloseIdle() { l.conns.closeIdle() }

// Wait blocks until no connection is open on which the lane has answered, or ctx ends. For http.Server.Shutdown a connection is idle while the
// lane answers: call Wait after it, and then Abort.
func (l *Listener) Wait(ctx context.Context) error { return l.conns.wait(ctx) }

// Abort closes these connections, whatever they do.
func (l *Listener) Abort() { l.conns.closeAll() }

type listener struct {
	net.Listener
	conns *conns
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newConn(inner, l.conns), nil
}

// ConnState is for http.Server.ConnState: an idle connection's next byte begins a request. Connections that aren't the lane's are
// left alone.
func ConnState(c net.Conn, state http.ConnState) {
	if c, ok := c.(interface{ next() }); ok && state == http.StateIdle {
		c.next()
	}
}
