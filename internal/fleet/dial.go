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

// dialer returns how to dial without TLS or, where config isn't nil, with it. Connections with TLS tell the client's pool when
// they have ended.
func dialer(timeout time.Duration, config *tls.Config) func(ctx context.Context, network, addr string) (net.Conn, error) {
	// As the library does by default: no NAT forgets an idle connection, and a dead peer is noticed.
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
		return secured{conn.(*tls.Conn)}, nil // as tls.Dialer promises
	}
}

// secured is a connection with TLS of which the client's pool can see that the server has closed it. The library asks
// connections without TLS alone, so each one that a Redis has closed would cost a command: a rotation of passwords or certificates
// looked like an outage.
type secured struct{ *tls.Conn }

// SyscallConn implements syscall.Conn for the pool, which asks it before a connection is used again. It fails if the connection has
// ended. What a Redis sends unasked is taken for its end: it is TLS that says so, in a record that can't be told from others.
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

// nothing is a raw connection on which there is nothing to do.
type nothing struct{}

// Control implements syscall.RawConn.
func (nothing) Control(func(uintptr)) error { return nil }

// Read implements syscall.RawConn.
func (nothing) Read(func(uintptr) bool) error { return nil }

// Write implements syscall.RawConn.
func (nothing) Write(func(uintptr) bool) error { return nil }
