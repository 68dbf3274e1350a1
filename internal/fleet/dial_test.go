package fleet

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"testing"
	"time"

	"roomgate/internal/sandbox"
)

// If the pool sees the end too late, it sends a command on a connection that Redis has closed.
func TestPoolSeesThatATLSConnectionHasEnded(t *testing.T) {
	t.Parallel()
	made, err := sandbox.SelfSigned(-time.Hour, time.Hour, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(made.Cert, made.Key)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(made.Cert)
	for name, end := range map[string]func(*tls.Conn) error{
		"said":   (*tls.Conn).Close,
		"unsaid": func(c *tls.Conn) error { return c.NetConn().Close() },
		"reset":  func(c *tls.Conn) error { c.NetConn().(*net.TCPConn).SetLinger(0); return c.NetConn().Close() },
	} {
		l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		accepted := make(chan *tls.Conn, 1)
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(conn).ReadString('\n')
			fmt.Fprint(conn, line)
			accepted <- conn.(*tls.Conn)
		}()
		conn, err := dialer(time.Minute, &tls.Config{RootCAs: roots})(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintln(conn, "hello")
		if line, err := bufio.NewReader(conn).ReadString('\n'); line != "hello\n" || err != nil {
			t.Fatalf("%q, %v", line, err)
		}
		server := <-accepted
		if _, err := conn.(secured).SyscallConn(); err != nil {
			t.Errorf("%s: while it is open: %v", name, err)
		}
		if err := end(server); err != nil {
			t.Fatal(err)
		}
		eventually(t, name+": the end is seen", func() bool { _, err := conn.(secured).SyscallConn(); return err != nil })
	}
}
