package main

// Which paths and methods are forwarded. However a path is written, Interwater gets only declared room routes, byte for byte, and only
// GET and HEAD.

import (
	"strconv"
	"strings"
	"testing"
)

func TestUncleanPathsReachNobody(t *testing.T) { bothModes(t, uncleanPaths) }

func uncleanPaths(t *testing.T, s *arena) {
	unknown := s.say(t, s.member("GET", "/nowhere")).body
	sameAsUnknown := func(t *testing.T, _ *arena, got []reply) {
		if got[0].body != unknown && got[0].body != "" {
			t.Errorf("the body %q differs from that of any unknown path", got[0].body)
		}
	}
	var attacks []attack
	add := func(id, name string, status int, targets ...string) {
		for _, target := range targets {
			r := attack{row: id, name: name + " " + target, send: s.member("GET", target), want: []int{status}}
			if len(r.name) > 60 {
				r.name = r.name[:60]
			}
			if status == 404 {
				r.look = sameAsUnknown
			}
			attacks = append(attacks, r)
		}
	}
	license := s.stands.Interwater.Licenses()[0]
	keys := `{"accessKey":"` + license.AccessKey + `","secretKey":"` + license.SecretKey + `"}`
	for _, method := range []string{"POST", "GET", "PUT", "OPTIONS", "HEAD"} {
		send := s.member(method, "/v1/auth")
		if method == "POST" {
			send = withBody(method, "/v1/auth", keys)
		}
		attacks = append(attacks, attack{row: "P01", name: method + " /v1/auth", send: send, want: []int{404}, look: sameAsUnknown})
	}
	add("P02", "dot segments", 400, "/v1/../v1/auth", "/v1/sessions/../auth", "/./v1/auth", "/v1/./auth")
	add("P03", "encoded letters", 404, "/v1/%61uth", "/%76%31/auth", "/v1/aut%68")
	add("P05", "empty segments", 400, "//v1/auth", "/v1//auth", "///v1/auth", "/v1/sessions//x")
	add("P06", "encoded slash", 400, "/v1/sessions/..%2fauth", "/v1/sessions/..%2Fauth", "/v1/sessions/%2e%2e%2fauth")
	add("P07", "encoded dots", 400, "/v1/sessions/%2e%2e", "/v1/sessions/%2e")
	add("P09", "NUL", 400, "/v1/sessions/a%00b", "/v1/sessions%00/../auth")
	add("P10", "control characters", 400, "/v1/sessions/a%0d%0aS-Connector-Jwt:x", "/v1/sessions/a%0ab", "/v1/sessions/a%09b", "/v1/sessions/a%7fb")
	add("P13", "raw number sign", 400, "/v1/sessions#/../auth", "/v1/sessions#", "/v1/info?a#b")
	add("P14", "letter case", 404, "/V1/AUTH", "/v1/Auth", "/V1/Sessions")
	add("P15", "what follows auth", 404, "/v1/auth/", "/v1/auth?x", "/v1/auth%20", "/v1/auth.json", "/v1/sessions/")
	add("P15", "encoded slash after auth", 400, "/v1/auth%2f")
	add("P17", "longer words", 404, "/v1/sessionsX", "/v1/sessions../auth", "/v1/infox")
	add("P17", "back from a known path", 400, "/v1/info/../../v1/auth")
	add("P19", "name of 8,000 characters", 400, "/v1/sessions/"+strings.Repeat("a", 8000))
	// Legal names arrive byte for byte. Interwater answers 404, because there are no such rooms.
	for name, status := range map[string]int{
		"a%23b": 404, "a%3fb": 404, strings.Repeat("a", 128): 404, strings.Repeat("%ea%b0%80", 170): 404, koreanRoom(): 200,
		strings.ToLower(koreanRoom()): 200,
	} {
		attacks = append(attacks, attack{
			row: "P13 P19", name: "legal name " + name[:min(len(name), 20)], send: s.member("GET", "/v1/sessions/"+name), want: []int{status}, rooms: 1,
			look: func(t *testing.T, s *arena, _ []reply) {
				if got := s.stands.Interwater.LastRoomRequest().RequestURI; got != "/v1/sessions/"+name {
					t.Errorf("it arrives as %s", got)
				}
			},
		})
	}
	attacks = append(attacks,
		attack{row: "P21", name: "OPTIONS of all", send: message("OPTIONS", "*"), want: []int{404}},
		attack{row: "P21", name: "CONNECT to a host", send: message("CONNECT", s.evil), want: []int{405}},
		attack{row: "P21", name: "CONNECT to a path", send: message("CONNECT", "/v1/sessions"), want: []int{405}},
		attack{name: "absolute form", send: s.member("GET", "http://gateway.test/v1/auth"), want: []int{404}, look: sameAsUnknown},
		attack{name: "absolute form of another host", send: s.member("GET", "http://"+s.evil+"/v1/auth"), want: []int{400}, closes: true},
		attack{name: "absolute form, two paths", send: s.member("GET", "http:/v1/auth?x=://h/v1/info"), want: []int{400}},
	)
	s.play(t, attacks)
	s.retired(t)
}

// withBody returns a request with a body and a Content-Length, without a member token.
func withBody(method, target, body string, lines ...string) string {
	return message(method, target, append([]string{"Content-Type: application/json", "Content-Length: " + strconv.Itoa(len(body))}, lines...)...) + body
}

func TestRoomsAreOnlyReadFrom(t *testing.T) { bothModes(t, roomsAreOnlyReadFrom) }

func roomsAreOnlyReadFrom(t *testing.T, s *arena) {
	var attacks []attack
	for _, target := range []string{"/v1/info", "/v1/sessions", "/v1/sessions/" + koreanRoom()} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "TRACE", "FOO", "OPTIONS"} {
			attacks = append(attacks, attack{
				row: "M01", name: method + " " + target, send: s.member(method, target), want: []int{405}, look: expectHeader("Allow", "GET, HEAD"),
			})
		}
		attacks = append(attacks, attack{
			row: "M03", name: "HEAD " + target, send: s.member("HEAD", target), want: []int{200}, rooms: 1,
			look: func(t *testing.T, _ *arena, got []reply) {
				if got[0].body != "" || got[0].header.Get("Content-Type") != "application/json; charset=utf-8" {
					t.Errorf("HEAD has the body %q, header %v", got[0].body, got[0].header)
				}
			},
		})
	}
	stillGet := func(t *testing.T, s *arena, _ []reply) {
		if r := s.stands.Interwater.LastRoomRequest(); r.Method != "GET" {
			t.Errorf("%s arrives", r.Method)
		}
	}
	attacks = append(attacks,
		attack{row: "M02", name: "override in a header", send: s.member("GET", "/v1/sessions", "X-HTTP-Method-Override: POST", "X-HTTP-Method: POST"), want: []int{200}, rooms: 1, look: stillGet},
		attack{row: "M02", name: "override in the query", send: s.member("GET", "/v1/sessions?_method=POST"), want: []int{200}, rooms: 1, look: stillGet},
		attack{row: "M05", name: "long method", send: s.member(strings.Repeat("A", 300), "/v1/sessions"), want: []int{405}},
		attack{row: "M05", name: "lower case", send: s.member("get", "/v1/sessions"), want: []int{405}},
		attack{row: "M05", name: "control character", send: s.member("GET\x01", "/v1/sessions"), want: []int{400}, closes: true},
	)
	s.play(t, attacks)
	s.retired(t)
}
