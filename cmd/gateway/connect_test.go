package main

// Upstreams that can't be reached or break off (the catalogue's row U13), names that move and addresses that die (O09). The upstreams
// have host names, for which the tests' own name server answers.

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"roomgate/internal/sandbox"
	"roomgate/tests"
)

// named is an arena with the upstreams interwater.test and glory.test. At first both are at 127.0.0.1.
type named struct {
	*arena
	names  *names
	ports  map[string]string // by name
	fronts map[string]*httptest.Server
}

// upstreamNames are the host names of both upstreams.
var upstreamNames = []string{"interwater.test", "glory.test"}

func newNamed(t *testing.T, own ...string) *named {
	t.Helper()
	stands := newStands(t)
	s := &named{names: newNames(t), ports: map[string]string{}, fronts: map[string]*httptest.Server{}}
	handlers := map[string]http.Handler{"interwater.test": stands.Interwater, "glory.test": stands.Glory}
	for _, name := range upstreamNames {
		s.ports[name] = freePortAt(t, "0.0.0.0")
		s.names.set(name, "127.0.0.1")
		s.fronts[name] = serveAt(t, "127.0.0.1:"+s.ports[name], handlers[name])
	}
	own = append(own, s.names.setting(), "INTERWATER_URL=http://interwater.test:"+s.ports["interwater.test"], "GLORY_URL=http://glory.test:"+s.ports["glory.test"])
	s.arena = newArenaBefore(t, stands, own...)
	for range 60 { // successes, so that the failures to come don't open a circuit
		s.say(t, s.member("GET", "/v1/info"))
		s.say(t, s.member("GET", "/api/v1/check_login"))
	}
	return s
}

// request returns a request for the upstream with this name: a GET of a room, or a login, which must not be sent twice.
func (s *named) request(name string) string {
	if name == "glory.test" {
		return withBody("POST", "/public-api/v1/login", s.loginBody())
	}
	return s.member("GET", "/v1/info")
}

// moved gives a name other addresses, and closes the server at the old one: else it would be used for some seconds.
func (s *named) moved(name string, addrs ...string) {
	s.names.set(name, addrs...)
	s.fronts[name].Close()
}

// serve starts another server for a name, with the same handler.
func (s *named) serve(t *testing.T, name, addr string) {
	t.Helper()
	s.fronts[name] = serveAt(t, addr+":"+s.ports[name], s.fronts[name].Config.Handler)
}

// lastCause waits until the newest access event has this status and cause.
func (s *arena) lastCause(t *testing.T, status int, cause string) {
	t.Helper()
	eventually(t, "an event that tells of "+cause, func() bool {
		events := s.log.events("request")
		if len(events) == 0 {
			return false
		}
		last := events[len(events)-1]
		text, _ := last["error"].(string)
		return last["status"] == float64(status) && strings.Contains(text, cause)
	})
}

func TestUnreachableUpstreamIs502(t *testing.T) {
	t.Parallel() // mostly it waits
	s := newNamed(t, "INTERWATER_TIMEOUT=8s", "GLORY_TIMEOUT=8s")
	for _, name := range upstreamNames {
		blackhole(t, "127.0.0.4:"+s.ports[name])
	}
	var attacks []attack
	add := func(what, name string, status int, cause string, before func(*arena)) {
		attacks = append(attacks, attack{
			row: "U13", name: what + " " + name, send: s.request(name), want: []int{status},
			before: before,
			look:   func(t *testing.T, a *arena, _ []reply) { a.lastCause(t, status, cause) },
		})
	}
	for i, name := range upstreamNames {
		add("nobody listens", name, 502, "connection refused", func(*arena) { s.moved(name, "127.0.0.3") })
		add("no such name", name, 502, "no such host", func(*arena) { s.moved(name) })
		if i > 0 && !tests.Whole() {
			continue // to give up a connection takes 2 s, and is the same for both
		}
		// The dialer gives up before the upstream's timeout, which would make it a 504.
		add("swallowed", name, 502, "i/o timeout", func(*arena) { s.moved(name, "127.0.0.4") })
	}
	s.play(t, attacks)
	for _, name := range upstreamNames {
		s.names.set(name, "127.0.0.1")
		s.serve(t, name, "127.0.0.1")
		if got := s.say(t, s.request(name)); got.status != 200 {
			t.Errorf("%s is back: %+v", name, got)
		}
		s.fronts[name].Close()
	}
	s.retired(t)
}

