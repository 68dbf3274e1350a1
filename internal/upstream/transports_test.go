package upstream

// Helpers for this package's tests. Each behaviour is tested both ways, through net/http and directly, against an upstream that
// plays a script byte by byte.

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long to wait for something that must happen. Only a failing test uses it up.
const patience = 20 * time.Second

// tested is an Upstream whose RoundTrip goes the way under test.
type tested struct {
	*Upstream
	kind kind
}

// RoundTrip implements http.RoundTripper. For the direct way it converts between the types of Ask and those of net/http.
func (u *tested) RoundTrip(r *http.Request) (*http.Response, error) {
	if u.kind == async || r.Body != nil || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return u.Upstream.RoundTrip(r)
	}
	asked := Request{Method: r.Method, Target: r.URL.RequestURI()}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		for _, value := range r.Header[name] {
			asked.Fields = append(asked.Fields, Field{name, value})
		}
	}
	got, err := u.Ask(r.Context(), &asked)
	if err != nil {
		return nil, err
	}
	response := &http.Response{StatusCode: got.Status, Header: http.Header{}, ContentLength: got.Length, Body: got.Body, Request: r}
	if got.Text != nil {
		response.Body = io.NopCloser(bytes.NewReader(got.Text))
	}
	for _, f := range got.Fields {
		response.Header[f.Name] = append(response.Header[f.Name], f.Value)
	}
	return response, nil
}

// kind is one of the two ways.
type kind bool

const (
	async kind = false // net/http's
	synch kind = true  // Ask's own
)

func (k kind) String() string {
	if k == synch {
		return "direct"
	}
	return "net/http"
}

// with returns an Upstream for u whose circuit never opens.
func (k kind) with(t testing.TB, u *rawUpstream, change ...func(*http.Transport)) *tested {
	t.Helper()
	rt := k.of(t, u, Options{}, change...)
	rt.circuit.least = math.MaxInt
	return rt
}

// of returns an Upstream for u. Required options that o lacks are filled in.
func (k kind) of(t testing.TB, u *rawUpstream, o Options, change ...func(*http.Transport)) *tested {
	t.Helper()
	o.Name, o.Base, o.Direct = "u", u.base, k == synch
	if o.Timeout == 0 {
		o.Timeout = patience
	}
	if o.Slots == 0 {
		o.Slots = 1000
	}
	settings := newHTTPTransport()
	settings.TLSClientConfig.RootCAs = u.roots
	for _, f := range change {
		f(settings)
	}
	rt, err := newUpstream(o, settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(rt.Close)
	return &tested{rt, k}
}

// both runs a test both ways.
func both(t *testing.T, f func(*testing.T, kind)) {
	t.Helper()
	for _, k := range []kind{async, synch} {
		t.Run(k.String(), func(t *testing.T) { f(t, k) })
	}
}

// rawUpstream runs a script on each connection.
type rawUpstream struct {
	base            *url.URL
	roots           *x509.CertPool // nil without TLS
	conns, requests atomic.Int32
	running         sync.WaitGroup
	over            chan struct{} // closed when the test ends
}

// peer is the upstream's end of a connection.
type peer struct {
	net.Conn
	in       *bufio.Reader
	n        int // index of the connection, from 0
	upstream *rawUpstream
}

// listen runs an upstream until the end of the test.
func listen(t testing.TB, serve func(*peer)) *rawUpstream { return listenWith(t, nil, serve) }

// listeners returns listen and listenTLS, for tests of both.
func listeners() []func(testing.TB, func(*peer)) *rawUpstream {
	return []func(testing.TB, func(*peer)) *rawUpstream{listen, listenTLS}
}

// listenTLS is listen with TLS. Upstreams made by with or of trust its certificate.
func listenTLS(t testing.TB, serve func(*peer)) *rawUpstream {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS() // for its certificate, which is valid for 127.0.0.1
	server.Close()
	u := listenWith(t, &tls.Config{Certificates: server.TLS.Certificates}, serve)
	u.roots = x509.NewCertPool()
	u.roots.AddCert(server.Certificate())
	return u
}

func listenWith(t testing.TB, config *tls.Config, serve func(*peer)) *rawUpstream {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &rawUpstream{base: &url.URL{Scheme: "http", Host: listener.Addr().String()}, over: make(chan struct{})}
	if config != nil {
		u.base.Scheme = "https"
	}
	u.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if config != nil {
				conn = tls.Server(&corked{Conn: conn}, config)
			}
			p := &peer{Conn: conn, in: bufio.NewReader(conn), n: int(u.conns.Add(1)) - 1, upstream: u}
			u.running.Go(func() {
				defer p.Close()
				_ = p.SetDeadline(time.Now().Add(patience))
				serve(p)
			})
		}
	})
	t.Cleanup(func() { close(u.over); listener.Close(); u.running.Wait() })
	return u
}

