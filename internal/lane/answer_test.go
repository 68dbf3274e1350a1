package lane

// Answers by the lane itself, on connections of a real http.Server.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// serveLane runs a server behind a lane until the test ends. answer is Options.Answer.
func serveLane(t *testing.T, answer func(*Writer, *Request) string, change ...func(*Options, *http.Server)) (addr string, l *Listener) {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := Options{MaxHeaderBytes: 16 << 10, HeaderTimeout: patience, IdleTimeout: patience, WriteTimeout: patience, Answer: answer}
	server := &http.Server{
		Handler: http.HandlerFunc(echo), ConnState: ConnState, ReadHeaderTimeout: patience, ReadTimeout: patience, IdleTimeout: patience,
	}
	for _, f := range change {
		f(&o, server)
	}
	l = Listen(inner, o)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Close()
		l.Abort()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return inner.Addr().String(), l
}

// mine answers targets that begin with /lane, and leaves all others to the server.
func mine(w *Writer, r *Request) string {
	if !strings.HasPrefix(r.Target, "/lane") {
		return "other"
	}
	body := "lane " + r.Target
	w.Begin(200)
	w.Line("Content-Length", fmt.Sprint(len(body)))
	_ = w.Whole([]byte(body))
	return ""
}

// Every order of three of five kinds of requests, sent at once or in pieces.
func TestAnswersBelongToTheirRequests(t *testing.T) {
	kinds := []func(i int) (request, answer string){
		func(i int) (string, string) {
			return fmt.Sprintf("GET /lane/%d HTTP/1.1\r\nHost: g\r\n\r\n", i), fmt.Sprintf("lane /lane/%d", i)
		},
		func(i int) (string, string) {
			return fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: g\r\n\r\n", i), fmt.Sprintf("GET /%d ", i)
		},
		func(i int) (string, string) {
			return fmt.Sprintf("POST /lane/%d HTTP/1.1\r\nHost: g\r\nContent-Length: 5\r\n\r\nGET /", i), fmt.Sprintf("POST /lane/%d GET /", i)
		},
		func(i int) (string, string) {
			return fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", i), fmt.Sprintf("POST /%d abc", i)
		},
		func(i int) (string, string) { // longer than the server's buffer
			return fmt.Sprintf("GET /lane/%d HTTP/1.1\r\nHost: g\r\nX: %s\r\n\r\n", i, strings.Repeat("x", 5000)), fmt.Sprintf("lane /lane/%d", i)
		},
	}
	addr, _ := serveLane(t, mine)
	for _, size := range []int{1 << 20, 4096, 700, 13} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			t.Parallel()
			var all strings.Builder
			var want []string
			for i := range len(kinds) * len(kinds) * len(kinds) {
				for _, kind := range []int{i % 5, i / 5 % 5, i / 25} {
					request, answer := kinds[kind](i)
					all.WriteString(request)
					want = append(want, answer)
				}
			}
			conn, in := dial(t, addr)
			go func() {
				for rest := all.String(); rest != ""; {
					n := min(size, len(rest))
					if _, err := io.WriteString(conn, rest[:n]); err != nil {
						return
					}
					rest = rest[n:]
				}
			}()
			for i, answer := range want {
				if status, body := answered(t, in); status != 200 || body != answer {
					t.Fatalf("answer %d: %d %q, want %q", i, status, body, answer)
				}
			}
		})
	}
}

// In a long call the lane watches the client by reading. The byte that it reads belongs to the next request and must not be lost.
func TestLongCallsLoseNothing(t *testing.T) {
	addr, _ := serveLane(t, func(w *Writer, r *Request) string {
		if strings.HasSuffix(r.Target, "slow") {
			eventuallyWatched(r.conn)
		}
		return mine(w, r)
	})
	conn, in := dial(t, addr)
	for range 3 {
		for _, target := range []string{"/lane/slow", "/lane/1", "/slow", "/lane/slow", "/lane/slow", "/2"} {
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: g\r\n\r\n", target)
		}
		for _, want := range []string{"lane /lane/slow", "lane /lane/1", "GET /slow ", "lane /lane/slow", "lane /lane/slow", "GET /2 "} {
			if status, body := answered(t, in); status != 200 || body != want {
				t.Fatalf("%d %q, want %q", status, body, want)
			}
		}
	}
}

