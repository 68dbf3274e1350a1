package proxy

// This file holds what both transports do about time and about connections: deadlines, cancellation, what is repeated, and
// what becomes of idle connections. Rows are those of net/http's transport_test.go, where a synchronous one could go wrong.

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// serveOK answers every request.
func serveOK(p *peer) {
	for p.request() != nil {
		p.ok("good")
	}
}

// want compares what a call came to.
func want(t *testing.T, got, wanted string) {
	t.Helper()
	if got != wanted {
		t.Errorf("%.200q, want %.200q", got, wanted)
	}
}

// wantCounts compares what the upstream saw.
func (u *rawUpstream) wantCounts(t *testing.T, conns, requests int32) {
	t.Helper()
	if c, r := u.conns.Load(), u.requests.Load(); c != conns || r != requests {
		t.Errorf("%d connections and %d requests, want %d and %d", c, r, conns, requests)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		for _, u := range []*rawUpstream{listen(t, serveOK), listenTLS(t, serveOK)} {
			rt := k.with(t, u)
			for range 5 {
				want(t, call(t.Context(), t, rt, "GET", u.base), "200 [good]")
			}
			u.wantCounts(t, 1, 5)
			rt.CloseIdleConnections()
			want(t, call(t.Context(), t, rt, "GET", u.base), "200 [good]")
			u.wantCounts(t, 2, 6)
		}
	})
}

// A request that finds its idle connection closed, or sees it die before any byte, is sent once more over a new one.
func TestStaleConnectionIsReplaced(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		for name, end := range map[string]func(*peer){
			"closed":                  func(*peer) {},
			"reset":                   (*peer).reset,
			"closed with the request": func(p *peer) { p.request() },
			"reset with the request":  func(p *peer) { p.request(); p.reset() },
			"half-closed": func(p *peer) {
				halfClose(p)
				p.ended()
			},
		} {
			for _, listen := range []func(testing.TB, func(*peer)) *rawUpstream{listen, listenTLS} {
				closed := make(chan struct{})
				u := listen(t, func(p *peer) {
					if p.n > 0 {
						serveOK(p)
						return
					}
					p.request()
					p.ok("good")
					if !strings.HasSuffix(name, "request") {
						defer close(closed)
					}
					end(p)
					p.Close()
				})
				rt := k.with(t, u)
				want(t, call(t.Context(), t, rt, "GET", u.base), "200 [good]")
				if name == "closed" || name == "reset" {
					<-closed
				}
				if got := call(t.Context(), t, rt, "GET", u.base); got != "200 [good]" {
					t.Errorf("%s over %s: %s", name, u.base.Scheme, got)
				}
				if n := u.conns.Load(); n != 2 {
					t.Errorf("%s over %s: %d connections", name, u.base.Scheme, n)
				}
			}
		}
	})
}

func halfClose(p *peer) {
	_ = p.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

func TestDyingConnectionsAreOneRepetition(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u := listen(t, func(p *peer) {
			p.request()
			p.ok("good")
			p.request()
		})
		rt := k.with(t, u)
		fill(t, rt, u, 8)
		conns, requests := u.conns.Load(), u.requests.Load()
		want(t, call(t.Context(), t, rt, "GET", u.base), "200 [good]") // of a new one
		u.wantCounts(t, conns+1, requests+2)

		dying := listen(t, func(p *peer) {
			p.request()
			if p.n < 8 {
				p.ok("good")
				p.request()
			}
		})
		rt = k.with(t, dying)
		fill(t, rt, dying, 8)
		conns, requests = dying.conns.Load(), dying.requests.Load()
		want(t, call(t.Context(), t, rt, "GET", dying.base), "error")
		dying.wantCounts(t, conns+1, requests+2)
	})
}

// fill leaves n idle connections: as many answers are held back until all requests are there.
func fill(t *testing.T, rt transport, u *rawUpstream, n int) {
	t.Helper()
	var answers []*http.Response
	for range n {
		answer, err := rt.RoundTrip(newRequest(t.Context(), t, "GET", u.base))
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, answer)
	}
	for _, answer := range answers {
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
}

func TestNothingIsRepeatedOnceAnAnswerBegan(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u := listen(t, func(p *peer) {
			p.request()
			p.ok("good")
			p.request()
			p.send("H")
		})
		rt := k.with(t, u)
		want(t, call(t.Context(), t, rt, "GET", u.base), "200 [good]")
		want(t, call(t.Context(), t, rt, "GET", u.base), "error")
		u.wantCounts(t, 1, 2)
	})
}

func TestFreshConnectionThatDiesIsNotRepeated(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u := listen(t, func(p *peer) { p.request() })
		want(t, call(t.Context(), t, k.with(t, u), "GET", u.base), "error")
		u.wantCounts(t, 1, 1)
	})
}

