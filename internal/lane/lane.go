package lane

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
	// HeaderTimeout is how long a head may take from its first byte. Zero: as long as the server's deadline allows.
	HeaderTimeout time.Duration
	// IdleTimeout is how long a connection may wait for its next request, once the lane has answered one. Zero: for ever.
	IdleTimeout time.Duration
	// WriteTimeout is how long a client may take for one write of an answer by the lane. Zero: for ever.
	WriteTimeout time.Duration
	// Answer answers a plain request through the Writer and returns "". Or it writes nothing and returns the reason, one of a few
	// words: then the server gets the request. If it returns "" without a whole answer, the connection is closed. Many connections
	// may call it at a time. Nil: the server gets all requests.
	Answer func(*Writer, *Request) (handedOver string)
	// HandedOver is called with the reason why a request goes to the server: one of Reasons, or the one from Answer. Without Answer it
	// isn't called. Many connections may call it at a time. Nil: nobody is told.
	HandedOver func(reason string)
	// Permission returns header lines, each with its CR LF, for the answer to a refused request. They let a page of origin read
	// that answer. origin is as sent; "" means none, or more than one. Nil: there are no such lines.
	Permission func(origin string) string
	// Refused is called for each refused request, after the answer. Many connections may call it at a time. Nil: nobody is told.
	Refused func(Refusal)
}

// Refusal is a request that the lane has answered with an error.
type Refusal struct {
	// Status is the answer's: 400, 431 or 505.
	Status int
	// Err says what is wrong. It repeats nothing that the client sent.
	Err error
	// RequestID is the answer's X-Request-Id.
	RequestID string
	// Method and Path are as sent, without the query. Both are empty if the request line can't be read. Path is also empty if the
	// target doesn't begin with a slash.
	Method, Path string
	// RemoteAddr is the peer's address, as in http.Request.
	RemoteAddr string
	// Bytes is the length of the answer's body.
	Bytes int64
}

// Listener is a listener whose connections the lane reads.
type Listener struct {
	net.Listener
	conns *conns
}

// Listen returns a listener whose connections the lane reads. Set http.Server.ConnState to ConnState, or call that from your own.
func Listen(inner net.Listener, o Options) *Listener {
	l := &listener{inner, newConns(&o)}
	return &Listener{l, l.conns}
}

// CloseIdle closes the connections that wait for their next request after an answer by the lane. From now on the lane also closes each
// connection after its next answer there. Call CloseIdle before http.Server.Shutdown, which may take such a connection for a new one
// and wait five seconds for it.
func (l *Listener) CloseIdle() { l.conns.closeIdle() }

// Wait blocks until every connection on which Options.Answer was called is closed, or until ctx ends. The error is ctx's. Call it after
// http.Server.Shutdown, which takes a connection for idle while the lane answers. Call Abort after Wait.
func (l *Listener) Wait(ctx context.Context) error { return l.conns.wait(ctx) }

// Abort closes the connections that Wait waits for, whatever they do.
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

// ConnState is for http.Server.ConnState. It tells the lane when a connection's next byte begins a request. Connections that aren't the
// lane's are left alone.
func ConnState(c net.Conn, state http.ConnState) {
	if c, ok := c.(interface{ next() }); ok && state == http.StateIdle {
		c.next()
	}
}