func TestUpstreamThatBreaksOffNeverLooksWhole(t *testing.T) {
	t.Parallel()
	s := newArena(t)
	for range 60 {
		s.say(t, s.member("GET", "/v1/info"))
		s.say(t, s.member("GET", "/api/v1/check_login"))
	}
	var attacks []attack
	room := func(what string, fault sandbox.Fault, rooms int, want []int, look func(*testing.T, *arena, []reply)) {
		attacks = append(attacks, attack{
			row: "U13", name: what + ", room", send: s.member("GET", "/v1/info"), want: want, rooms: rooms, look: look,
			before: func(s *arena) { s.stands.Interwater.SetFaults(fault) },
		})
	}
	login := func(what string, fault sandbox.Fault, want []int, look func(*testing.T, *arena, []reply)) {
		attacks = append(attacks, attack{
			row: "U13", name: what + ", login", send: withBody("POST", "/public-api/v1/login", s.loginBody()), want: want, glory: 1, look: look,
			before: func(s *arena) { s.stands.Glory.SetFaults(fault) },
		})
	}
	// both adds an attack of each kind. After an answer has begun, the request isn't repeated.
	both := func(what string, fault sandbox.Fault, rooms int, want []int, look func(*testing.T, *arena, []reply)) {
		room(what, fault, rooms, want, look)
		login(what, fault, want, look)
	}
	reset := func(sent string) sandbox.Fault { return sandbox.Fault{Kind: sandbox.KindReset, Body: sent} }
	const short, long = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n"
	failed, cut := []int{502}, []int{200}
	both("reset after the request", reset(""), 2, failed, nil) // a GET is repeated once
	both("reset within the status line", reset("HTTP/1.1 2"), 1, failed, nil)
	both("reset within the header", reset("HTTP/1.1 200 OK\r\nContent-Le"), 1, failed, nil)
	both("reset after the header", reset(short), 1, failed, nil) // a small answer is passed on when it is complete
	both("reset within a small body", reset(short+"{"), 1, failed, nil)
	both("reset within a large body", reset(long+strings.Repeat("a", 50_000)), 1, cut, bodyIs("", true))
	chunk := func(n int) sandbox.Fault {
		return reset("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000\r\n" + strings.Repeat("a", n))
	}
	room("reset within a small chunk", chunk(50_000), 1, failed, nil)
	login("reset within a chunk", chunk(50_000), cut, bodyIs("", true))
	room("reset within a large chunk", chunk(100_000), 1, cut, bodyIs("", true))
	s.play(t, attacks)
	s.retired(t)
}

func TestDeadAddressOfTwoFailsNoRequest(t *testing.T) {
	t.Parallel() // mostly it waits
	s := newNamed(t)
	for _, name := range upstreamNames {
		blackhole(t, "127.0.0.4:"+s.ports[name])
	}
	for dead, alive := range map[string]string{"127.0.0.3": "127.0.0.5", "127.0.0.4": "127.0.0.6"} { // the first refuses, the second doesn't answer
		for _, name := range upstreamNames {
			t.Run(dead+" "+name, func(t *testing.T) {
				s.moved(name, dead, alive)
				s.serve(t, name, alive)
				s.fronts[name].Config.SetKeepAlivesEnabled(false) // each request opens a connection
				asked := s.names.questions()
				if name == "glory.test" {
					// The end of an idle connection to the old server may still be on its way on a busy machine. A login on it would
					// rightly fail; this GET is repeated, and all idle connections are closed then.
					if got := s.say(t, s.member("GET", "/api/v1/check_login")); got.status != 200 {
						t.Fatalf("the first request: %+v", got)
					}
				}
				for range 5 {
					if got := s.say(t, s.request(name)); got.status != 200 {
						t.Fatalf("%+v", got)
					}
				}
				if s.names.questions() == asked {
					t.Error("the name server wasn't asked: no connection was made")
				}
			})
		}
	}
	for _, name := range upstreamNames {
		s.fronts[name].Close()
	}
	s.retired(t)
}

