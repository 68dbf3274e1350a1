package upstream

// Connecting to a name with several addresses. The tests of the whole program (rows U13 and O09) add a name server, and addresses
// that drop all packets.

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// loopback listens on a free port of 127.0.0.1 only, and returns the connections that it accepts.
func loopback(t *testing.T) (port string, accepted <-chan net.Conn) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	conns := make(chan net.Conn, 10)
	go func() {
		defer close(conns)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns <- conn
		}
	}()
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return port, conns
}

func addresses(list ...string) (addrs []netip.Addr) {
	for _, one := range list {
		addrs = append(addrs, netip.MustParseAddr(one))
	}
	return addrs
}

// dialEach connects to a name with these addresses.
func dialEach(ctx context.Context, port string, list ...string) (net.Conn, error) {
	d := newDialer(func(_ context.Context, network, _ string) ([]netip.Addr, error) {
		if network == "ip6" {
			return nil, noSuchHost()
		}
		return addresses(list...), nil
	})
	return d.dial(ctx, "tcp", net.JoinHostPort("h", port))
}

func TestDialGoesOnToTheNextAddress(t *testing.T) {
	port, accepted := loopback(t)
	conn, err := dialEach(t.Context(), port, "127.0.0.2", "127.0.0.3", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	(<-accepted).Close()
	if !strings.HasPrefix(conn.RemoteAddr().String(), "127.0.0.1:") {
		t.Errorf("connected to %s", conn.RemoteAddr())
	}
}

func TestDialTellsTheFirstAddressesError(t *testing.T) {
	port, _ := loopback(t)
	_, err := dialEach(t.Context(), port, "127.0.0.2", "127.0.0.3")
	if err == nil || !strings.Contains(err.Error(), "127.0.0.2") {
		t.Errorf("%v", err)
	}
}

func TestDialTakesLiteralAddressesAndNames(t *testing.T) {
	port, accepted := loopback(t)
	for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1"} {
		conn, err := newDialer(resolve).dial(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		conn.Close()
		(<-accepted).Close()
	}
}

// The connection's own timeout is the upstream's fault. The caller's deadline must look different.
func TestDialTellsItsOwnLimitFromTheCallersDeadline(t *testing.T) {
	late := &net.OpError{Op: "dial", Err: context.DeadlineExceeded}
	if err := ownTimeout(t.Context(), "dial", "tcp", nil, late); errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the connection's own limit: %v", err)
	}
	over, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if err := ownTimeout(over, "dial", "tcp", nil, late); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller's deadline: %v", err)
	}
	_, err := dialEach(over, "1", "127.0.0.2", "127.0.0.3")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller who is late: %v", err)
	}
}

// The name server answers for IPv4 at once, with a dead address, and takes its time for IPv6.
func TestDialWaitsForTheLateFamilyWhereTheFirstIsDead(t *testing.T) {
	port, accepted := loopback(t)
	d := newDialer(func(_ context.Context, network, _ string) ([]netip.Addr, error) {
		if network == "ip4" {
			return addresses("127.0.0.2"), nil
		}
		<-time.After(3 * otherFamily)
		return addresses("127.0.0.1"), nil
	})
	conn, err := d.dial(t.Context(), "tcp", net.JoinHostPort("h", port))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	(<-accepted).Close()
}

// Kept addresses must not fail a call after the name has moved.
func TestDialFollowsANameWhoseOldAddressIsDead(t *testing.T) {
	port, accepted := loopback(t)
	var moved, asked atomic.Int64
	d := newDialer(func(_ context.Context, network, _ string) ([]netip.Addr, error) {
		if network == "ip6" {
			return nil, noSuchHost()
		}
		asked.Add(1)
		return addresses([]string{"127.0.0.1", "127.0.0.2"}[moved.Load()]), nil
	})
	dial := func() {
		t.Helper()
		conn, err := d.dial(t.Context(), "tcp", net.JoinHostPort("h", port))
		if err != nil {
			t.Fatal(err)
		}
		conn.Close()
	}
	dial()
	(<-accepted).Close()
	moved.Store(1)
	d.names.kept = addresses("127.0.0.3") // where nobody listens
	next, err := net.Listen("tcp", "127.0.0.2:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	dial()
	dial()
	if asked.Load() != 2 {
		t.Errorf("asked %d times, want once for each address", asked.Load())
	}
}

// Package net has its own timer for a context's deadline. If it fires first, the error is os.ErrDeadlineExceeded.
func TestTheCallersDeadlineIsToldFromOtherTimeouts(t *testing.T) {
	passed, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, timeout := range []error{os.ErrDeadlineExceeded, context.DeadlineExceeded} {
		err := &net.OpError{Op: "dial", Net: "tcp", Err: timeout}
		if got := ownTimeout(passed, "dial", "tcp", nil, err); !errors.Is(got, context.DeadlineExceeded) {
			t.Errorf("%v after the caller's deadline: %v", timeout, got)
		}
		if got := ownTimeout(t.Context(), "dial", "tcp", nil, err); errors.Is(got, context.DeadlineExceeded) || !errors.Is(got, os.ErrDeadlineExceeded) {
			t.Errorf("%v without a caller's deadline: %v", timeout, got)
		}
	}
	if got := ownTimeout(passed, "dial", "tcp", nil, io.EOF); got != io.EOF {
		t.Errorf("no timeout at all: %v", got)
	}
}