// eventuallyWatched waits until the client is watched.
func eventuallyWatched(c *Conn) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for c.state.Load()&watchedMark == 0 {
		<-tick.C
	}
}

func TestClientThatLeavesALaneCallIsNoticed(t *testing.T) {
	left := make(chan struct{})
	addr, _ := serveLane(t, func(w *Writer, r *Request) string {
		gone := make(chan struct{})
		r.OnLeave(func() { close(gone) })
		<-gone
		close(left)
		return ""
	})
	conn, _ := dial(t, addr)
	fmt.Fprint(conn, "GET /lane HTTP/1.1\r\nHost: g\r\n\r\n")
	conn.Close()
	select {
	case <-left:
	case <-time.After(patience):
		t.Fatal("never noticed")
	}
}

// The lane must not take the call for unwatched while the function of OnLeave may still be called.
func TestAClosedConnectionIsWatchedUntilItsCallEnds(t *testing.T) {
	conns, watched := make(chan *Conn, 1), make(chan bool, 1)
	addr, l := serveLane(t, func(w *Writer, r *Request) string {
		leaving, let := make(chan struct{}), make(chan struct{})
		r.OnLeave(func() {
			close(leaving)
			<-let
		})
		conns <- r.conn
		<-leaving
		watched <- r.OnLeave(nil)
		close(let)
		return mine(w, r)
	})
	conn, _ := dial(t, addr)
	fmt.Fprint(conn, "GET /lane HTTP/1.1\r\nHost: g\r\n\r\n")
	eventuallyWatched(<-conns)
	l.Abort()
	if !<-watched {
		t.Error("not watched, though the function is being called")
	}
}

// stuck is a connection that takes long to close, like one with TLS whose client reads nothing.
type stuck struct {
	net.Conn
	closing, let chan struct{}
}

func (s *stuck) Close() error {
	close(s.closing)
	<-s.let
	return s.Conn.Close()
}

func TestAConnectionThatTakesLongToCloseHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, let := newConns(&Options{IdleTimeout: time.Second}), make(chan struct{})
		for range 20 {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			inner := &stuck{ours, make(chan struct{}), let}
			c, began := newConn(inner, all), time.Now()
			all.add(c)
			c.enter(idle)
			go func() {
				<-inner.closing
				if took := time.Since(began); took > 1200*time.Millisecond {
					t.Errorf("closed after %v", took)
				}
			}()
			time.Sleep(watchEvery)
		}
		time.Sleep(time.Minute)
		close(let)
	})
}

// The server takes a connection for idle while the lane answers on it.
func TestAnswersAreWaitedForAtTheEnd(t *testing.T) {
	begun, let := make(chan struct{}), make(chan struct{})
	var server *http.Server
	addr, l := serveLane(t, func(w *Writer, r *Request) string {
		if r.Target == "/lane/held" {
			close(begun)
			<-let
		}
		return mine(w, r)
	}, func(_ *Options, s *http.Server) { server = s })
	conn, in := dial(t, addr)
	fmt.Fprint(conn, "GET /1 HTTP/1.1\r\nHost: g\r\n\r\n") // makes the connection idle for the server
	answered(t, in)
	idle, idleIn := dial(t, addr)
	fmt.Fprint(idle, "GET /lane HTTP/1.1\r\nHost: g\r\n\r\n")
	answered(t, idleIn)
	fmt.Fprint(idle, "GET /2 HTTP/1.1\r\nHost: g\r\n\r\n")
	answered(t, idleIn)
	fmt.Fprint(conn, "GET /lane/held HTTP/1.1\r\nHost: g\r\n\r\n")
	<-begun
	if err := server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Wait(over); err == nil {
		t.Error("Wait doesn't wait for the answer")
	}
	close(let)
	if status, body := answered(t, in); status != 200 || body != "lane /lane/held" {
		t.Errorf("%d %q", status, body)
	}
	if err := l.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	for _, in := range []io.Reader{in, idleIn} {
		if n, err := in.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Error("a connection is still open")
		}
	}
}