// An answer that nobody asked for must reach nobody: the next request's answer would be one behind for ever.
func TestUnsolicitedAnswerReachesNobody(t *testing.T) {
	for name, evil := range map[string]string{
		"answer": "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "408": "HTTP/1.1 408 Request Timeout\r\n\r\n", "byte": "\n",
	} {
		for _, listen := range []func(testing.TB, func(*peer)) *rawUpstream{listen, listenTLS} {
			sent, now := make(chan struct{}), make(chan struct{})
			u := listen(t, func(p *peer) {
				if p.n > 0 {
					serveOK(p)
					return
				}
				p.request()
				p.ok("good")
				<-now
				p.send("%s", evil)
				close(sent)
				p.ended()
			})
			rt := synch.with(t, u) // http.Transport may be too late to see it
			want(t, call(t.Context(), t, rt, "GET", u.base), "200 [good]")
			close(now)
			<-sent
			if got := call(t.Context(), t, rt, "GET", u.base); got != "200 [good]" || u.conns.Load() != 2 {
				t.Errorf("%s over %s: %s over %d connections", name, u.base.Scheme, got, u.conns.Load())
			}
		}
	}
}

// In TLS what came too much may lie decrypted, or not even that, where the socket no longer shows it.
func TestLeftoverRecordReachesNobody(t *testing.T) {
	u := listenTLS(t, func(p *peer) {
		if p.n > 0 {
			serveOK(p)
			return
		}
		p.request()
		p.together(func() {
			p.ok("good")
			p.ok("evil")
		})
		p.ended()
	})
	rt := synch.with(t, u)
	want(t, call(t.Context(), t, rt, "GET", u.base), "200 [good]")
	want(t, call(t.Context(), t, rt, "GET", u.base), "200 [good]")
}

func TestDeadlineAndCancellationEndEveryPhase(t *testing.T) {
	huge := strings.Repeat("a", 32<<20) // more than both sockets hold
	for name, phase := range map[string]struct {
		serve  func(*peer)
		change func(*http.Transport)
		header string
		want   string // before the class of the error
	}{
		"dial": {change: func(t *http.Transport) {
			t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
		}},
		"write":  {header: huge, serve: (*peer).hold},
		"answer": {serve: func(p *peer) { p.request(); p.ended() }},
		"header": {serve: func(p *peer) { p.request(); p.send("HTTP/1.1 200 OK\r\nX: "); p.ended() }},
		"informational": {serve: func(p *peer) {
			p.request()
			p.send("HTTP/1.1 100 Continue\r\n\r\n")
			p.ended()
		}},
		"length": {want: "200 [half] ", serve: func(p *peer) { p.request(); p.send(okHead + "Content-Length: 8\r\n\r\nhalf"); p.ended() }},
		"chunked": {want: "200 [half] ", serve: func(p *peer) {
			p.request()
			p.send(okHead + "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
			p.ended()
		}},
		"end":     {want: "200 [half] ", serve: func(p *peer) { p.request(); p.send(okHead + "\r\nhalf"); p.ended() }},
		"trailer": {want: "200 [] ", serve: func(p *peer) { p.request(); p.send(okHead + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y"); p.ended() }},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, k kind) {
				for _, listen := range []func(testing.TB, func(*peer)) *rawUpstream{listen, listenTLS} {
					u := listen(t, phase.serve)
					rt := k.with(t, u, func(next *http.Transport) {
						if phase.change != nil {
							phase.change(next)
						}
					})
					for class, end := range map[string]func(context.Context) (context.Context, context.CancelFunc){
						"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
							return context.WithTimeout(ctx, 50*time.Millisecond)
						},
						"canceled": func(ctx context.Context) (context.Context, context.CancelFunc) {
							ctx, cancel := context.WithCancel(ctx)
							time.AfterFunc(50*time.Millisecond, cancel)
							return ctx, cancel
						},
					} {
						if name == "end" && k == async && u.roots != nil {
							continue // it may take the upstream's reply to its leave for the body's end
						}
						ctx, cancel := end(t.Context())
						if got := call(ctx, t, withHeader(rt, phase.header), "GET", u.base); got != phase.want+class {
							t.Errorf("over %s: %s, want %s", u.base.Scheme, got, phase.want+class)
						}
						cancel()
					}
				}
			})
		})
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
		want(t, call(ctx, t, k.with(t, u), "GET", u.base), "canceled")
		u.wantCounts(t, 0, 0)
	})
}

