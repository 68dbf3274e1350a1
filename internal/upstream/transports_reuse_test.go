package upstream

// Connections of both ways: which ones are reused, what is repeated when one dies, and that no answer reaches another request.
// Many rows are from net/http's transport_test.go.

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// serveOK answers every request.
func serveOK(p *peer) {
	for p.request() != nil {
		p.ok("good")
	}
}

// serveChunked answers every request with a body that holds its connection until it is read.
func serveChunked(p *peer) {
	for p.request() != nil {
		p.chunked("good")
	}
}

// wantCounts compares how many connections and requests the upstream saw.
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
				want(t, ask(t.Context(), t, rt, "GET", u.base), "200 [good]")
			}
			u.wantCounts(t, 1, 5)
			rt.Close()
			want(t, ask(t.Context(), t, rt, "GET", u.base), "200 [good]")
			u.wantCounts(t, 2, 6)
		}
	})
}

// After a while the upstream's name may have another address. A connection that is never idle would otherwise never be closed.
func TestOldConnectionsAreNotReused(t *testing.T) {
	u := listen(t, serveOK)
	rt := synch.with(t, u)
	idle := &rt.direct.idle
	idle.age = time.Nanosecond
	for range 3 {
		want(t, ask(t.Context(), t, rt, "GET", u.base), "200 [good]")
	}
	u.wantCounts(t, 3, 3)
	idle.age = time.Hour
	for range 3 {
		want(t, ask(t.Context(), t, rt, "GET", u.base), "200 [good]")
	}
	u.wantCounts(t, 4, 6)
}

// A request whose idle connection is closed, or dies before any byte, is sent once more over a new one.
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
			for _, listen := range listeners() {
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
				want(t, ask(t.Context(), t, rt, "GET", u.base), "200 [good]")
				if name == "closed" || name == "reset" {
					<-closed
				}
				for range 2 { // the new connection is kept
					if got := ask(t.Context(), t, rt, "GET", u.base); got != "200 [good]" {
						t.Errorf("%s over %s: %s", name, u.base.Scheme, got)
					}
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
			p.chunked("good")
			p.request()
		})
		rt := k.with(t, u)
		fill(t, rt, u, 8)
		conns, requests := u.conns.Load(), u.requests.Load()
		want(t, ask(t.Context(), t, rt, "GET", u.base), "200 [good]") // over a new connection
		u.wantCounts(t, conns+1, requests+2)

		dying := listen(t, func(p *peer) {
			p.request()
			if p.n < 8 {
				p.chunked("good")
				p.request()
			}
		})
		rt = k.with(t, dying)
		fill(t, rt, dying, 8)
		conns, requests = dying.conns.Load(), dying.requests.Load()
		want(t, ask(t.Context(), t, rt, "GET", dying.base), "error")
		dying.wantCounts(t, conns+1, requests+2)
	})
}

// fill leaves n idle connections. The upstream answers only when n requests have come.
func fill(t *testing.T, rt *tested, u *rawUpstream, n int) {
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
		want(t, ask(t.Context(), t, rt, "GET", u.base), "200 [good]")
		want(t, ask(t.Context(), t, rt, "GET", u.base), "error")
		u.wantCounts(t, 1, 2)
	})
}

func TestFreshConnectionThatDiesIsNotRepeated(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u := listen(t, func(p *peer) { p.request() })
		want(t, ask(t.Context(), t, k.with(t, u), "GET", u.base), "error")
		u.wantCounts(t, 1, 1)
	})
}

// An unrequested answer must reach nobody. Otherwise all later answers on the connection would go to the wrong request.
func TestUnsolicitedAnswerReachesNobody(t *testing.T) {
	for name, evil := range map[string]string{
		"answer": "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", "408": "HTTP/1.1 408 Request Timeout\r\n\r\n", "byte": "\n",
	} {
		for _, listen := range listeners() {
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
			rt := synch.with(t, u) // http.Transport may notice it too late
			want(t, ask(t.Context(), t, rt, "GET", u.base), "200 [good]")
			close(now)
			<-sent
			if got := ask(t.Context(), t, rt, "GET", u.base); got != "200 [good]" || u.conns.Load() != 2 {
				t.Errorf("%s over %s: %s over %d connections", name, u.base.Scheme, got, u.conns.Load())
			}
		}
	}
}