// Issue 16: one lost datagram led to a 502 after 2 s. If the question for AAAA was never answered, no connection was ever made.
func TestLostAnswersOfTheNameServerCostTimeOnly(t *testing.T) {
	t.Parallel() // mostly it waits
	s, paths := newNamed(t), map[string]string{"interwater.test": "/v1/info", "glory.test": "/api/v1/check_login"}
	move := func(name, addr string) {
		t.Helper()
		s.moved(name, addr)
		s.serve(t, name, addr)
		began := time.Now()
		// A GET, because it is repeated: on a busy machine the request may go over an old connection before its end is noticed.
		if got := s.say(t, s.member("GET", paths[name])); got.status != 200 {
			t.Errorf("%s: %+v", name, got)
		}
		t.Logf("%s: %v", name, time.Since(began))
	}
	for _, name := range upstreamNames {
		s.names.lose(2) // the questions for A and for AAAA
		move(name, "127.0.0.2")
	}
	s.names.silence()
	for _, name := range upstreamNames {
		move(name, "127.0.0.3")
	}
	for _, name := range upstreamNames {
		s.fronts[name].Close()
	}
	s.retired(t)
}

func TestMovedNameFailsOneRequestAtMost(t *testing.T) {
	s := newNamed(t)
	for _, name := range upstreamNames {
		t.Run(name, func(t *testing.T) {
			old := s.fronts[name]
			var served atomic.Int64
			next := serveAt(t, "127.0.0.2:"+s.ports[name], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				served.Add(1)
				old.Config.Handler.ServeHTTP(w, r)
			}))
			var statuses []int
			ask := func() { statuses = append(statuses, s.say(t, s.request(name)).status) }
			for range 20 {
				ask()
			}
			s.names.set(name, "127.0.0.2")
			old.Config.Close() // with all its connections
			for range 50 {
				ask()
			}
			failed := len(statuses) - len(slices.DeleteFunc(slices.Clone(statuses), func(status int) bool { return status != 200 }))
			if failed > 1 || statuses[len(statuses)-1] != 200 || served.Load() < 49 {
				t.Errorf("%d requests failed, %d reached the new address: %v", failed, served.Load(), statuses)
			}
			t.Logf("%d of %d failed", failed, len(statuses))
			old.Close()
			next.Close()
		})
	}
	s.retired(t)
}

// The test takes as long as a connection may be used. In the default run, the tests of both transports check this on one connection.
func TestMovedNameIsFollowedThoughTheOldAddressAnswers(t *testing.T) {
	tests.Long(t)
	t.Parallel() // mostly it waits
	s := newNamed(t)
	var served [2]atomic.Int64
	for i, name := range upstreamNames {
		old := s.fronts[name].Config.Handler
		serveAt(t, "127.0.0.2:"+s.ports[name], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			served[i].Add(1)
			old.ServeHTTP(w, r)
		}))
		s.names.set(name, "127.0.0.2")
	}
	// Connections that are never idle for long are replaced, too, and no request fails.
	began, tick := time.Now(), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for ; served[0].Load() == 0 || served[1].Load() == 0; <-tick.C {
		for _, name := range upstreamNames {
			if got := s.say(t, s.request(name)); got.status != 200 {
				t.Fatalf("%s: %+v", name, got)
			}
		}
		if time.Since(began) > patience {
			t.Fatalf("requests that reached the new addresses of %v: %d and %d", upstreamNames, served[0].Load(), served[1].Load())
		}
	}
	t.Logf("both moved within %v", time.Since(began))
}
