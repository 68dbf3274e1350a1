package lane

// This file puts TLS beneath the lane: HTTP/1 connections are read by it, HTTP/2 ones are the server's own.

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// ListenTLS is Listen for a server with TLS. A connection that agrees on HTTP/2 is a *tls.Conn: the server wants "h2" in its own TLSConfig
// too. So is one whose handshake fails, for the server to report. A handshake may take as long as a head. Close ends the handshakes
// that are under way, and waits for them.
func ListenTLS(inner net.Listener, config *tls.Config, o Options) *Listener {
	l := &tlsListener{Listener: inner, conns: newConns(&o), config: config, accepted: make(chan accepted)}
	l.closed, l.close = context.WithCancel(context.Background())
	l.running.Go(l.acceptAll)
	return &Listener{l, l.conns}
}

// tlsListener shakes hands before it accepts: only then is it known who reads the connection.
type tlsListener struct {
	net.Listener
	conns    *conns
	config   *tls.Config
	accepted chan accepted
	closed   context.Context //nolint:containedctx // the listener's lifetime, for its handshakes
	close    context.CancelFunc
	running  sync.WaitGroup // acceptAll, and each handshake
}

// accepted is what Accept returns.
type accepted struct {
	conn net.Conn
	err  error
}

// Accept implements net.Listener.
func (l *tlsListener) Accept() (net.Conn, error) {
	select {
	case a := <-l.accepted:
		return a.conn, a.err
	case <-l.closed.Done():
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *tlsListener) Close() error {
	l.close()
	err := l.Listener.Close()
	l.running.Wait()
	return err
}

func (l *tlsListener) acceptAll() {
	for {
		inner, err := l.Listener.Accept()
		if err == nil {
			l.running.Go(func() { l.shakeHands(inner) })
			continue
		}
		select {
		case l.accepted <- accepted{err: err}: // the server takes its time before it asks again
		case <-l.closed.Done():
			return
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

func (l *tlsListener) shakeHands(inner net.Conn) {
	secure := tls.Server(inner, l.config)
	if limit := l.conns.options.HeaderTimeout; limit > 0 {
		_ = inner.SetDeadline(time.Now().Add(limit)) // where that fails, so does the handshake
	}
	err := secure.HandshakeContext(l.closed)
	_ = inner.SetDeadline(time.Time{})
	var conn net.Conn = secure
	if err == nil && secure.ConnectionState().NegotiatedProtocol != "h2" {
		conn = &tlsConn{newConn(secure, l.conns), secure}
	}
	select {
	case l.accepted <- accepted{conn: conn}:
	case <-l.closed.Done():
		_ = inner.Close()
	}
}

// tlsConn is a Conn whose server takes Request.TLS from it.
type tlsConn struct {
	*Conn
	secure *tls.Conn
}

// ConnectionState is how net/http asks for it.
func (c *tlsConn) ConnectionState() tls.ConnectionState { return c.secure.ConnectionState() }
