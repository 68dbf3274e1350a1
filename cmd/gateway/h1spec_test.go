package main

// The cases of uNetworking's h1spec (http_test.ts), copied by hand: the catalogue's row S16. They need a server that echoes whatever
// it gets. Here Glory does, and requests for / are sent to /api/.

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// h1spec are the cases with an answer, by their descriptions there. Where h1spec accepts several statuses, want is the gateway's.
var h1spec = []struct {
	name, send string
	want       int
	body       string // of a 200
}{
	{"Request without HTTP version", "GET /api/ \r\n\r\n", 400, ""},
	{"Request with Expect header", "GET /api/ HTTP/1.1\r\nHost: example.com\r\nExpect: 100-continue\r\n\r\n", 200, ""},
	{"Valid GET request", "GET /api/ HTTP/1.1\r\nHost: example.com\r\n\r\n", 200, ""},
	{"Valid GET request with edge cases", "GET /api/ HTTP/1.1\r\nhoSt:\texample.com\r\nempty:\r\n\r\n", 200, ""},
	{"Invalid header characters", "GET /api/ HTTP/1.1\r\nHost: example.com\r\nX-Invalid[]: test\r\n\r\n", 400, ""},
	{"Missing Host header", "GET /api/ HTTP/1.1\r\nContent-Length: 5\r\n\r\n", 400, ""},
	{"Multiple Host headers", "GET /api/ HTTP/1.1\r\nHost: example.com\r\nHost: example.org\r\n\r\n", 400, ""},
	{"Overflowing negative Content-Length header", "GET /api/ HTTP/1.1\r\nHost: example.com\r\nContent-Length: -123456789123456789123456789\r\n\r\n", 400, ""},
	{"Negative Content-Length header", "GET /api/ HTTP/1.1\r\nHost: example.com\r\nContent-Length: -1234\r\n\r\n", 400, ""},
	{"Non-numeric Content-Length header", "GET /api/ HTTP/1.1\r\nHost: example.com\r\nContent-Length: abc\r\n\r\n", 400, ""},
	{"Empty header value", "GET /api/ HTTP/1.1\r\nHost: example.com\r\nX-Empty-Header: \r\n\r\n", 200, ""},
	{"Header containing invalid control character", "GET /api/ HTTP/1.1\r\nHost: example.com\r\nX-Bad-Control-Char: test\x07\r\n\r\n", 400, ""},
	{"Invalid HTTP version", "GET /api/ HTTP/9.9\r\nHost: example.com\r\n\r\n", 505, ""},
	{"Invalid prefix of request", "Extra lineGET /api/ HTTP/1.1\r\nHost: example.com\r\n\r\n", 400, ""},
	{"Invalid line ending", "GET /api/ HTTP/1.1\r\nHost: example.com\r\n\rSome-Header: Test\r\n\r\n", 400, ""},
	{"Valid POST request with body", "POST /api/ HTTP/1.1\r\nHost: example.com\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"},
	{
		"Chunked Transfer-Encoding",
		"POST /api/ HTTP/1.1\r\nHost: example.com\r\nTransfer-Encoding: chunked\r\n\r\nc\r\nHellO world1\r\n0\r\n\r\n", 200, "HellO world1",
	},
	{
		"Conflicting Transfer-Encoding and Content-Length in varying case", "POST /api/ HTTP/1.1\r\nHost: example.com\r\ncontent-LengtH: 5\r\n" +
			"TransFer-Encoding: chunked\r\n\r\nc\r\nHellO world1\r\n0\r\n\r\n", 400, "",
	},
}

// h1specFragments are the cases that cut a good request after end. The server must wait for the rest.
var h1specFragments = []struct{ name, end string }{
	{"Fragmented method", "G"}, {"Fragmented URL 1", "GET "}, {"Fragmented URL 2", "GET /api/hello"}, {"Fragmented URL 3", "GET /api/hello "},
	{"Fragmented HTTP version", "GET /api/hello HTTP"}, {"Fragmented request line", "GET /api/hello HTTP/1.1"},
	{"Fragmented request line newline 1", "HTTP/1.1\r"}, {"Fragmented request line newline 2", "HTTP/1.1\r\n"},
	{"Fragmented field name", "\r\nHos"}, {"Fragmented field value 1", "\r\nHost:"}, {"Fragmented field value 2", "\r\nHost: "},
	{"Fragmented field value 3", "localhost"}, {"Fragmented field value 4", "localhost\r"}, {"Fragmented request", "localhost\r\n"},
	{"Fragmented request termination", "localhost\r\n\r"},
}

func TestRequestsAreTakenAndRefusedAsH1specWants(t *testing.T) {
	t.Parallel()
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	defer echo.Close()
	s := newArena(t, "GLORY_URL="+echo.URL)
	var attacks []attack
	for _, c := range h1spec {
		r := attack{row: "S16", name: c.name, send: c.send, want: []int{c.want}}
		if c.want == http.StatusOK {
			r.look = bodyIs(c.body, false)
		} else {
			r.closes = true
		}
		attacks = append(attacks, r)
	}
	s.play(t, attacks)
	s.fragmented(t)
	echo.CloseClientConnections()
	s.retired(t)
}

// fragmented sends each fragment, makes sure that there is no answer, and sends the rest.
func (s *arena) fragmented(t *testing.T) {
	const request = "GET /api/hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
	conns := make([]net.Conn, len(h1specFragments))
	for i, c := range h1specFragments {
		conn, err := net.Dial("tcp", s.addr())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns[i] = conn
		before, _, _ := strings.Cut(request, c.end)
		_, _ = io.WriteString(conn, before+c.end)
	}
	quiet := time.Now().Add(200 * time.Millisecond) // for all of them at once
	for i, c := range h1specFragments {
		t.Run(c.name, func(t *testing.T) {
			_, rest, ok := strings.Cut(request, c.end)
			if !ok {
				t.Fatalf("%q is not in the request", c.end)
			}
			conns[i].SetReadDeadline(quiet)
			if n, err := conns[i].Read(make([]byte, 1)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("answered before the request is whole: %d bytes, %v", n, err)
			}
			conns[i].SetReadDeadline(time.Now().Add(20 * time.Second))
			_, _ = io.WriteString(conns[i], rest)
			if got, ok := readReply(bufio.NewReader(conns[i]), http.MethodGet); !ok || got.status != http.StatusOK {
				t.Errorf("the whole request: %+v", got)
			}
		})
	}
}
