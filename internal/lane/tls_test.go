package lane

// With TLS, the lane reads HTTP/1 and leaves HTTP/2 to the server.

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// serveTLS is like serve, with TLS, HTTP/1 and HTTP/2.
func serveTLS(t *testing.T, handler http.HandlerFunc, timeout time.Duration) string {
	t.Helper()
	lender := httptest.NewTLSServer(nil) // it has a certificate
	lender.Close()
	config := func() *tls.Config {
		return &tls.Config{Certificates: lender.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}}
	}
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{
		Handler: handler, ConnState: ConnState, ReadHeaderTimeout: timeout, TLSConfig: config(), ErrorLog: log.New(io.Discard, "", 0),
	}
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(ListenTLS(inner, config(), Options{MaxHeaderBytes: 16 << 10, HeaderTimeout: timeout}))
	}()
	t.Cleanup(func() {
		server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return inner.Addr().String()
}

// dialTLS connects until the test ends.
func dialTLS(t *testing.T, addr string) (*tls.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn, bufio.NewReader(conn)
}

func TestHTTP1OverTLSIsReadStrictly(t *testing.T) {
	addr := serveTLS(t, func(w http.ResponseWriter, r *http.Request) {
		if r.TLS == nil || !r.TLS.HandshakeComplete {
			t.Error("the request has no TLS state")
		}
		echo(w, r)
	}, patience)
	conn, in := dialTLS(t, addr)
	for i, kind := range kinds {
		request, want := kind(i + 100)
		io.WriteString(conn, request+request)
		for range 2 {
			if status, got := answered(t, in); status != 200 || got != want {
				t.Errorf("%d %.80q, want %.80q", status, got, want)
			}
		}
	}
	io.WriteString(conn, "GET / HTTP/1.1\nHost: g\r\n\r\n"+get+"\r\n")
	if status, _ := answered(t, in); status != 400 {
		t.Errorf("a bare line feed: %d", status)
	}
	if rest, err := io.ReadAll(in); len(rest) > 0 || err != nil {
		t.Errorf("afterwards %q, %v", rest, err)
	}
}

func TestHTTP2IsLeftToTheServer(t *testing.T) {
	addr := serveTLS(t, echo, patience)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Post("https://"+addr+"/a", "", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); answer.ProtoMajor != 2 || string(body) != "POST /a hello" || err != nil {
		t.Errorf("%s %q, %v", answer.Proto, body, err)
	}
}

func TestHandshakeHasItsTime(t *testing.T) {
	conn, in := dial(t, serveTLS(t, echo, 100*time.Millisecond))
	io.WriteString(conn, "\x16\x03\x01")
	if rest, err := io.ReadAll(in); len(rest) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%q, %v", rest, err)
	}
}

func TestFailedHandshakeIsTheServersToAnswer(t *testing.T) {
	conn, in := dial(t, serveTLS(t, echo, patience))
	io.WriteString(conn, get+"\r\n")
	if rest, err := io.ReadAll(in); !strings.Contains(string(rest), "HTTP request to an HTTPS server") {
		t.Errorf("%q, %v", rest, err)
	}
}

// goleak fails if a handshake outlives its listener.
func TestHandshakesEndWithTheListener(t *testing.T) {
	addr := serveTLS(t, echo, 0)
	conn, _ := dial(t, addr)
	io.WriteString(conn, "\x16\x03\x01")
	dialTLS(t, addr)
}
