package main

// The tests of attacks send bytes to a gateway in a process of its own. They check the answers, and what reaches the upstreams.
// invariants_test.go has what must hold after each attack. docs/security.md lists which test plays which row of the catalogue of
// attacks.

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"roomgate/internal/sandbox"
)

// arena is a gateway with both upstreams, a member, and a host that nothing may ever be sent to.
type arena struct {
	*replica
	stands  *sandbox.Sandbox
	process *os.Process
	token   string       // a member token
	looker  *http.Client // for the operations listener; it keeps one connection, so that looks don't change the footprint
	evil    string       // the host's address, host:port
	evilHit atomic.Int64
	base    footprint
}

// newArena starts a gateway without rate limits, and makes it fetch an access token. own are further settings, which count more.
func newArena(t *testing.T, own ...string) *arena {
	t.Helper()
	return newArenaBefore(t, newStands(t), own...)
}

// bothModes plays against three gateways: one that verifies members itself, one that asks Glory, and one without the fast lane.
func bothModes(t *testing.T, play func(*testing.T, *arena)) {
	// The member's verdict is known from the start, so that requests call Glory no more often than in local mode.
	remote := []string{"GLORY_JWT_SECRETS=", "MEMBER_CACHE_TTL=1h"}
	t.Run("local", func(t *testing.T) { play(t, newArena(t)) })
	t.Run("remote", func(t *testing.T) { play(t, newArena(t, remote...)) })
	t.Run("local, no lane", func(t *testing.T) { play(t, newArena(t, noLane)) })
}

// newArenaBefore is newArena with upstreams that the test has started.
func newArenaBefore(t *testing.T, stands *sandbox.Sandbox, own ...string) *arena {
	t.Helper()
	s := &arena{stands: stands, looker: newClient(t)}
	evil, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { evil.Close() })
	s.evil = evil.Addr().String()
	go func() {
		for {
			conn, err := evil.Accept()
			if err != nil {
				return
			}
			s.evilHit.Add(1)
			conn.Close()
		}
	}()
	limits := []string{"MEMBER_RATE_LIMIT=0", "ACCOUNT_RATE_LIMIT=0"}
	s.replica, s.process = startProcess(t, settings(s.stands, newRedis(t).Addr, append(limits, own...)...))
	t.Cleanup(func() {
		if text := s.log.String(); t.Failed() {
			for line := range strings.Lines(text) {
				if strings.Contains(line, `"error"`) {
					t.Log(line)
				}
			}
			t.Logf("the end of the gateway's log: %s", text[max(0, len(text)-2000):])
		}
	})
	s.token = s.stands.Glory.MintToken("1", time.Hour)
	s.warm(t, slices.ContainsFunc(own, func(one string) bool { return strings.HasPrefix(one, "TLS_") }))
	return s
}

// warm makes the gateway fetch its access token and open a connection to each upstream. Then it records the footprint.
func (s *arena) warm(t *testing.T, secure bool) {
	t.Helper()
	if !secure {
		for _, target := range []string{"/v1/info", "/api/v1/check_login"} {
			if got := s.say(t, s.member("GET", target)); got.status != 200 {
				t.Fatalf("%s: %+v", target, got)
			}
		}
	} else if got, _ := s.dialHTTP2(t).ask(t, ":method", "GET", ":scheme", "https", ":path", "/v1/info", ":authority", "g", "authorization", "Bearer "+s.token); got != 200 {
		t.Fatalf("over TLS: %d", got)
	}
	s.stands.Interwater.Reset()
	s.stands.Glory.Reset()
	s.base = s.footprint(t)
}

func (s *arena) addr() string {
	_, addr, _ := strings.Cut(s.url, "://")
	return addr
}

// member returns a member's request without a body.
func (s *arena) member(method, target string, lines ...string) string {
	return message(method, target, append([]string{"Authorization: Bearer " + s.token}, lines...)...)
}

// message returns the bytes of a request without a body. It adds a Host.
func message(method, target string, lines ...string) string {
	return method + " " + target + " HTTP/1.1\r\n" + strings.Join(append([]string{"Host: gateway.test"}, lines...), "\r\n") + "\r\n\r\n"
}