// The server takes a connection for new as long as only the lane has answered on it.
func TestIdleConnectionsAreClosedAtTheEnd(t *testing.T) {
	begun, let := make(chan struct{}), make(chan struct{})
	addr, l := serveLane(t, func(w *Writer, r *Request) string {
		if r.Target == "/lane/held" {
			close(begun)
			<-let
		}
		return mine(w, r)
	})
	idle, idleIn := dial(t, addr)
	fmt.Fprint(idle, "GET /lane HTTP/1.1\r\nHost: g\r\n\r\n")
	answered(t, idleIn)
	busy, busyIn := dial(t, addr)
	fmt.Fprint(busy, "GET /lane/held HTTP/1.1\r\nHost: g\r\n\r\n")
	<-begun
	l.CloseIdle()
	if _, err := idleIn.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("an idle connection: %v", err)
	}
	close(let)
	if status, body := answered(t, busyIn); status != 200 || body != "lane /lane/held" {
		t.Errorf("%d %q", status, body)
	}
	if _, err := busyIn.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("a connection that has become idle: %v", err)
	}
}

func TestIdleAndSlowConnectionsAreClosed(t *testing.T) {
	addr, l := serveLane(t, func(w *Writer, r *Request) string {
		if r.Target != "/lane/big" {
			return mine(w, r)
		}
		w.Begin(200)
		_, _ = w.Stream(nil, endless{})
		return ""
	}, func(o *Options, s *http.Server) {
		o.IdleTimeout, o.WriteTimeout = 300*time.Millisecond, 300*time.Millisecond
	})
	for _, target := range []string{"/lane", "/lane/big"} {
		conn, in := dial(t, addr)
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: g\r\n\r\n", target)
		if target == "/lane" {
			answered(t, in)
			if _, err := in.ReadByte(); err == nil || isTimeout(err) {
				t.Errorf("an idle connection: %v", err)
			}
			continue
		}
		// The client reads nothing, so the lane closes the connection, and the endless answer ends.
		if err := l.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// A connection that was idle after an answer of the lane isn't idle while the server answers.
func TestAConnectionIsNotIdleWhileTheServerAnswers(t *testing.T) {
	for kind, wait := range map[string]func(*Listener){
		"CloseIdle": (*Listener).CloseIdle,
		"IdleTimeout": func(l *Listener) {
			tick := time.NewTicker(watchEvery / 10)
			defer tick.Stop()
			for last := l.conns.round.Load() + 6; l.conns.round.Load() < last && len(l.conns.open()) > 0; {
				<-tick.C
			}
		},
	} {
		for _, request := range []string{
			"POST /late HTTP/1.1\r\nHost: g\r\nContent-Length: 4\r\n\r\nbody", "GET /late HTTP/1.1\r\nHost: g\r\n\r\n",
		} {
			t.Run(kind+" "+request[:4], func(t *testing.T) {
				begun, let := make(chan struct{}), make(chan struct{})
				addr, l := serveLane(t, mine, func(o *Options, s *http.Server) {
					o.IdleTimeout = 3 * watchEvery
					s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						close(begun)
						<-let
						echo(w, r)
					})
				})
				conn, in := dial(t, addr)
				fmt.Fprint(conn, "GET /lane HTTP/1.1\r\nHost: g\r\n\r\n")
				answered(t, in)
				fmt.Fprint(conn, request)
				<-begun
				wait(l)
				close(let)
				if status, _ := answered(t, in); status != 200 {
					t.Errorf("status %d", status)
				}
			})
		}
	}
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// The server's read deadlines for its first request on a connection start when it gets that request, not before. net/http sets
// one when it has read the head.
func TestDeadlinesBeginWithTheServersRequest(t *testing.T) {
	t.Parallel()
	const short = 2 * time.Second
	for name, head := range map[string][]string{
		"a head that comes at once":   {"POST /late HTTP/1.1\r\nHost: g\r\nContent-Length: 4\r\n\r\n"},
		"a head that comes in pieces": strings.SplitAfter("POST /late HTTP/1.1\r\nHost: g\r\nContent-Length: 4\r\n\r\n", ""),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begun := make(chan struct{}, 2)
			addr, _ := serveLane(t, mine, func(_ *Options, s *http.Server) {
				s.ReadHeaderTimeout, s.ReadTimeout = short, short
				s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					begun <- struct{}{}
					echo(w, r)
				})
			})
			conn, in := dial(t, addr)
			for began := time.Now(); time.Since(began) < 2*short; {
				fmt.Fprint(conn, "GET /lane HTTP/1.1\r\nHost: g\r\n\r\n")
				answered(t, in)
			}
			for _, piece := range head {
				fmt.Fprint(conn, piece)
			}
			<-begun
			fmt.Fprint(conn, "body")
			if status, body := answered(t, in); status != 200 || body != "POST /late body" {
				t.Errorf("%d %q", status, body)
			}
			fmt.Fprint(conn, "POST /never HTTP/1.1\r\nHost: g\r\nContent-Length: 4\r\n\r\nbo")
			if status, _ := answered(t, in); status != 400 {
				t.Errorf("a body that doesn't come: %d", status)
			}
		})
	}
}

