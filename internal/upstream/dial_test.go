package upstream

// This file holds how a connection comes about when a name has several addresses. The whole program's tests (rows U13 and
// O09) add the name server and addresses that swallow what they are sent.

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// loopback listens on a free port of 127.0.0.1 alone, and hands over what it accepts.
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

func TestDialGoesOnToTheNextAddress(t *testing.T) {
	port, accepted := loopback(t)
	conn, err := dialFirst(t.Context(), "tcp", addresses("127.0.0.2", "127.0.0.3", "127.0.0.1"), port)
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
	_, err := dialFirst(t.Context(), "tcp", addresses("127.0.0.2", "127.0.0.3"), port)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.2") {
		t.Errorf("%v", err)
	}
}

func TestDialTakesLiteralAddressesAndNames(t *testing.T) {
	port, accepted := loopback(t)
	for _, host := range []string{"127.0.0.1", "localhost", "::ffff:127.0.0.1"} {
		conn, err := dial(t.Context(), "tcp", net.JoinHostPort(host, port))
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		conn.Close()
		(<-accepted).Close()
	}
}

// The limit of a connection is the upstream's fault, the caller's deadline is the call's.
func TestDialTellsItsOwnLimitFromTheCallersDeadline(t *testing.T) {
	late := &net.OpError{Op: "dial", Err: context.DeadlineExceeded}
	if err := ownTimeout(t.Context(), "tcp", nil, late); errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the connection's own limit: %v", err)
	}
	over, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if err := ownTimeout(over, "tcp", nil, late); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller's deadline: %v", err)
	}
	_, err := dialFirst(over, "tcp", addresses("127.0.0.2", "127.0.0.3"), "1")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller who is late: %v", err)
	}
}