// What the context's end comes too late for stays as it is, and the connection is closed or good.
func TestCancellationAfterTheAnswerHarmsNobody(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u := listen(t, serveOK)
		rt := k.with(t, u)
		for range 200 {
			ctx, cancel := context.WithCancel(t.Context())
			want(t, call(ctx, t, rt, "GET", u.base), "200 [good]")
			go cancel()
			want(t, call(t.Context(), t, rt, "GET", u.base), "200 [good]")
		}
	})
}

// The last bytes may have been there already; that the connection is being closed shows nowhere else.
func TestConnectionOfAnEndedContextIsNotKept(t *testing.T) {
	u := listen(t, serveOK)
	rt := synch.with(t, u).(*synchronous)
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
	if n := len(rt.idle.conns); n != 0 {
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
			// A context that ends does the same for who forgets to close.
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

func TestInformationalAnswersAreTold(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u := listen(t, func(p *peer) {
			for p.request() != nil {
				for range 200 {
					p.send("HTTP/1.1 103 Early Hints\r\nX: %s\r\n\r\n", strings.Repeat("a", 1000)) // each within the limit
				}
				p.ok("good")
			}
		})
		rt := k.with(t, u)
		told, fail := 0, error(nil)
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				if told++; code != 103 || len(h.Get("X")) != 1000 {
					t.Errorf("%d %v", code, h)
				}
				return fail
			},
		})
		want(t, call(ctx, t, rt, "GET", u.base), "200 [good]")
		if told != 200 {
			t.Errorf("told of %d", told)
		}
		fail = errors.New("enough")
		want(t, call(ctx, t, rt, "GET", u.base), "error")
	})
}

func TestTLSFaultsAreErrorsAndNoRequest(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u := listenTLS(t, serveOK)
		stranger := &rawUpstream{base: u.base}
		want(t, call(t.Context(), t, k.with(t, stranger), "GET", u.base), "error")
		want(t, call(t.Context(), t, k.with(t, u, func(next *http.Transport) { next.TLSClientConfig.ServerName = "other.example" }), "GET", u.base), "error")
		want(t, call(t.Context(), t, k.with(t, u, func(next *http.Transport) { next.TLSClientConfig.MaxVersion = 0x0302 }), "GET", u.base), "error")
		if n := u.requests.Load(); n != 0 {
			t.Errorf("%d requests", n)
		}
		plain := listen(t, func(p *peer) { p.request(); p.send("HTTP/1.1 400 Bad Request\r\n\r\n") })
		plain.base.Scheme = "https"
		want(t, call(t.Context(), t, k.with(t, plain), "GET", plain.base), "error")
		silent := listen(t, func(p *peer) { p.ended() })
		silent.base.Scheme = "https"
		began := time.Now()
		call(t.Context(), t, k.with(t, silent, func(next *http.Transport) { next.TLSHandshakeTimeout = 50 * time.Millisecond }), "GET", silent.base)
		if time.Since(began) > patience/2 {
			t.Error("the handshake has no time limit of its own")
		}
	})
}

func TestIdleConnectionsAreBounded(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		ended := make(chan bool, 10)
		u := listen(t, func(p *peer) {
			serveOK(p)
			ended <- true
		})
		rt := k.with(t, u, func(next *http.Transport) {
			next.MaxIdleConnsPerHost, next.IdleConnTimeout = 2, 50*time.Millisecond
		})
		fill(t, rt, u, 5)
		for range 5 { // three at once, two later, none by being used
			await(t, ended)
		}
	})
}

func TestIdleConnectionsOfADeadUpstreamAreClosed(t *testing.T) {
	u := listen(t, func(p *peer) {
		p.request()
		p.ok("good")
	})
	rt := synch.with(t, u).(*synchronous)
	fill(t, rt, u, 5)
	eventually(t, "all were found closed", func() bool {
		rt.idle.sweep()
		rt.idle.mu.Lock()
		defer rt.idle.mu.Unlock()
		return len(rt.idle.conns) == 0 && rt.idle.timer == nil
	})
}

func TestConnectionsInUseDoNotOutliveClose(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		ended := make(chan bool, 1)
		u := listen(t, func(p *peer) {
			serveOK(p)
			ended <- true
		})
		rt := k.with(t, u)
		answer, err := rt.RoundTrip(newRequest(t.Context(), t, "GET", u.base))
		if err != nil {
			t.Fatal(err)
		}
		rt.CloseIdleConnections()
		if body, err := io.ReadAll(answer.Body); string(body) != "good" || err != nil {
			t.Errorf("%q, %v", body, err)
		}
		await(t, ended)
	})
}

