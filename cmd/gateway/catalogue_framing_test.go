package main

// The catalogue's rows S: framing. Whatever is said about a body's length, what reaches an upstream is one request at
// most. S01, S05, S06 and S08 are what net/http does by itself, pinned; docs/security.md says what that means.

import (
	"strings"
	"testing"
)

func TestCatalogueS(t *testing.T) {
	s := newArena(t, "READ_TIMEOUT=2s") // one row waits for it
	const start = "POST /public-api/v1/login HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n"
	var rows []row
	refused := func(id string, requests ...string) {
		for i, request := range requests {
			rows = append(rows, row{name: id + " " + string(rune('a'+i)), send: request, want: []int{400}, closes: true})
		}
	}
	te := func(values ...string) (list []string) {
		for _, v := range values {
			list = append(list, start+"Transfer-Encoding: "+v+"\r\n\r\n0\r\n\r\n")
		}
		return list
	}
	cl := func(values ...string) (list []string) {
		for _, v := range values {
			list = append(list, start+"Content-Length: "+v+"\r\n\r\n{}")
		}
		return list
	}
	// Glory answers 400 to an empty login: one request arrived, and its body had the length of one framing alone.
	rows = append(rows, row{
		name: "S01 both lengths", send: start + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG", want: []int{400}, glory: 1,
	}, row{
		name: "S01 both lengths, a request in the difference",
		send: start + "Content-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/auth HTTP/1.1\r\nHost: g\r\n\r\n", want: []int{400, 404}, glory: 1,
	})
	for _, request := range te("xchunked", "chunked, chunked", "chunked\r\nTransfer-Encoding: chunked", "\x0bchunked", "chunked\x11", "identity") {
		status := 501
		if strings.Contains(request, "\x0b") || strings.Contains(request, "\x11") {
			status = 400
		}
		rows = append(rows, row{name: "S02", send: request, want: []int{status}, closes: true})
	}
	refused("S03", start+"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "POST /public-api/v1/login HTTP/1.1\r\n Content-Length: 1\r\nHost: g\r\n\r\na")
	refused("S04", cl("1\r\nContent-Length: 2", "2, 2", "+2", "0x2", "-1", "18446744073709551616", "1000 1000")...)
	rows = append(rows,
		row{name: "S04 the same twice", send: cl("2\r\nContent-Length: 2")[0], want: []int{400}, glory: 1},
		row{name: "S05 folded header", send: s.member("GET", "/v1/info", "Accept: b\r\n  c"), want: []int{200}, rooms: 1, look: func(t *testing.T, s *arena, _ []reply) {
			if got := s.stands.Interwater.LastRoomRequest().Header["Accept"]; len(got) != 1 || got[0] != "b c" {
				t.Errorf("the folded line arrives as %q", got)
			}
		}},
		row{name: "S05 folded Transfer-Encoding", send: start + "Transfer-Encoding:\r\n chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", want: []int{400}, glory: 1},
		row{name: "S06 bare line feeds", send: strings.ReplaceAll(s.member("GET", "/v1/info"), "\r\n", "\n"), want: []int{200}, rooms: 1},
		row{name: "S08 chunked in HTTP/1.0", send: strings.Replace(start, "1.1", "1.0", 1) + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}", want: []int{400}, glory: 1, closes: true},
		row{name: "S08 chunked in HTTP/1.0, no length", send: strings.Replace(start, "1.1", "1.0", 1) + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", want: []int{400}, glory: 1, closes: true},
	)
	refused("S07", message("GET", "/v1/info", "X-A: b\rc"), message("GET", "/v1/info", "X-A: b\x00c"), message("GET", "/v1/info", "X-A: b\x0bc"), message("GET", "/v1/info", "X-\x00A: b"), message("GET", "/v1/info", "X-\rA: b"))
	for i, chunk := range []string{"0x2\r\n{}", "-1\r\n{}", "8000000000000000\r\n{}", "ffffffffffffffffff\r\n{}", "2\r\n{}x", "zz\r\n", "2;" + strings.Repeat("e", 64<<10) + "\r\n{}"} {
		refused("S09 "+string(rune('1'+i)), start+"Transfer-Encoding: chunked\r\n\r\n"+chunk+"\r\n0\r\n\r\n")
	}
	rows = append(rows,
		row{name: "S09 space after the size", send: start + "Transfer-Encoding: chunked\r\n\r\n2 \r\n{}\r\n0\r\n\r\n", want: []int{400}, glory: 1},
		row{
			name: "S11 trailers", want: []int{200}, glory: 1, look: loginOnly,
			send: start + "Transfer-Encoding: chunked\r\nTrailer: Authorization, S-Connector-Jwt\r\n\r\n" + chunk(s.loginBody()) +
				"0\r\nHost: EVIL\r\nContent-Length: 1\r\nAuthorization: EVIL\r\nS-Connector-Jwt: EVIL\r\n\r\n",
		},
		row{name: "S12 pipelined", send: s.member("GET", "/v1/info") + s.member("GET", "/v1/auth"), want: []int{200, 404}, rooms: 1},
		row{name: "S12 pipelined, the second without a token", send: s.member("GET", "/v1/info") + message("GET", "/v1/info"), want: []int{200, 401}, rooms: 1},
		row{name: "S14 Expect", send: withBody("POST", "/public-api/v1/login", s.loginBody(), "Expect: 100-continue"), want: []int{200}, glory: 1, look: loginOnly},
		row{name: "S14 Expect of something else", send: withBody("POST", "/public-api/v1/login", s.loginBody(), "Expect: y 100-continue"), want: []int{200}, glory: 1, look: loginOnly},
		row{name: "S14 Expect of nothing known", send: withBody("POST", "/public-api/v1/login", s.loginBody(), "Expect: y"), want: []int{417}, closes: true},
		row{name: "GET with a body", send: s.member("GET", "/v1/info", "Content-Length: 2") + "ab", want: []int{400}},
	)
	refused("S malformed lines", "GET / HTTP/1.1\r\nHost: g\r\nX Y: b\r\n\r\n", "GET / HTTP/1.1\r\nHost: g\r\n: b\r\n\r\n", "GET / HTTP/1.1\r\nHost: g\r\nX\r\n\r\n",
		"GET HTTP/1.1\r\nHost: g\r\n\r\n", "GET / HTTP/1.1 x\r\nHost: g\r\n\r\n", "GET / HTTP/x\r\nHost: g\r\n\r\n", "GET  / HTTP/1.1\r\nHost: g\r\n\r\n", "\x16\x03\x01\x02\r\n\r\n")
	s.play(t, rows)
	// Another 100 on the connections that these left behind.
	for range 100 {
		if got := s.say(t, withBody("POST", "/public-api/v1/login", s.loginBody())); got.status != 200 {
			t.Fatalf("a good login after all that: %+v", got)
		}
	}
	s.retired(t)
}

func chunk(data string) string {
	const digits = "0123456789abcdef"
	return string(digits[len(data)>>4]) + string(digits[len(data)&15]) + "\r\n" + data + "\r\n"
}

// loginBody is the demo member's.
func (s *arena) loginBody() string {
	return `{"id":"` + s.stands.Demo.ID + `","password":"` + s.stands.Demo.Password + `"}`
}

// loginOnly looks at the one login that arrived.
func loginOnly(t *testing.T, s *arena, _ []reply) {
	r := s.stands.Glory.LastRequest()
	for _, name := range []string{"Expect", "Trailer", "Transfer-Encoding", "Authorization"} {
		if got := r.Header[name]; len(got) > 0 {
			t.Errorf("Glory got %s: %q", name, got)
		}
	}
	if r.Method != "POST" || r.RequestURI != "/public-api/v1/login" {
		t.Errorf("Glory got %s %s", r.Method, r.RequestURI)
	}
}
