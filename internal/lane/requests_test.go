package lane

// Requests that must pass, and requests that must be refused.

import (
	"strings"
	"testing"
)

const (
	get     = "GET /a HTTP/1.1\r\nHost: g\r\n"
	post    = "POST /a HTTP/1.1\r\nHost: g\r\n"
	chunked = post + "Transfer-Encoding: chunked\r\n\r\n"
)

// good are whole requests with one meaning. After each, the next byte begins another request.
var good = []string{
	get + "\r\n",
	"\r\n\r\n" + get + "\r\n",
	"GET /a?b[]=c%20d HTTP/1.1\r\nhOST:\tg.example:80 \r\nX-A:\r\nX-B: \xed\x95\x9c \t\r\n\r\n",
	"GET http://G.example/a HTTP/1.1\r\nHost: g.EXAMPLE\r\n\r\n",
	"GET HTTPS://[::1]:8443?q HTTP/1.1\r\nHost: [::1]:8443\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: g\r\n\r\n",
	"CONNECT g:443 HTTP/1.1\r\nHost: g:443\r\n\r\n",
	"GET /a HTTP/1.0\r\n\r\n",
	"GET /a HTTP/1.2\r\nHost: g\r\n\r\n",
	"get-it /a HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n",
	post + "Content-Length: 5\r\n\r\nhello",
	post + "Content-Length:0\r\n\r\n",
	"POST /a HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nGET /",
	chunked + "0\r\n\r\n",
	chunked + "5\r\nhello\r\n00A\r\n GET / HTT\r\n000\r\n\r\n",
	chunked + "1\r\na\r\n0\r\nX-Sum: abc\r\nContent-Length:\t5\r\n\r\n",
	post + "transfer-encoding:Chunked\r\nTrailer: X-Sum\r\n\r\n0\r\nX-Sum:\r\n\r\n",
	get + "Origin: null\r\nCookie: " + strings.Repeat("a=b; ", 1300) + "\r\n\r\n",
	get + strings.Repeat("A: b\r\n", 99) + "\r\n",
	// GETs that aren't plain.
	get + "Content-Length: 5\r\n\r\nGET /", get + "Content-Length: 0\r\n\r\n", get + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	get + "X-A: \xed\x95\x9c\r\n\r\n", get + "TE: gzip\r\n\r\n", get + "Connection: close, te\r\n\r\n", get + "Expect: 100-continue\r\n\r\n",
}