// Many at once, some of whom leave, some of whom the upstream fails: everybody gets their own answer or an error.
func TestNobodyGetsAnothersAnswer(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		for _, listen := range []func(testing.TB, func(*peer)) *rawUpstream{listen, listenTLS} {
			before := descriptors(t)
			u := listen(t, func(p *peer) { echo(p, k == synch) }) // http.Transport may pass on what came too much
			rt := k.with(t, u, func(next *http.Transport) { next.MaxIdleConnsPerHost = 8 })
			var all sync.WaitGroup
			for worker := range 16 {
				all.Go(func() {
					for i := range 60 {
						askForOwn(t, rt, u, fmt.Sprintf("%d-%d", worker, i))
					}
				})
			}
			all.Wait()
			rt.CloseIdleConnections()
			eventually(t, "all descriptors are given back", func() bool { return descriptors(t) <= before+2 })
		}
	})
}

// echo answers with the id of the request in one of many ways.
func echo(p *peer, poison bool) {
	for {
		r := p.request()
		if r == nil {
			return
		}
		id := strings.Repeat(r.Header.Get("X-Id")+" ", 1+rand.N(400))
		switch rand.N(10) {
		case 0:
			p.send(okHead+"\r\n%s", id)
			return
		case 1:
			p.send(okHead+"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(id), id)
		case 2:
			p.ok(id)
			if poison {
				p.ok("nobody's")
			}
		case 3:
			p.reset()
			return
		case 4:
			p.send(okHead+"Content-Length: %d\r\n\r\n%s", len(id)+1, id)
			return
		default:
			p.ok(id)
		}
	}
}

func askForOwn(t *testing.T, rt transport, u *rawUpstream, id string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if rand.N(5) == 0 {
		time.AfterFunc(time.Duration(rand.N(2000))*time.Microsecond, cancel)
	}
	r := newRequest(ctx, t, "GET", u.base)
	r.Header.Set("X-Id", id)
	answer, err := rt.RoundTrip(r)
	if err != nil {
		return
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if rest := strings.ReplaceAll(string(body), id+" ", ""); err == nil && rest != "" {
		t.Errorf("%s got %.100q", id, body)
	}
}

// descriptors counts what the process has open.
func descriptors(t *testing.T) int {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	return len(open)
}

func TestBothTransportsSendTheSameBytes(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"plain":      func(*http.Request) {},
		"HEAD":       func(r *http.Request) { r.Method = "HEAD" },
		"opaque":     func(r *http.Request) { r.URL.Opaque = "/v1/sessions/a%20b" },
		"query":      func(r *http.Request) { r.URL.RawQuery = "a=b&c" },
		"empty":      func(r *http.Request) { r.URL.Path, r.URL.ForceQuery = "", true },
		"host":       func(r *http.Request) { r.Host = "other.example:1" },
		"no agent":   func(r *http.Request) { r.Header["User-Agent"] = nil },
		"agent":      func(r *http.Request) { r.Header.Set("User-Agent", "x") },
		"values":     func(r *http.Request) { r.Header["X"] = []string{"a", "", "b\tc é"} },
		"length":     func(r *http.Request) { r.Header.Set("Content-Length", "5") },
		"te":         func(r *http.Request) { r.Header.Set("Transfer-Encoding", "chunked") },
		"user":       func(r *http.Request) { r.URL.User = nil },
		"connection": func(r *http.Request) { r.Header.Set("Connection", "close") },
		"close":      func(r *http.Request) { r.Close = true },
		"body":       func(r *http.Request) { r.Body, r.ContentLength = io.NopCloser(strings.NewReader("hello")), 5 },
		"post":       func(r *http.Request) { r.Method = "POST" },
		"newline":    func(r *http.Request) { r.Header["X"] = []string{"a\r\nEvil: x"} },
		"name":       func(r *http.Request) { r.Header["X\r\nEvil"] = []string{"a"} },
		"bad host":   func(r *http.Request) { r.Host = "a\r\nEvil: x" },
		"bad path":   func(r *http.Request) { r.URL.Opaque = "/a HTTP/1.1\r\nEvil: x" },
	} {
		t.Run(name, func(t *testing.T) {
			var sent [2]string
			for i, k := range []kind{async, synch} {
				got := make(chan string, 2)
				u := listen(t, func(p *peer) {
					var head bytes.Buffer
					p.in.Reset(io.TeeReader(p.Conn, &head))
					if p.request() != nil {
						p.ok("good")
					}
					p.ended()
					got <- head.String()
				})
				rt := k.with(t, u)
				r := newRequest(t.Context(), t, "GET", u.base)
				change(r)
				answer, err := rt.RoundTrip(r)
				if err != nil {
					sent[i] = "error"
					continue
				}
				answer.Body.Close()
				rt.CloseIdleConnections()
				sent[i] = strings.ReplaceAll(await(t, got), u.base.Host, "HOST")
			}
			if sent[0] != sent[1] || strings.Contains(sent[1], "\nEvil") {
				t.Errorf("%q and %q", sent[0], sent[1])
			}
		})
	}
}
