package upstream

// This file connects to an upstream whose name may stand for several addresses, of which some may be dead.

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
)

const (
	// connectTimeout bounds the look-up of a name, and the connecting to each of its addresses. A lost SYN is sent again
	// after a second, and shall not fail a call.
	connectTimeout = 2 * time.Second
	// nextAddress is when the next address is tried beside one that hasn't answered yet (RFC 8305 has 250 ms).
	nextAddress = 250 * time.Millisecond
)

// dial connects to the first address that answers. net.Dialer would try those of a family one after the other and within
// one time for all, which the first uses up that swallows what it is sent: with one of two addresses dead, every second
// call failed. A connection that took too long is not context.DeadlineExceeded unless that was ctx's own deadline.
func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	limited, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(limited, "ip", host)
	if err != nil {
		return nil, ownTimeout(ctx, network, nil, &net.OpError{Op: "dial", Net: network, Err: err})
	}
	if len(addrs) == 1 {
		return dialOne(ctx, network, addrs[0], port)
	}
	return dialFirst(ctx, network, addrs, port)
}

// dialFirst tries the addresses in their order, each as soon as the one before has failed or is late. The error is the
// first one's.
func dialFirst(ctx context.Context, network string, addrs []netip.Addr, port string) (net.Conn, error) {
	type outcome struct {
		conn net.Conn
		err  error
	}
	outcomes := make(chan outcome)
	racing, stop := context.WithCancel(ctx)
	defer stop() // those that come too late close what they have
	try := func(addr netip.Addr) {
		conn, err := dialOne(racing, network, addr, port)
		select {
		case outcomes <- outcome{conn, err}:
		case <-racing.Done():
			if conn != nil {
				_ = conn.Close()
			}
		}
	}
	var first error
	for begun, ended := 0, 0; ended < len(addrs); {
		var late <-chan time.Time
		if begun < len(addrs) {
			go try(addrs[begun])
			begun++
			late = time.After(nextAddress)
		}
		select {
		case o := <-outcomes:
			if o.err == nil {
				return o.conn, nil
			}
			if ended++; first == nil {
				first = o.err
			}
		case <-late:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, first
}

// dialOne connects to one address.
func dialOne(ctx context.Context, network string, addr netip.Addr, port string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}
	conn, err := dialer.DialContext(ctx, network, net.JoinHostPort(addr.Unmap().String(), port))
	if err != nil {
		return nil, ownTimeout(ctx, network, &net.IPAddr{IP: addr.AsSlice(), Zone: addr.Zone()}, err)
	}
	return conn, nil
}

// ownTimeout tells a limit of this file's from the caller's deadline, for which net's error would be taken too.
func ownTimeout(ctx context.Context, network string, addr net.Addr, err error) error {
	deadline, limited := ctx.Deadline()
	callers := ctx.Err() != nil || limited && !time.Now().Before(deadline) // net goes by its own clock
	if !callers && errors.Is(err, context.DeadlineExceeded) {
		return &net.OpError{Op: "dial", Net: network, Addr: addr, Err: os.ErrDeadlineExceeded}
	}
	return err
}