// refused are requests that must not reach the server, because of the head or the beginning of the body.
var refused = []string{
	"GET /a HTTP/1.1\nHost: g\r\n\r\n", "GET /a HTTP/1.1\r\nHost: g\n\r\n", "GET /a HTTP/1.1\r\nHost: g\r\n\n", "GET /a HTTP/1.1\rHost: g\r\n\r\n",
	"GET /a HTTP/1.1\rHost: g", "\nGET /a HTTP/1.1\r\nHost: g\r\n\r\n", strings.Repeat("\r\n", 9) + get + "\r\n", " " + get + "\r\n", "\x16\x03\x01",
	get + "X-A: b\rc\r\n\r\n", get + "X-A: b\r\n c\r\n\r\n", get + "X-A : b\r\n\r\n", get + ": b\r\n\r\n", get + "X-A\r\n\r\n", get + "X\tA: b\r\n\r\n",
	get + "X-A: b\x00\r\n\r\n", get + "X-A: 1234567\x7f\r\n\r\n", get + "X-A: 12345678\x1f90\r\n\r\n", get + "X-\xc3: b\r\n\r\n",
	"GET /a HTTP/1.1\r\n Host: g\r\n\r\n", "GET /a HTTP/1.1\r\n\r\n", "GET /a HTTP/1.0\r\nHost:\r\n\r\n", get + "Host: g\r\n\r\n", get + "HOST: h\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: \t\r\n\r\n", "GET /a HTTP/1.1\r\nHost: a b\r\n\r\n", "GET /a HTTP/1.1\r\nHost: a,b\r\n\r\n", "GET /a HTTP/1.1\r\nHost: u@g\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: g/x\r\n\r\n", "GET /a HTTP/1.1\r\nHost: g:x\r\n\r\n", "GET /a HTTP/1.1\r\nHost: g:65536\r\n\r\n", "GET /a HTTP/1.1\r\nHost: :80\r\n\r\n",
	"GET /a HTTP/1.1\r\nHost: [::1\r\n\r\n", "GET /a HTTP/1.1\r\nHost: [::1]x\r\n\r\n", "GET /a HTTP/1.1\r\nHost: [1.2.3.4]\r\n\r\n", "GET /a HTTP/1.1\r\nHost: [fe80::1%25a]\r\n\r\n",
	"GET http://h/a HTTP/1.1\r\nHost: g\r\n\r\n", "GET http://<script>/a HTTP/1.1\r\nHost: g\r\n\r\n", "GET http:///a HTTP/1.1\r\nHost: g\r\n\r\n",
	"GET http://u@g/a HTTP/1.1\r\nHost: g\r\n\r\n", "GET ftp://g/a HTTP/1.1\r\nHost: g\r\n\r\n", "GET a HTTP/1.1\r\nHost: g\r\n\r\n", "GET * HTTP/1.1\r\nHost: g\r\n\r\n",
	"GET /\xed\x95\x9c HTTP/1.1\r\nHost: g\r\n\r\n", "GET /<a> HTTP/1.1\r\nHost: g\r\n\r\n", "GET /a\"b HTTP/1.1\r\nHost: g\r\n\r\n", "GET /a#b HTTP/1.1\r\nHost: g\r\n\r\n",
	"GET /a\\b HTTP/1.1\r\nHost: g\r\n\r\n", "GET /a%2 HTTP/1.1\r\nHost: g\r\n\r\n", "GET /a%zz HTTP/1.1\r\nHost: g\r\n\r\n", "GET /a\x00 HTTP/1.1\r\nHost: g\r\n\r\n",
	"CONNECT g:x HTTP/1.1\r\nHost: g\r\n\r\n", "GET /a b HTTP/1.1\r\nHost: g\r\n\r\n", "GET  /a HTTP/1.1\r\nHost: g\r\n\r\n", "GET /a  HTTP/1.1\r\nHost: g\r\n\r\n",
	"GET\t/a HTTP/1.1\r\nHost: g\r\n\r\n", "GET /a\r\n", "GET HTTP/1.1\r\nHost: g\r\n\r\n", "G(T /a HTTP/1.1\r\nHost: g\r\n\r\n", "GET /a http/1.1\r\nHost: g\r\n\r\n",
	"GET /a HTTP/1\r\nHost: g\r\n\r\n", "GET /a HTTP/01.1\r\nHost: g\r\n\r\n", "GET /a HTTP/0.9\r\nHost: g\r\n\r\n", "GET /a HTTP/1.1 \r\nHost: g\r\n\r\n", "GET /a HTTP/1.x\r\nHost: g\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "GET /a HTTP/9.9\r\nHost: g\r\n\r\n",
	post + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", post + "Content-Length: 2, 2\r\n\r\n{}", post + "Content-Length: +2\r\n\r\n{}", post + "Content-Length: 02\r\n\r\n{}",
	post + "Content-Length:\r\n\r\n", post + "Content-Length: -0\r\n\r\n", post + "Content-Length: 9223372036854775808\r\n\r\n", post + "Content-Length: 0x2\r\n\r\n{}", post + "Content-Length: 1_0\r\n\r\n{}",
	chunked[:len(chunked)-2] + "Content-Length: 5\r\n\r\n0\r\n\r\n", post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST /a HTTP/1.0\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", post + "Transfer-Encoding: identity\r\n\r\n", post + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
	post + "Content-Length: 2 \r\n\r\n{}", post + "Content-Length:  2\r\n\r\n{}", post + "Content-Length:\t2\r\n\r\n{}", post + "Content_Length: 2\r\n\r\n", post + "transfer_encoding: chunked\r\n\r\n",
	post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", post + "Transfer-Encoding: chunked \r\n\r\n0\r\n\r\n", post + "Transfer-Encoding:\r\n\r\n",
	post + "Transfer-Encoding: chun\u212aed\r\n\r\n0\r\n\r\n", chunked[:len(chunked)-2] + "Trailer: X, Content-Length\r\n\r\n0\r\n\r\n",
	chunked + "0x2\r\n{}\r\n0\r\n\r\n", chunked + " 2\r\n{}\r\n0\r\n\r\n", chunked + "2 \r\n{}\r\n0\r\n\r\n", chunked + "+2\r\n{}\r\n0\r\n\r\n", chunked + "2;a=b\r\n{}\r\n0\r\n\r\n", chunked + "2\n{}\r\n0\r\n\r\n",
	chunked + "2\r{}\r\n0\r\n\r\n", chunked + "\r\n{}", chunked + "8000000000000000\r\n", chunked + "00000000000000002\r\n{}\r\n0\r\n\r\n", chunked + "2\r\n{}x\r\n0\r\n\r\n", chunked + "2\r\n{}\n0\r\n\r\n", chunked + "2\r\n{}\r0\r\n\r\n",
	chunked + "0\r\n\n", chunked + "0\r\n\rX", chunked + "0\r\nX\r\n\r\n", chunked + "0\r\nX : a\r\n\r\n", chunked + "0\r\n X: a\r\n\r\n", chunked + "0\r\nX: a\x00\r\n\r\n", chunked + "0\r\nX: a\n\r\n", chunked + "0\r\nX: a\rb\r\n\r\n",
	chunked + "0\r\nX: " + strings.Repeat("a", 4<<10) + "\r\n\r\n",
	get + "Origin: a\r\nOrigin: b\r\n\r\n",
	get + strings.Repeat("A: b\r\n", 100) + "\r\n", get + "A: " + strings.Repeat("b", 9<<10) + "\r\n\r\n", "GET /" + strings.Repeat("b", 9<<10), strings.Repeat("b", 9<<10),
}

