package lane

// Connections of a real http.Server, without Options.Answer.

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// serve runs handler behind a lane until the test ends, and returns its address.
func serve(t *testing.T, handler http.HandlerFunc, timeout time.Duration) string {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ConnState: ConnState, ReadHeaderTimeout: timeout, IdleTimeout: patience, MaxHeaderBytes: 16 << 10}
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(Listen(inner, Options{MaxHeaderBytes: 16 << 10, HeaderTimeout: timeout}))
	}()
	t.Cleanup(func() {
		server.Close()
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return inner.Addr().String()
}

// echo answers with the request's method, target and body.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%s %s %s", r.Method, r.RequestURI, body)
}

// dial connects until the test ends. Reading and writing fail after patience.
func dial(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return conn, bufio.NewReader(conn)
}

// answered reads one answer.
func answered(t *testing.T, in *bufio.Reader) (int, string) {
	t.Helper()
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// kinds make a request from a number, and echo's answer to it.
var kinds = []func(i int) (request, answer string){
	func(i int) (string, string) {
		return fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: g\r\n\r\n", i), fmt.Sprintf("GET /%d ", i)
	},
	func(i int) (string, string) {
		body := strings.Repeat("GET /x HTTP/1.1\r\n\r\n", i%700)
		return fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: g\r\nContent-Length: %d\r\n\r\n%s", i, len(body), body), fmt.Sprintf("POST /%d %s", i, body)
	},
	func(i int) (string, string) {
		body := strings.Repeat("0\r\n\r\n", 1+i%3000)
		return fmt.Sprintf("PUT /%d HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n1\r\n.\r\n0\r\nX-Sum: a\r\n\r\n", i, len(body), body),
			fmt.Sprintf("PUT /%d %s.", i, body)
	},
	func(i int) (string, string) {
		return fmt.Sprintf("\r\nDELETE /%d HTTP/1.1\r\nHost: g\r\nCookie: %s\r\n\r\n", i, strings.Repeat("c", i*7%9000)), fmt.Sprintf("DELETE /%d ", i)
	},
}

func TestEachAnswerBelongsToItsRequest(t *testing.T) {
	addr := serve(t, echo, patience)
	for seed := range uint64(20) {
		conn, in := dial(t, addr)
		random := rand.New(rand.NewPCG(seed, 1))
		var all strings.Builder
		var wants []string
		for range 40 {
			request, answer := kinds[random.IntN(len(kinds))](random.IntN(10_000))
			all.WriteString(request)
			wants = append(wants, answer)
		}
		sent := make(chan error, 1)
		go func() { // in pieces of any length, without waiting for answers
			rest := all.String()
			for len(rest) > 0 {
				n := min(len(rest), 1+random.IntN(6000))
				if _, err := io.WriteString(conn, rest[:n]); err != nil {
					sent <- err
					return
				}
				rest = rest[n:]
			}
			sent <- nil
		}()
		for i, want := range wants {
			if status, got := answered(t, in); status != 200 || got != want {
				t.Fatalf("seed %d: answer %d is %d %.80q, want %.80q", seed, i, status, got, want)
			}
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
}

func TestNothingAfterARefusedRequestIsAnswered(t *testing.T) {
	addr := serve(t, echo, patience)
	for _, bad := range []string{"GET / HTTP/1.1\n\r\n", chunked + "2;a\r\n{}\r\n0\r\n\r\n", post + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"} {
		conn, in := dial(t, addr)
		request, want := kinds[2](1)
		io.WriteString(conn, request+bad+get+"\r\n")
		if status, got := answered(t, in); status != 200 || got != want {
			t.Errorf("the request before %q: %d %q", bad, status, got)
		}
		if status, _ := answered(t, in); status != 400 {
			t.Errorf("%q: %d", bad, status)
		}
		if rest, err := io.ReadAll(in); len(rest) > 0 || err != nil {
			t.Errorf("%q: afterwards %q, %v", bad, rest, err)
		}
	}
}

func TestChunkThatIsMalformedLateIsAnErrorOfTheBody(t *testing.T) {
	for _, bad := range []string{"zz\r\n", "2 \r\n{}\r\n", "2;a=b\r\n{}\r\n", "2\r\n{}x", "2\r\n{}\rx", "0\r\n\rx", "0\r\nX\r\n\r\n", "0\r\nX: a\nb: c\r\n\r\n", "0\r\nX: a\rb\r\n\r\n", "0\r\nX: a\x00\r\n\r\n"} {
		begun, left := make(chan bool), make(chan bool, 1)
		addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
			begun <- true
			echo(w, r)
			select {
			case <-r.Context().Done():
				left <- true
			default:
				left <- false
			}
		}, patience)
		conn, in := dial(t, addr)
		io.WriteString(conn, chunked+"5\r\nhello\r\n")
		<-begun
		io.WriteString(conn, bad+get+"\r\n")
		if status, _ := answered(t, in); status != 400 {
			t.Errorf("%q: %d", bad, status)
		}
		if <-left {
			t.Errorf("%q: the request's context ends, as if the client had left", bad)
		}
		if rest, err := io.ReadAll(in); len(rest) > 0 {
			t.Errorf("%q: afterwards %q, %v", bad, rest, err)
		}
	}
}

func TestClientThatLeavesIsNoticed(t *testing.T) {
	begun, left := make(chan bool), make(chan bool)
	addr := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		begun <- true
		<-r.Context().Done()
		left <- true
	}, patience)
	for _, one := range []string{get + "\r\n", post + "Content-Length: 0\r\n\r\n"} {
		conn, _ := dial(t, addr)
		io.WriteString(conn, one)
		<-begun
		conn.Close()
		<-left
	}
}

