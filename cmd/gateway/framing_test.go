package main

// Framing: a request that can be read in two ways reaches nobody. At most one request reaches an upstream.

import (
	"fmt"
	"strings"
	"testing"
)

func TestOddFramingIsOneRequestAtMost(t *testing.T) {
	t.Parallel()
	s := newArena(t)
	const start = "POST /public-api/v1/login HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n"
	var attacks []attack
	refused := func(id, name, request string) {
		attacks = append(attacks, attack{row: id, name: name, send: request, want: []int{400}, closes: true})
	}
	refused("S01", "both lengths", start+"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG")
	refused("S01", "both lengths, a request in the difference",
		start+"Content-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/auth HTTP/1.1\r\nHost: g\r\n\r\n")
	for _, coding := range []string{
		"xchunked", "chunked, chunked", "chunked\r\nTransfer-Encoding: chunked", "\x0bchunked", "chunked\x11", "identity", "chunked ", "gzip, chunked", "chun\u212aed",
	} {
		refused("S02", fmt.Sprintf("Transfer-Encoding %q", coding), start+"Transfer-Encoding: "+coding+"\r\n\r\n0\r\n\r\n")
	}
	refused("S03", "a space before the colon", start+"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n")
	refused("S03", "a space before the first header", "POST /public-api/v1/login HTTP/1.1\r\n Content-Length: 1\r\nHost: g\r\n\r\na")
	for _, length := range []string{"1\r\nContent-Length: 2", "2, 2", "+2", "0x2", "-1", "18446744073709551616", "1000 1000", "02", "2\r\nContent-Length: 2"} {
		refused("S04", fmt.Sprintf("Content-Length %q", length), start+"Content-Length: "+length+"\r\n\r\n{}")
	}
	refused("S05", "folded header", s.member("GET", "/v1/info", "Accept: b\r\n  c"))
	refused("S05", "folded Transfer-Encoding", start+"Transfer-Encoding:\r\n chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
	refused("S06", "bare line feeds", strings.ReplaceAll(s.member("GET", "/v1/info"), "\r\n", "\n"))
	refused("S08", "chunked in HTTP/1.0", strings.Replace(start, "1.1", "1.0", 1)+"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}")
	refused("S08", "chunked in HTTP/1.0, no length", strings.Replace(start, "1.1", "1.0", 1)+"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
	for _, line := range []string{"X-A: b\rc", "X-A: b\x00c", "X-A: b\x0bc", "X-\x00A: b", "X-\rA: b"} {
		refused("S07", fmt.Sprintf("control character %q", line), message("GET", "/v1/info", line))
	}
	// A chunk size beyond what follows, such as 8000000000000000, is a slow body: see slowclients_test.go.
	for _, chunk := range []string{"0x2\r\n{}", "-1\r\n{}", "ffffffffffffffffff\r\n{}", "2\r\n{}x", "zz\r\n", "2 \r\n{}", "2;a=b\r\n{}", "2;" + strings.Repeat("e", 64<<10) + "\r\n{}"} {
		refused("S09", fmt.Sprintf("chunk %.20q", chunk), start+"Transfer-Encoding: chunked\r\n\r\n"+chunk+"\r\n0\r\n\r\n")
	}
	attacks = append(attacks,
		attack{
			row: "S11", name: "trailers", want: []int{200}, glory: 1, look: loginOnly,
			send: start + "Transfer-Encoding: chunked\r\nTrailer: Authorization, S-Connector-Jwt\r\n\r\n" + chunk(s.loginBody()) +
				"0\r\nHost: EVIL\r\nContent-Length: 1\r\nAuthorization: EVIL\r\nS-Connector-Jwt: EVIL\r\n\r\n",
		},
		attack{row: "S12", name: "pipelined", send: s.member("GET", "/v1/info") + s.member("GET", "/v1/auth"), want: []int{200, 404}, rooms: 1},
		attack{row: "S12", name: "after empty lines", send: "\r\n\r\n" + s.member("GET", "/v1/info"), want: []int{200}, rooms: 1},
		attack{row: "S12", name: "pipelined, the second without a token", send: s.member("GET", "/v1/info") + message("GET", "/v1/info"), want: []int{200, 401}, rooms: 1},
		attack{row: "S14", name: "Expect", send: withBody("POST", "/public-api/v1/login", s.loginBody(), "Expect: 100-continue"), want: []int{200}, glory: 1, look: loginOnly},
		attack{row: "S14", name: "Expect of something else", send: withBody("POST", "/public-api/v1/login", s.loginBody(), "Expect: y 100-continue"), want: []int{200}, glory: 1, look: loginOnly},
		attack{row: "S14", name: "Expect of nothing known", send: withBody("POST", "/public-api/v1/login", s.loginBody(), "Expect: y"), want: []int{417}, closes: true},
		attack{name: "GET with a body", send: s.member("GET", "/v1/info", "Content-Length: 2") + "ab", want: []int{400}},
	)
	for _, lines := range []string{
		"GET / HTTP/1.1\r\nHost: g\r\nX Y: b", "GET / HTTP/1.1\r\nHost: g\r\n: b", "GET / HTTP/1.1\r\nHost: g\r\nX",
		"GET HTTP/1.1\r\nHost: g", "GET / HTTP/1.1 x\r\nHost: g", "GET / HTTP/x\r\nHost: g", "GET  / HTTP/1.1\r\nHost: g", "\x16\x03\x01\x02",
	} {
		refused("", fmt.Sprintf("malformed %q", lines), lines+"\r\n\r\n")
	}
	s.play(t, attacks)
	// 100 good requests, over the upstream connections that the attacks have left behind.
	for range 100 {
		if got := s.say(t, withBody("POST", "/public-api/v1/login", s.loginBody())); got.status != 200 {
			t.Fatalf("a good login after all that: %+v", got)
		}
	}
	s.retired(t)
}

// A refusal by the lane is recorded like one by the handler: an access event, an audit event and counters.
func TestRefusedRequestsAreRecorded(t *testing.T) {
	s := newArena(t)
	for _, c := range []struct{ name, send, reason, code, method, path string }{
		{"malformed", message("GET", "/v1/info?secret", "X-A : b"), "malformed", "400", "GET", "/v1/info"},
		{"too long", message("POST", "/api/x", "X-A: "+strings.Repeat("a", 32<<10)), "header", "431", "POST", "/api/x"},
		{"no request line", "\x16\x03\x01\r\n", "malformed", "400", "", ""},
		{"another version", "GET /v1/info HTTP/3.0\r\n\r\n", "malformed", "505", "GET", "/v1/info"},
	} {
		t.Run(c.name, func(t *testing.T) {
			method := c.method
			if method == "" {
				method = "other"
			}
			series := []string{
				`roomgate_refusals_total{reason="` + c.reason + `"}`, `roomgate_requests_total{code="` + c.code + `",method="` + method + `",route="none"}`,
			}
			before := s.metrics(t)
			got := s.say(t, c.send)
			envelope(t, s, []reply{got})
			after := s.metrics(t)
			for _, one := range series {
				if after[one] != before[one]+1 {
					t.Errorf("%s: %v, before %v", one, after[one], before[one])
				}
			}
			for _, msg := range []string{"request", "audit"} {
				var e map[string]any
				eventually(t, "the event "+msg, func() bool {
					events := s.log.events(msg)
					if len(events) > 0 {
						e = events[len(events)-1]
					}
					return e["request_id"] == got.header.Get("X-Request-Id")
				})
				if e["method"] != c.method || e["path"] != c.path || e["client"] != "127.0.0.1" {
					t.Errorf("%s: %v", msg, e)
				}
			}
			if e := s.log.events("audit"); e[len(e)-1]["event"] != "attack" || e[len(e)-1]["reason"] != c.reason {
				t.Errorf("audit: %v", e[len(e)-1])
			}
		})
	}
	s.retired(t)
}

func chunk(data string) string {
	const digits = "0123456789abcdef"
	return string(digits[len(data)>>4]) + string(digits[len(data)&15]) + "\r\n" + data + "\r\n"
}

// loginBody returns the body of the demo member's login.
func (s *arena) loginBody() string {
	return `{"id":"` + s.stands.Demo.ID + `","password":"` + s.stands.Demo.Password + `"}`
}

// loginOnly checks the one login that has reached Glory.
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
