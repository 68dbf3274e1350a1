package proxy

// This file prepares the connections of the public listener and bounds how many are open.

import (
	"net"
	"sync"
)

// writeBuffer bounds what the kernel keeps, in bytes, for a client that doesn't read. Left to itself it keeps megabytes for
// each connection, and a thousand of those use up the TCP memory of the whole machine: then everybody waits. It is enough for
// 1 MB/s over a round trip of 100 ms.
const writeBuffer = 128 << 10

// Listener wraps the public TCP listener. At most limit of its connections are open at once; more clients wait in the
// kernel's queue until one is closed. Closing it ends an Accept that waits, too. netutil.LimitListener does the same, but
// its connections can't be closed for writing alone, as a refused request's has to be.
func Listener(public net.Listener, limit int) net.Listener {
	return &boundedListener{Listener: public, places: make(chan struct{}, limit), closed: make(chan struct{})}
}

// boundedListener is what Listener returns.
type boundedListener struct {
	net.Listener
	places chan struct{} // holds one value for each open connection
	close  sync.Once
	closed chan struct{}
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	tcp, ok := conn.(*net.TCPConn)
	if !ok { // an error, or a listener of a test: those aren't counted
		<-l.places
		return conn, err
	}
	_ = tcp.SetWriteBuffer(writeBuffer) // where that fails the kernel's own bound holds
	return &placedConn{TCPConn: tcp, leave: sync.OnceFunc(func() { <-l.places })}, nil
}

// Close implements net.Listener.
func (l *boundedListener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// placedConn gives its place back when it is closed.
type placedConn struct {
	*net.TCPConn
	leave func()
}

// Close implements net.Conn.
func (c *placedConn) Close() error {
	defer c.leave()
	return c.TCPConn.Close()
}
