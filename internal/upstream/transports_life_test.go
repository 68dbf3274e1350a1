package upstream

// Deadlines, cancellation and closing in every phase of a call, and whatever else the direct way could get wrong. Many rows are
// from net/http's transport_test.go.

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// want compares the outcome of a call.
func want(t *testing.T, got, wanted string) {
	t.Helper()
	if got != wanted {
		t.Errorf("%.200q, want %.200q", got, wanted)
	}
}

func TestDeadlineCancellationAndTimeoutEndEveryPhase(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("a", 32<<20) // more than both sockets' buffers hold
	for name, phase := range map[string]struct {
		serve  func(*peer)
		change func(*http.Transport)
		header string
		want   string // what precedes the error's class
	}{
		"dial": {change: func(t *http.Transport) {
			t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		}},
		"write":         {header: huge, serve: (*peer).hold},
		"answer":        {serve: stall("")},
		"header":        {serve: stall("HTTP/1.1 200 OK\r\nX: ")},
		"informational": {serve: stall("HTTP/1.1 100 Continue\r\n\r\n")},
		"length":        {serve: stall(okHead + "Content-Length: 8\r\n\r\nhalf"), want: "200 [half] "},
		"chunked":       {serve: stall(okHead + "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"), want: "200 [half] "},
		"end":           {serve: stall(okHead + "\r\nhalf"), want: "200 [half] "},
		"trailer":       {serve: stall(okHead + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y"), want: "200 [] "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both(t, func(t *testing.T, k kind) {
				for _, listen := range listeners() {
					u := listen(t, phase.serve)
					if name == "end" && k == async && u.roots != nil {
						continue // it may take the reply to its close alert for the body's end
					}
					for class, end := range map[string]func(context.Context, *Options, time.Duration) (context.Context, context.CancelFunc){
						"deadline": func(ctx context.Context, _ *Options, after time.Duration) (context.Context, context.CancelFunc) {
							return context.WithTimeout(ctx, after)
						},
						"canceled": func(ctx context.Context, _ *Options, after time.Duration) (context.Context, context.CancelFunc) {
							ctx, cancel := context.WithCancel(ctx)
							time.AfterFunc(after, cancel)
							return ctx, cancel
						},
						"timeout": func(ctx context.Context, o *Options, after time.Duration) (context.Context, context.CancelFunc) {
							o.Timeout = after
							return ctx, func() {}
						},
					} {
						got := ""
						// On a busy machine it takes longer to reach the phase.
						for after := 20 * time.Millisecond; got != phase.want+class && after < patience/4; after *= 4 {
							var o Options
							ctx, cancel := end(t.Context(), &o, after)
							rt := k.of(t, u, o, func(next *http.Transport) {
								if phase.change != nil {
									phase.change(next)
								}
							})
							got = ask(ctx, t, withHeader(rt, phase.header), "GET", u.base)
							cancel()
						}
						if got != phase.want+class {
							t.Errorf("over %s: %s, want %s", u.base.Scheme, got, phase.want+class)
						}
					}
				}
			})
		})
	}
}

// stall sends a part of an answer and then nothing.
func stall(part string) func(*peer) {
	return func(p *peer) {
		p.request()
		p.send("%s", part)
		p.ended()
	}
}

// hold keeps the connection without reading from it.
func (p *peer) hold() {
	if encrypted, ok := p.Conn.(*tls.Conn); ok {
		_ = encrypted.HandshakeContext(context.Background())
	}
	<-p.upstream.over
}

type headerTransport struct {
	http.RoundTripper
	value string
}

func (h headerTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if h.value != "" {
		r.Header.Set("X-Huge", h.value)
	}
	return h.RoundTripper.RoundTrip(r)
}

func withHeader(rt http.RoundTripper, value string) http.RoundTripper {
	return headerTransport{rt, value}
}

func TestContextThatHasEndedSendsNothing(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u := listen(t, serveOK)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		want(t, ask(ctx, t, k.with(t, u), "GET", u.base), "canceled")
		u.wantCounts(t, 0, 0)
	})
}

// A context that ends after the answer changes nothing. The connection is either closed or usable.
func TestCancellationAfterTheAnswerHarmsNobody(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u := listen(t, serveOK)
		rt := k.with(t, u)
		for range 200 {
			ctx, cancel := context.WithCancel(t.Context())
			want(t, ask(ctx, t, rt, "GET", u.base), "200 [good]")
			go cancel()
			want(t, ask(t.Context(), t, rt, "GET", u.base), "200 [good]")
		}
	})
}

// The last bytes may have come already. Nothing else shows that the connection is being closed.
func TestConnectionOfAnEndedContextIsNotKept(t *testing.T) {
	u := listen(t, serveChunked)
	rt := synch.with(t, u)
	ctx, cancel := context.WithCancel(t.Context())
	answer, err := rt.RoundTrip(newRequest(ctx, t, "GET", u.base))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadFull(answer.Body, make([]byte, 1))
	cancel()
	if rest, err := io.ReadAll(answer.Body); string(rest) != "ood" || err != nil {
		t.Errorf("%q, %v", rest, err)
	}
	if n := len(rt.direct.idle.conns); n != 0 {
		t.Errorf("%d idle connections", n)
	}
}