// A next request that comes early doesn't end the context of the running handler.
func TestNextRequestWaitsForTheAnswer(t *testing.T) {
	begun, answer := make(chan string), make(chan bool)
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		begun <- r.RequestURI
		select {
		case <-answer:
		case <-r.Context().Done():
			t.Error("the context ends")
		}
		io.WriteString(w, r.RequestURI)
	}, patience)
	conn, in := dial(t, addr)
	io.WriteString(conn, strings.Replace(get, "/a", "/1", 1)+"\r\n")
	<-begun
	for i := 2; i < 5; i++ {
		io.WriteString(conn, strings.Replace(get, "/a", fmt.Sprintf("/%d", i), 1)+"\r\n")
		select {
		case uri := <-begun:
			t.Errorf("%s is served before %d is answered", uri, i-1)
		case answer <- true:
		}
		if status, got := answered(t, in); status != 200 || got != fmt.Sprintf("/%d", i-1) {
			t.Errorf("%d %q", status, got)
		}
		if uri := <-begun; uri != fmt.Sprintf("/%d", i) {
			t.Errorf("%s is served, want %d", uri, i)
		}
	}
	answer <- true
	answered(t, in)
}

func TestHeadHasItsTimeFromTheFirstByte(t *testing.T) {
	addr := serve(t, echo, 200*time.Millisecond)
	for _, before := range []string{"", get + "\r\n"} {
		conn, in := dial(t, addr)
		io.WriteString(conn, before)
		if before != "" {
			answered(t, in)
		}
		io.WriteString(conn, "GET /a HTT")
		if rest, err := io.ReadAll(in); len(rest) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("after %q: %q, %v", before, rest, err)
		}
	}
}

func TestExpectedBodyIsAskedFor(t *testing.T) {
	conn, in := dial(t, serve(t, echo, patience))
	io.WriteString(conn, post+"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	if line, err := in.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
	in.ReadString('\n')
	io.WriteString(conn, "hello"+get+"\r\n")
	if status, got := answered(t, in); status != 200 || got != "POST /a hello" {
		t.Errorf("%d %q", status, got)
	}
	if status, got := answered(t, in); status != 200 || got != "GET /a " {
		t.Errorf("%d %q", status, got)
	}
}

// The server drops a body that its handler doesn't read. The next request begins after it.
func TestUnreadBodyIsNotTheNextRequest(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RequestURI) }, patience)
	conn, in := dial(t, addr)
	for i := range 20 {
		request, _ := kinds[1+i%2](i * 31)
		if _, err := io.WriteString(conn, request+request); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if status, got := answered(t, in); status != 200 || got != fmt.Sprintf("/%d", i*31) {
				t.Fatalf("%d %q", status, got)
			}
		}
	}
}
