package proxy

// This file prepares the connections of the public listener and bounds how many are open.

import (
	"net"

	"golang.org/x/net/netutil"
)

// writeBuffer bounds what the kernel keeps, in bytes, for a client that doesn't read. Left to itself it keeps megabytes for
// each connection, and a thousand of those use up the TCP memory of the whole machine: then everybody waits. It is enough for
// 1 MB/s over a round trip of 100 ms.
const writeBuffer = 128 << 10

// Listener wraps the public listener. At most limit of its connections are open at once; more clients wait in the kernel's
// queue until one is closed. Closing it ends an Accept that waits, too.
func Listener(public net.Listener, limit int) net.Listener {
	return netutil.LimitListener(frugalListener{public}, limit)
}

// frugalListener bounds its connections' write buffers.
type frugalListener struct{ net.Listener }

// Accept implements net.Listener.
func (l frugalListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(writeBuffer) // where that fails the kernel's own bound holds
	}
	return conn, err
}
