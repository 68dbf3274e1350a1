package proxy

import (
	"net"
	"sync"
)

// writeBuffer is the most that the kernel keeps for a client that doesn't read, in bytes. By default the kernel keeps megabytes per
// connection. A thousand such connections use up the machine's TCP memory, and all clients wait. This size is enough for 1 MB/s over
// a round trip of 100 ms.
const writeBuffer = 128 << 10

// Listener wraps the public TCP listener. At most limit of its connections are open at once. Further clients wait in the kernel's
// queue until a connection closes. Close also ends a waiting Accept. netutil.LimitListener does the same, but its connections have no
// CloseWrite, which the connection of a refused request needs.
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
	if !ok { // an error, or a test's listener, whose connections aren't counted
		<-l.places
		return conn, err
	}
	_ = tcp.SetWriteBuffer(writeBuffer) // if it fails, the kernel's default applies
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
