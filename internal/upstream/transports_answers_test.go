package upstream

// Both ways must read an answer alike, and agree on whether another answer may follow on the same connection. Most rows are from
// net/http's own tests (transport_test.go, response_test.go, transfer_test.go).

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// answerCase is an answer given to two requests, one after the other.
type answerCase struct {
	name, raw string
	end       string // what happens to the connection after the answer: "" stays open, "close", "reset"
	method    string // "" is GET
	want      string // the outcome of each request
	conns     int    // connections used for both requests
	strict    bool   // only for the direct way: http.Transport may or may not notice in time
}

const okHead = "HTTP/1.1 200 OK\r\n"

func answerCases() []answerCase {
	chunked := func(rest string) string { return okHead + "Transfer-Encoding: chunked\r\n\r\n" + rest }
	length := func(values ...string) string {
		return okHead + "Content-Length: " + strings.Join(values, "\r\nContent-Length: ") + "\r\n\r\nhello"
	}
	return []answerCase{
		{name: "length", raw: length("5"), want: "200 [hello]", conns: 1},
		{name: "length 0", raw: okHead + "Content-Length: 0\r\n\r\n", want: "200 []", conns: 1},
		{name: "until the end", raw: okHead + "\r\nhello", end: "close", want: "200 [hello]", conns: 2},
		{name: "until the reset", raw: okHead + "\r\nhello", end: "reset", want: "200 [hello] error", conns: 2},
		{name: "connection close", raw: okHead + "Connection: close\r\nContent-Length: 5\r\n\r\nhello", want: "200 [hello]", conns: 2},
		{name: "connection list", raw: okHead + "Connection: x, Close\r\nContent-Length: 5\r\n\r\nhello",
			want: "200 [hello]", conns: 2},
		{name: "1.0", raw: "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", want: "200 [hello]", conns: 2},
		{name: "1.0 keep-alive", raw: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
			want: "200 [hello]", conns: 1},
		{name: "1.0 chunked", raw: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", end: "close",
			want: "200 [0\r\n\r\n]", conns: 2},
		{name: "0.9", raw: "HTTP/0.9 200 OK\r\nContent-Length: 5\r\n\r\nhello", want: "200 [hello]", conns: 2},

		{name: "chunked", raw: chunked("3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"), want: "200 [hello]", conns: 1},
		{name: "chunked empty", raw: chunked("0\r\n\r\n"), want: "200 []", conns: 1},
		{name: "chunk extension", raw: chunked("5;a=b\r\nhello\r\n0;x\r\n\r\n"), want: "200 [hello]", conns: 1},
		{name: "chunk in capitals", raw: chunked("0A\r\n0123456789\r\n0\r\n\r\n"), want: "200 [0123456789]", conns: 1},
		{name: "declared trailer",
			raw:  okHead + "Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
			want: "200 [hello]", conns: 1},
		{name: "undeclared trailer", raw: chunked("5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"), want: "200 [hello]", conns: 1},
		{name: "forbidden trailer", raw: okHead + "Trailer: Content-Length\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			want: "error", conns: 2},
		{name: "broken trailer", raw: chunked("5\r\nhello\r\n0\r\nX-Sum\r\n\r\n"), end: "close", want: "200 [hello] error", conns: 2},
		{name: "long trailer", raw: chunked("5\r\nhello\r\n0\r\nX: " + strings.Repeat("a", 5000) + "\r\n\r\n"), end: "close",
			want: "200 [hello] error", conns: 2},
		{name: "trailer without end", raw: chunked("5\r\nhello\r\n0\r\n"), end: "close", want: "200 [hello] error", conns: 2},
		{name: "chunks without end", raw: chunked("5\r\nhello\r\n"), end: "close", want: "200 [hello] error", conns: 2},
		{name: "chunk too short", raw: chunked("5\r\nhel"), end: "close", want: "200 [hel] error", conns: 2},
		{name: "chunk too long", raw: chunked("3\r\nhello\r\n0\r\n\r\n"), end: "close", want: "200 [hel] error", conns: 2},
		{name: "no chunk size", raw: chunked("zz\r\n"), end: "close", want: "200 [] error", conns: 2},
		{name: "negative chunk size", raw: chunked("-5\r\nhello\r\n0\r\n\r\n"), end: "close", want: "200 [] error", conns: 2},
		{name: "prefixed chunk size", raw: chunked("0x5\r\nhello\r\n0\r\n\r\n"), end: "close", want: "200 [] error", conns: 2},
		{name: "huge chunk size", raw: chunked("10000000000000005\r\nhello\r\n0\r\n\r\n"), end: "close",
			want: "200 [] error", conns: 2},
		{name: "chunk ends in LF", raw: chunked("5\nhello\r\n0\r\n\r\n"), end: "close", want: "200 [] error", conns: 2},

		{name: "too short", raw: okHead + "Content-Length: 9\r\n\r\nhello", end: "close", want: "200 [hello] error", conns: 2},
		{name: "reset in the body", raw: okHead + "Content-Length: 9\r\n\r\nhello", end: "reset", want: "200 [hello] error", conns: 2},
		{name: "same length twice", raw: length("5", "5"), want: "200 [hello]", conns: 1},
		{name: "two lengths", raw: length("5", "6"), want: "error", conns: 2},
		{name: "list of lengths", raw: length("5, 5"), want: "error", conns: 2},
		{name: "signed length", raw: length("+5"), want: "error", conns: 2},
		{name: "negative length", raw: length("-5"), want: "error", conns: 2},
		{name: "hexadecimal length", raw: length("0x5"), want: "error", conns: 2},
		{name: "huge length", raw: length("18446744073709551621"), want: "error", conns: 2},
		{name: "empty length", raw: length(""), want: "error", conns: 2},
		{name: "length and chunked", raw: okHead + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
			want: "200 [hello]", conns: 1},
		{name: "bad length and chunked", raw: okHead + "Content-Length: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			want: "error", conns: 2},
		{name: "gzip transfer", raw: okHead + "Transfer-Encoding: gzip\r\n\r\nhello", want: "error", conns: 2},
		{name: "chunked twice", raw: okHead + "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", want: "error", conns: 2},
		{name: "two encodings", raw: okHead + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			want: "error", conns: 2},
		{name: "identity transfer", raw: okHead + "Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello",
			want: "error", conns: 2},
		{name: "padded chunked", raw: okHead + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", want: "error", conns: 2},
		{name: "gzip is left alone", raw: okHead + "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
			want: "200 [hello]", conns: 1},

		{name: "HEAD", method: "HEAD", raw: okHead + "Content-Length: 5\r\n\r\n", want: "200 []", conns: 1},
		{name: "HEAD chunked", method: "HEAD", raw: chunked(""), want: "200 []", conns: 1},
		{name: "HEAD without length", method: "HEAD", raw: okHead + "\r\n", want: "200 []", conns: 1},
		{name: "HEAD closes", method: "HEAD", raw: okHead + "Connection: close\r\n\r\n", want: "200 []", conns: 2},
		{name: "HEAD with a body", method: "HEAD", raw: length("5"), want: "200 []", conns: 2, strict: true},
		{name: "204", raw: "HTTP/1.1 204 No Content\r\n\r\n", want: "204 []", conns: 1},
		{name: "204 with length", raw: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", want: "204 []", conns: 1},
		{name: "204 chunked", raw: "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", want: "204 []", conns: 1},
		{name: "204 with a body", raw: "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
			want: "204 []", conns: 2, strict: true},
		{name: "304", raw: "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nEtag: x\r\n\r\n", want: "304 []", conns: 1},
		{name: "304 chunked", raw: "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", want: "304 []", conns: 1},

		{name: "longer than its length", raw: okHead + "Content-Length: 2\r\n\r\nhello", want: "200 [he]", conns: 2, strict: true},
		{name: "two answers", raw: length("5") + length("5"), want: "200 [hello]", conns: 2, strict: true},
		{name: "an answer after the last chunk", raw: chunked("0\r\n\r\n") + length("5"), want: "200 []", conns: 2, strict: true},
		{name: "a byte after", raw: length("5") + "\n", want: "200 [hello]", conns: 2, strict: true},

		{name: "100 first", raw: "HTTP/1.1 100 Continue\r\n\r\n" + length("5"), want: "200 [hello]", conns: 1},
		{name: "103 first", raw: "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + length("5"), want: "200 [hello]", conns: 1},
		{name: "102 with a length", raw: "HTTP/1.1 102 Processing\r\nContent-Length: 3\r\n\r\n" + length("5"),
			want: "200 [hello]", conns: 1},
		{name: "100 alone", raw: "HTTP/1.1 100 Continue\r\n\r\n", end: "close", want: "error", conns: 2},
		{name: "many informational", raw: strings.Repeat("HTTP/1.1 123 X\r\n\r\n", 1000) + length("5"), want: "200 [hello]", conns: 1},
		{name: "too many informational", raw: strings.Repeat("HTTP/1.1 123 X\r\n\r\n", 10000), want: "error", conns: 2},
		{name: "101 that was not asked for", raw: "HTTP/1.1 101 Switching Protocols\r\n\r\n", want: "error", conns: 2},
		{name: "101 to something", raw: "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", end: "close",
			want: "error", conns: 2},

		{name: "nothing", end: "close", want: "error", conns: 2},
		{name: "a reset", end: "reset", want: "error", conns: 2},
		{name: "one byte", raw: "H", end: "close", want: "error", conns: 2},
		{name: "half a header", raw: okHead + "X: y\r\n", end: "close", want: "error", conns: 2},
		{name: "reset in the header", raw: okHead + "X: y\r\n", end: "reset", want: "error", conns: 2},
		{name: "no reason", raw: "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", want: "200 [hello]", conns: 1},
		{name: "status 099", raw: "HTTP/1.1 099 X\r\nContent-Length: 5\r\n\r\nhello", want: "error", conns: 2},
		{name: "status 999", raw: "HTTP/1.1 999 X\r\nContent-Length: 5\r\n\r\nhello", want: "error", conns: 2},
		{name: "status 600", raw: "HTTP/1.1 600 X\r\nContent-Length: 5\r\n\r\nhello", want: "error", conns: 2},
		{name: "status 599", raw: "HTTP/1.1 599 X\r\nContent-Length: 5\r\n\r\nhello", want: "599 [hello]", conns: 1},
		{name: "status of two digits", raw: "HTTP/1.1 20 OK\r\n\r\n", want: "error", conns: 2},
		{name: "status of four digits", raw: "HTTP/1.1 2000 OK\r\n\r\n", want: "error", conns: 2},
		{name: "signed status", raw: "HTTP/1.1 -20 OK\r\n\r\n", want: "error", conns: 2},
		{name: "no status", raw: "HTTP/1.1\r\n\r\n", want: "error", conns: 2},
		{name: "no version", raw: "200 OK\r\n\r\n", want: "error", conns: 2},
		{name: "another protocol", raw: "ICY 200 OK\r\n\r\n", want: "error", conns: 2},
		{name: "small letters", raw: "http/1.1 200 OK\r\n\r\n", want: "error", conns: 2},
		{name: "version 1.10", raw: "HTTP/1.10 200 OK\r\n\r\n", want: "error", conns: 2},
		{name: "TLS alert", raw: "\x15\x03\x01\x00\x02\x02\x28", end: "close", want: "error", conns: 2},
		{name: "empty line first", raw: "\r\n" + length("5"), want: "error", conns: 2},
		{name: "no colon", raw: okHead + "X\r\n\r\n", want: "error", conns: 2},
		{name: "space before the colon", raw: okHead + "X : y\r\nContent-Length: 5\r\n\r\nhello", want: "200 [hello]", conns: 1},
		{name: "space before a length's colon", raw: okHead + "Content-Length : 2\r\n\r\nhello", end: "close",
			want: "200 [hello]", conns: 2},
		{name: "no name", raw: okHead + ": y\r\n\r\n", want: "error", conns: 2},
		{name: "space before the name", raw: okHead + " X: y\r\n\r\n", want: "error", conns: 2},
		{name: "folded", raw: okHead + "X: y\r\n z\r\nContent-Length: 5\r\n\r\nhello", want: "200 [hello]", conns: 1},
		{name: "NUL in a value", raw: okHead + "X: \x00\r\nContent-Length: 5\r\n\r\nhello", want: "error", conns: 2},
		{name: "line ends of LF", raw: "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", want: "200 [hello]", conns: 1},
		{name: "header within the limit", raw: okHead + "X: " + strings.Repeat("a", 60<<10) + "\r\nContent-Length: 5\r\n\r\nhello",
			want: "200 [hello]", conns: 1},
		{name: "header beyond the limit", raw: okHead + "X: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", want: "error", conns: 2},
		{name: "body beyond the header's limit", raw: okHead + "Content-Length: 100000\r\n\r\n" + strings.Repeat("a", 100000),
			want: "200 [" + strings.Repeat("a", 100000) + "]", conns: 1},
	}
}

func TestBothTransportsReadAnswersAlike(t *testing.T) {
	for _, tt := range answerCases() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.method == "" {
				tt.method = "GET"
			}
			var answers []*http.Response
			for _, k := range []kind{async, synch} {
				if tt.strict && k == async {
					continue // it would also log the unrequested data
				}
				u := listen(t, func(p *peer) {
					for p.request() != nil {
						p.send("%s", tt.raw)
						switch tt.end {
						case "close":
							return
						case "reset":
							p.reset()
							return
						}
					}
				})
				rt := k.with(t, u)
				first, answer := answerTo(t.Context(), t, rt, tt.method, u.base)
				second := ask(t.Context(), t, rt, tt.method, u.base)
				answers = append(answers, answer)
				got := fmt.Sprintf("%s %s conns=%d", first, second, u.conns.Load())
				if want := fmt.Sprintf("%s %s conns=%d", tt.want, tt.want, tt.conns); got != want {
					t.Errorf("%v: %.300q, want %.300q", k, got, want)
				}
			}
			sameAnswer(t, answers[0], answers[len(answers)-1])
		})
	}
}

// sameAnswer compares everything that a caller may see.
func sameAnswer(t *testing.T, a, b *http.Response) {
	t.Helper()
	if a == nil || b == nil {
		if a != b {
			t.Errorf("one answer is %v, the other %v", a, b)
		}
		return
	}
	for _, r := range []*http.Response{a, b} {
		if r.Request == nil || r.Body == nil || r.TLS != nil {
			t.Errorf("an answer of %v with body %v and TLS %v", r.Request, r.Body, r.TLS)
		}
	}
	if a.StatusCode != b.StatusCode || a.ContentLength != b.ContentLength || !reflect.DeepEqual(a.Header, b.Header) {
		t.Errorf("answers differ:\n%+v\n%+v", a, b)
	}
}
