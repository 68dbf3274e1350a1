package lane

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// ListenTLS is like Listen, with TLS beneath the lane. Accept returns a plain *tls.Conn for a connection that agrees on HTTP/2: the lane
// doesn't read it, and the server needs "h2" in its own TLSConfig too. It also returns a *tls.Conn if the handshake fails, so that the
// server reports the error. A handshake may take as long as Options.HeaderTimeout. Close ends the handshakes that are under way, and
// waits until they have ended.
func ListenTLS(inner net.Listener, config *tls.Config, o Options) *Listener {
	l := &tlsListener{Listener: inner, conns: newConns(&o), config: config, accepted: make(chan accepted)}
	l.closed, l.close = context.WithCancel(context.Background())
	l.running.Go(l.acceptAll)
	return &Listener{l, l.conns}
}

// tlsListener makes the handshake before Accept returns the connection. Only then is it known whether the lane reads it.
type tlsListener struct {
	net.Listener
	conns    *conns
	config   *tls.Config
	accepted chan accepted
	closed   context.Context //nolint:containedctx // the listener's lifetime, for its handshakes
	close    context.CancelFunc
	running  sync.WaitGroup // acceptAll, and each handshake
}

// accepted is one result of Accept.
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
		case l.accepted <- accepted{err: err}: // the server waits a while before it calls Accept again
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
		_ = inner.SetDeadline(time.Now().Add(limit)) // if that fails, so does the handshake
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

// tlsConn is a Conn that tells the server its TLS state, for http.Request.TLS.
type tlsConn struct {
	*Conn
	secure *tls.Conn
}

// ConnectionState is the method by which net/http asks for the TLS state.
func (c *tlsConn) ConnectionState() tls.ConnectionState { return c.secure.ConnectionState() }