func TestUnreadBodyCostsTheConnection(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		for _, framing := range []string{"Content-Length: 100000", "Connection: close", "Transfer-Encoding: chunked"} {
			ended := make(chan bool, 2)
			u := listen(t, func(p *peer) {
				p.request()
				p.send("%s%s\r\n\r\n1\r\na", okHead, framing)
				ended <- p.ended()
			})
			rt := k.with(t, u)
			answer, err := rt.RoundTrip(newRequest(t.Context(), t, "GET", u.base))
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			if !await(t, ended) {
				t.Errorf("%s: the connection is still there", framing)
			}
			if n, err := answer.Body.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
				t.Errorf("%s: read %d, %v after close", framing, n, err)
			}
			// If the caller forgets to close the body, the end of the context does the same.
			ctx, cancel := context.WithCancel(t.Context())
			if _, err := rt.RoundTrip(newRequest(ctx, t, "GET", u.base)); err != nil {
				t.Fatal(err)
			}
			cancel()
			await(t, ended)
		}
	})
}

func TestCloseInterruptsARead(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u := listen(t, func(p *peer) {
			p.request()
			p.send(okHead + "Content-Length: 8\r\n\r\nhalf")
			p.ended()
		})
		answer, err := k.with(t, u).RoundTrip(newRequest(t.Context(), t, "GET", u.base))
		if err != nil {
			t.Fatal(err)
		}
		first, done := make(chan struct{}), make(chan error)
		go func() {
			_, err := io.ReadFull(answer.Body, make([]byte, 4))
			close(first)
			if err == nil {
				_, err = answer.Body.Read(make([]byte, 4))
			}
			done <- err
		}()
		<-first
		answer.Body.Close()
		if err := await(t, done); err == nil || err == io.EOF {
			t.Errorf("%v", err)
		}
	})
}

func TestBodyThatIsReadWholeNeedsNoClose(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u := listen(t, serveOK)
		rt := k.with(t, u)
		for range 3 {
			answer, err := rt.RoundTrip(newRequest(t.Context(), t, "GET", u.base))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(answer.Body, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
		}
		u.wantCounts(t, 1, 3)
	})
}

func TestTLSFaultsAreErrorsAndNoRequest(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u := listenTLS(t, serveOK)
		for _, change := range []func(*http.Transport){
			func(next *http.Transport) { next.TLSClientConfig.RootCAs = nil },
			func(next *http.Transport) { next.TLSClientConfig.ServerName = "other.example" },
			func(next *http.Transport) { next.TLSClientConfig.MaxVersion = tls.VersionTLS11 },
		} {
			want(t, ask(t.Context(), t, k.with(t, u, change), "GET", u.base), "error")
		}
		if n := u.requests.Load(); n != 0 {
			t.Errorf("%d requests", n)
		}
		plain := listen(t, func(p *peer) { p.request(); p.send("HTTP/1.1 400 Bad Request\r\n\r\n") })
		plain.base.Scheme = "https"
		want(t, ask(t.Context(), t, k.with(t, plain), "GET", plain.base), "error")
		silent := listen(t, func(p *peer) { p.ended() })
		silent.base.Scheme = "https"
		began := time.Now()
		rt := k.with(t, silent, func(next *http.Transport) { next.TLSHandshakeTimeout = 50 * time.Millisecond })
		want(t, ask(t.Context(), t, rt, "GET", silent.base), "error") // not the caller's deadline
		if time.Since(began) > patience/2 {
			t.Error("the handshake has no time limit of its own")
		}
	})
}

func TestBothTransportsSendTheSameBytes(t *testing.T) {
	agent := Field{"User-Agent", "x"}
	for name, r := range map[string]Request{
		"plain":    {Target: "/v1/info"},
		"HEAD":     {Method: "HEAD", Target: "/v1/info"},
		"encoded":  {Target: "/v1/sessions/a%20b"},
		"query":    {Target: "/v1/info?a=b&c"},
		"empty":    {Target: "/?"},
		"agent":    {Target: "/", Fields: []Field{agent}},
		"no agent": {Target: "/", Fields: []Field{{"User-Agent", ""}}},
		"values":   {Target: "/", Fields: []Field{agent, {"X", "a"}, {"X", ""}, {"X", "b\tc é"}, {"Y", " padded "}}},
		"body":     {Method: "POST", Target: "/", Body: io.NopCloser(strings.NewReader("hello")), Length: 5},
		"newline":  {Target: "/", Fields: []Field{{"X", "a\r\nEvil: x"}}},
		"name":     {Target: "/", Fields: []Field{{"X\r\nEvil", "a"}}},
		"target":   {Target: "/a HTTP/1.1\r\nEvil: x"},
	} {
		t.Run(name, func(t *testing.T) {
			r.Method = cmp.Or(r.Method, "GET")
			var sent [2]string
			for i, k := range []kind{async, synch} {
				got := make(chan string, 2)
				u := listen(t, func(p *peer) {
					var head bytes.Buffer
					p.in.Reset(io.TeeReader(p.Conn, &head))
					if r := p.request(); r != nil {
						_, _ = io.Copy(io.Discard, r.Body)
						p.ok("good")
					}
					p.ended()
					got <- head.String()
				})
				rt := k.with(t, u)
				if r.Body != nil {
					r.Body = io.NopCloser(strings.NewReader("hello"))
				}
				answer, err := rt.Ask(t.Context(), &r)
				if err != nil {
					sent[i] = "error"
					continue
				}
				answer.Body.Close()
				rt.Close()
				sent[i] = strings.ReplaceAll(await(t, got), u.base.Host, "HOST")
			}
			if sent[0] != sent[1] || strings.Contains(sent[1], "\nEvil") {
				t.Errorf("%q and %q", sent[0], sent[1])
			}
		})
	}
}