// request waits for a request and returns it, or nil if the connection ends.
func (p *peer) request() *http.Request {
	r, err := http.ReadRequest(p.in)
	if err != nil {
		return nil
	}
	p.upstream.requests.Add(1)
	return r
}

// send writes an answer, or a part of one.
func (p *peer) send(format string, args ...any) {
	_, _ = fmt.Fprintf(p, format, args...) // the test sees elsewhere that the client has gone
}

// ok sends a whole answer.
func (p *peer) ok(body string) {
	p.send("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// chunked sends an answer whose body holds the connection until it is read. A body with a length may come together with its
// header.
func (p *peer) chunked(body string) {
	p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
}

// reset ends the connection with a RST.
func (p *peer) reset() {
	conn := p.Conn
	if encrypted, ok := conn.(*tls.Conn); ok {
		conn = encrypted.NetConn().(*corked).Conn
	}
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// together sends the TLS records that f writes in one segment.
func (p *peer) together(f func()) {
	cork := p.Conn.(*tls.Conn).NetConn().(*corked)
	cork.held = true
	f()
	cork.held = false
	_, _ = cork.Conn.Write(cork.kept)
}

// corked is a connection that can hold back what is written.
type corked struct {
	net.Conn
	held bool
	kept []byte
}

// Write implements io.Writer.
func (c *corked) Write(b []byte) (int, error) {
	if !c.held {
		return c.Conn.Write(b)
	}
	c.kept = append(c.kept, b...)
	return len(b), nil
}

// ended waits until the other end closes the connection. It reports false if that doesn't happen in time.
func (p *peer) ended() bool {
	_, err := io.Copy(io.Discard, p.in)
	return !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err)
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// newRequest returns a request without a body.
func newRequest(ctx context.Context, t testing.TB, method string, base *url.URL) *http.Request {
	r, err := http.NewRequestWithContext(ctx, method, base.String()+"/v1/info", nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ask sends a request, reads the answer to its end and returns the outcome: "200 [body]", "200 [bo] error".
func ask(ctx context.Context, t testing.TB, rt http.RoundTripper, method string, base *url.URL) string {
	outcome, _ := answerTo(ctx, t, rt, method, base)
	return outcome
}

// answerTo is ask, and returns the answer too, or nil.
func answerTo(ctx context.Context, t testing.TB, rt http.RoundTripper, method string, base *url.URL) (string, *http.Response) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := rt.RoundTrip(newRequest(ctx, t, method, base))
	if err != nil {
		return class(err), nil
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	outcome := fmt.Sprintf("%d [%s]", answer.StatusCode, body)
	if err != nil {
		outcome += " " + class(err)
	}
	return outcome, answer
}

// class returns the part of an error that callers test for.
func class(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "deadline"
	case errors.Is(err, ErrTimeout):
		return "timeout"
	case errors.Is(err, ErrFailed):
		return "error"
	}
	return err.Error()
}

// await returns the next value from a channel.
func await[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came from the channel")
		panic("unreachable")
	}
}

// eventually waits until holds returns true.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !holds(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("never: %s", what)
		}
	}
}

func mustParse(raw string) *url.URL {
	u, err := url.Parse(raw)
	if err != nil {
		panic(err)
	}
	return u
}