// io.Reader may return bytes and an error at once, and need not return the error again.
func TestAnErrorThatComesWithTheLastBytesEndsTheAnswer(t *testing.T) {
	for end, want := range map[error]string{io.EOF: "4\r\nlast\r\n0\r\n\r\n", io.ErrUnexpectedEOF: "4\r\nlast"} {
		addr, _ := serveLane(t, func(w *Writer, _ *Request) string {
			w.Begin(200)
			w.Line("Connection", "close")
			_, _ = w.Stream(nil, &once{end: end})
			return ""
		})
		conn, in := dial(t, addr)
		fmt.Fprint(conn, "GET /lane HTTP/1.1\r\nHost: g\r\n\r\n")
		got, _ := io.ReadAll(in)
		if _, body, _ := strings.Cut(string(got), "\r\n\r\n"); body != want {
			t.Errorf("%v: %q, want %q", end, body, want)
		}
	}
}

// once returns its error with all of its bytes, and a second Read blocks for ever.
type once struct {
	end  error
	read bool
}

func (o *once) Read(p []byte) (int, error) {
	if o.read {
		select {}
	}
	o.read = true
	return copy(p, "last"), o.end
}

// If Read returned another error than io.EOF, the server would write a 400. The client might take that for the missing part of the body.
func TestNothingFollowsAnAnswerThatBreaksOff(t *testing.T) {
	addr, _ := serveLane(t, func(w *Writer, r *Request) string {
		if r.Target == "/lane/none" {
			return ""
		}
		w.Begin(200)
		w.Line("Content-Length", "50")
		_, _ = w.Stream([]byte("begun"), iotest.ErrReader(io.ErrUnexpectedEOF))
		return ""
	})
	for target, want := range map[string]string{"/lane/none": "", "/lane/part": "begun"} {
		conn, in := dial(t, addr)
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: g\r\n\r\nGET /1 HTTP/1.1\r\nHost: g\r\n\r\n", target)
		got, err := io.ReadAll(in)
		if _, body, _ := strings.Cut(string(got), "\r\n\r\n"); body != want || isTimeout(err) {
			t.Errorf("%s: %q, %v", target, got, err)
		}
	}
}

func TestAPanicClosesTheConnectionAlone(t *testing.T) {
	addr, l := serveLane(t, func(w *Writer, r *Request) string {
		if r.Target == "/lane/panic" {
			panic("on purpose")
		}
		return mine(w, r)
	}, func(_ *Options, s *http.Server) { s.ErrorLog = log.New(io.Discard, "", 0) })
	conn, in := dial(t, addr)
	fmt.Fprint(conn, "GET /lane/panic HTTP/1.1\r\nHost: g\r\n\r\n")
	if _, err := in.ReadByte(); err == nil {
		t.Error("the panic was answered")
	}
	if err := l.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	conn, in = dial(t, addr)
	fmt.Fprint(conn, "GET /lane HTTP/1.1\r\nHost: g\r\n\r\n")
	answered(t, in)
}