func TestWhatHasOneMeaningIsHandedOver(t *testing.T) {
	for _, one := range good {
		for _, size := range []int{1, 3, len(one), 4096} {
			c := newConn(&pieces{in: []byte(one + get + "\r\n"), size: size}, newConns(&Options{MaxHeaderBytes: 8 << 10}))
			want := strings.TrimLeft(one, "\r\n")
			if got := string(handed(t, c, 4096)); got != want {
				t.Errorf("in pieces of %d: handed over %q, want %q", size, got, want)
			}
			c.next()
			if got := string(handed(t, c, 4096)); got != get+"\r\n" {
				t.Errorf("after %q: handed over %q", one, got)
			}
		}
	}
}

func TestWhatHasTwoMeaningsIsRefused(t *testing.T) {
	for _, one := range refused {
		inner := &pieces{in: []byte(one), size: len(one)}
		var got []Refusal
		c := newConn(inner, newConns(&Options{MaxHeaderBytes: 8 << 10, Refused: func(r Refusal) { got = append(got, r) }}))
		if n, err := c.Read(make([]byte, 64<<10)); n > 0 || err == nil {
			t.Errorf("%.100q: handed over %d bytes, %v", one, n, err)
		}
		if n, err := c.Read(make([]byte, 64<<10)); n > 0 || err == nil {
			t.Errorf("%.100q: afterwards %d bytes, %v", one, n, err)
		}
		if len(got) != 1 || !strings.HasPrefix(inner.written.String(), "HTTP/1.1 ") || !isAnswer(&inner.written) {
			t.Errorf("%.100q: refused %+v, answered %q", one, got, inner.written.String())
		}
	}
}