// With TLS, unrequested data may lie in TLS's buffers, decrypted or not, where the socket no longer shows it.
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
	want(t, ask(t.Context(), t, rt, "GET", u.base), "200 [good]")
	want(t, ask(t.Context(), t, rt, "GET", u.base), "200 [good]")
}

func TestIdleConnectionsAreBounded(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		ended := make(chan bool, 10)
		u := listen(t, func(p *peer) {
			serveChunked(p)
			ended <- true
		})
		rt := k.with(t, u, func(next *http.Transport) {
			next.MaxIdleConnsPerHost, next.IdleConnTimeout = 2, 50*time.Millisecond
		})
		fill(t, rt, u, 5)
		for range 5 { // three at once, two later, none by a request
			await(t, ended)
		}
	})
}

func TestIdleConnectionsOfADeadUpstreamAreClosed(t *testing.T) {
	u := listen(t, func(p *peer) {
		p.request()
		p.chunked("good")
	})
	rt := synch.with(t, u)
	idle := &rt.direct.idle
	fill(t, rt, u, 5)
	eventually(t, "all were found closed", func() bool {
		idle.sweep()
		idle.mu.Lock()
		defer idle.mu.Unlock()
		return len(idle.conns) == 0 && idle.timer == nil
	})
}

func TestConnectionsInUseDoNotOutliveClose(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		ended := make(chan bool, 1)
		u := listen(t, func(p *peer) {
			serveChunked(p)
			ended <- true
		})
		rt := k.with(t, u)
		answer, err := rt.RoundTrip(newRequest(t.Context(), t, "GET", u.base))
		if err != nil {
			t.Fatal(err)
		}
		rt.Close()
		if body, err := io.ReadAll(answer.Body); string(body) != "good" || err != nil {
			t.Errorf("%q, %v", body, err)
		}
		await(t, ended)
	})
}

// Among many concurrent callers some leave, and the upstream fails some. Everybody gets their own answer or an error.
func TestNobodyGetsAnothersAnswer(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		for _, listen := range listeners() {
			before := descriptors(t)
			u := listen(t, func(p *peer) { echo(p, k == synch) }) // http.Transport may deliver unrequested data
			rt := k.with(t, u, func(next *http.Transport) { next.MaxIdleConnsPerHost = 8 })
			const workers, each = 16, 30
			var all sync.WaitGroup
			var answered atomic.Int64
			for worker := range workers {
				all.Go(func() {
					for i := range each {
						if askForOwn(t, rt, u, fmt.Sprintf("%d-%d", worker, i)) {
							answered.Add(1)
						}
					}
				})
			}
			all.Wait()
			if n := answered.Load(); n < workers*each/10 {
				t.Errorf("only %d of %d were answered", n, workers*each)
			}
			rt.Close()
			eventually(t, "all descriptors are given back", func() bool { return descriptors(t) <= before+2 })
		}
	})
}

// echo answers with the request's id, in one of many ways.
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
			if !poison {
				p.ok(id)
				break
			}
			// Both in one write: data that comes after the next request was sent looks like that request's answer.
			const whole = "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
			p.send(whole+whole, len(id), id, len("nobody's"), "nobody's")
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

// askForOwn sends a request with this id, and reports whether a whole answer came. It fails the test if the answer is another's.
func askForOwn(t *testing.T, rt *tested, u *rawUpstream, id string) bool {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if rand.N(5) == 0 {
		time.AfterFunc(time.Duration(rand.N(2000))*time.Microsecond, cancel)
	}
	r := newRequest(ctx, t, "GET", u.base)
	r.Header.Set("X-Id", id)
	answer, err := rt.RoundTrip(r)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if rest := strings.ReplaceAll(string(body), id+" ", ""); err == nil && rest != "" {
		t.Errorf("%s got %.100q", id, body)
	}
	return err == nil
}

// descriptors returns the number of open file descriptors.
func descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir("/dev/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}
