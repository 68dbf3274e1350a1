package lane

// This file is what users of the package see: the listener and its options.

import (
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

// Listen returns a listener whose connections read strictly. The http.Server that serves it must call ConnState.
func Listen(inner net.Listener, o Options) net.Listener {
	return &listener{inner, &o}
}

type listener struct {
	net.Listener
	options *Options
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	inner, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return newConn(inner, l.options), nil
}

// ConnState is for http.Server.ConnState: an idle connection's next byte begins a request. Connections that aren't the lane's are
// left alone.
func ConnState(c net.Conn, state http.ConnState) {
	if c, ok := c.(interface{ next() }); ok && state == http.StateIdle {
		c.next()
	}
}