// attack is one stimulus and what must become of it.
type attack struct {
	row  string // of the catalogue; "": it isn't there
	name string
	send string
	want []int // the answers' statuses, in order
	// closes: the gateway must end the connection after the last answer.
	closes bool
	// rooms and glory are how many requests must reach the upstreams. auth is how many access tokens are fetched.
	rooms, glory, auth int
	// before, if not nil, prepares the upstreams. look, if not nil, checks the answers and what has reached the upstreams.
	before func(*arena)
	look   func(*testing.T, *arena, []reply)
}

// reply is an answer as it came over the wire.
type reply struct {
	status int
	header http.Header
	body   string
	broken bool // the body broke off
}

// play runs attacks one after the other.
func (s *arena) play(t *testing.T, attacks []attack) {
	t.Helper()
	for _, r := range attacks {
		t.Run(r.name, func(t *testing.T) {
			defer func() {
				if t.Failed() {
					t.Logf("row %s of the catalogue", r.row)
				}
			}()
			s.stands.Interwater.Reset()
			s.stands.Glory.Reset()
			if r.before != nil {
				r.before(s)
			}
			replies, raw, closed := s.converse(t, r.send, len(r.want), r.closes)
			var got []int
			for _, one := range replies {
				got = append(got, one.status)
			}
			if !slices.Equal(got, r.want) {
				t.Errorf("statuses %v, want %v; answer %.300q", got, r.want, raw)
			}
			if r.closes && !closed {
				t.Error("the connection stays open")
			}
			s.invariants(t, replies, raw)
			rooms, glory, auth := s.stands.Interwater.RoomCalls(), len(s.stands.Glory.Requests()), s.stands.Interwater.AuthCalls()
			if rooms != r.rooms || glory != r.glory || auth != r.auth {
				t.Errorf("%d room requests, %d to Glory and %d fetches of a token, want %d, %d and %d", rooms, glory, auth, r.rooms, r.glory, r.auth)
			}
			if r.look != nil && len(replies) > 0 {
				r.look(t, s, replies)
			}
		})
	}
}

// converse writes bytes and reads n answers. Then it closes its side of the connection, and reads whatever else comes. If closes is
// set, closed reports whether the gateway ended the connection first.
func (s *arena) converse(t *testing.T, send string, n int, closes bool) (replies []reply, raw string, closed bool) {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	// An error is no failure: the gateway may refuse a request by its first lines and close.
	_, _ = io.WriteString(conn, send)
	var all bytes.Buffer
	in := bufio.NewReader(io.TeeReader(conn, &all))
	method, _, _ := strings.Cut(send, " ")
	for len(replies) < n {
		one, ok := readReply(in, method)
		if !ok {
			break
		}
		replies = append(replies, one)
	}
	if closes {
		conn.SetReadDeadline(time.Now().Add(patience))
		_, err := in.Peek(1)
		var late net.Error
		closed = err != nil && (!errors.As(err, &late) || !late.Timeout())
	}
	conn.SetReadDeadline(time.Now().Add(patience))
	_ = conn.(*net.TCPConn).CloseWrite()
	for {
		one, ok := readReply(in, method)
		if !ok {
			return replies, all.String(), closed
		}
		replies = append(replies, one)
	}
}

// readReply reads one answer, and skips 100 (Continue), which the server itself sends. Other informational answers count as answers:
// none may be passed on.
func readReply(in *bufio.Reader, method string) (reply, bool) {
	for {
		response, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return reply{}, false
		}
		if response.StatusCode == http.StatusContinue {
			continue
		}
		body, err := io.ReadAll(response.Body)
		return reply{response.StatusCode, response.Header, string(body), err != nil}, true
	}
}

// say sends one request that must have one answer.
func (s *arena) say(t *testing.T, send string) reply {
	t.Helper()
	replies, raw, _ := s.converse(t, send, 1, false)
	if len(replies) != 1 {
		t.Fatalf("%d answers to %.100q: %.300q", len(replies), send, raw)
	}
	return replies[0]
}

// expectHeader returns a look at one header of the first answer. value "": there must be none.
func expectHeader(name, value string) func(*testing.T, *arena, []reply) {
	return func(t *testing.T, _ *arena, replies []reply) {
		t.Helper()
		if got := strings.Join(replies[0].header[name], "|"); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
}
