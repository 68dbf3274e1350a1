package fleet

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"
	"time"
)

// dialer returns the function that opens connections, with TLS unless config is nil. timeout bounds each connection attempt. The
// client's pool can see that the server has closed a connection, with TLS too.
func dialer(timeout time.Duration, config *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	// The library's defaults. They keep an idle connection known to routers with NAT, and show that a peer is dead.
	plain := &net.Dialer{Timeout: timeout, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 30 * time.Second, Interval: 5 * time.Second, Count: 3,
	}}
	if config == nil {
		return plain.DialContext
	}
	secure := &tls.Dialer{NetDialer: plain, Config: config}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := secure.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return secured{conn.(*tls.Conn)}, nil // tls.Dialer documents this type
	}
}

// secured is a connection with TLS. The client's pool can see that the server has closed it, through SyscallConn. By itself the
// library checks only connections without TLS. Each closed connection would then fail one command, and a rotation of passwords or
// certificates would look like an outage.
type secured struct{ *tls.Conn }

// SyscallConn implements syscall.Conn for the pool, which calls it before it uses a connection again. The error tells that the
// connection has ended. It counts as ended if there is anything to read: an idle Redis sends nothing but the end of TLS, and
// that record is encrypted like all others. It doesn't block.
func (c secured) SyscallConn() (syscall.RawConn, error) {
	under, ok := c.NetConn().(syscall.Conn)
	if !ok {
		return nothing{}, nil
	}
	raw, err := under.SyscallConn()
	if err != nil {
		return nil, err
	}
	var ended error
	err = raw.Control(func(fd uintptr) {
		var first [1]byte
		_, _, err := syscall.Recvfrom(int(fd), first[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if err == nil {
			ended = io.EOF
		} else if !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR) {
			ended = err
		}
	})
	return nothing{}, errors.Join(err, ended)
}

// nothing is a raw connection whose methods do nothing. The check of secured is done when the pool gets it.
type nothing struct{}

// Control implements syscall.RawConn.
func (nothing) Control(func(uintptr)) error { return nil }

// Read implements syscall.RawConn.
func (nothing) Read(func(uintptr) bool) error { return nil }

// Write implements syscall.RawConn.
func (nothing) Write(func(uintptr) bool) error { return nil }
