package main

// What the tests of the catalogue of attacks stand on. Each letter of the catalogue is one test, each row a subtest
// named by its id: bytes go in at one end of a gateway that is a process of its own, and what comes out is looked at on
// both sides. What must hold in every row (the catalogue's invariants I1 to I6) is checked after every row, here.

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
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
	token   string       // a member's
	looker  *http.Client // of the operations listener: one, so that looking leaves nothing behind
	evil    string       // host:port
	evilHit atomic.Int64
	base    footprint
}

// newArena starts a gateway without rate limits, unless own says otherwise, and gives it an access token.
func newArena(t *testing.T, own ...string) *arena {
	t.Helper()
	return newArenaBefore(t, newStands(t), own...)
}

// newArenaBefore is newArena with upstreams that the test has started already.
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
	s.token = s.stands.Glory.MintToken("1", time.Hour)
	s.warm(t, slices.ContainsFunc(own, func(one string) bool { return strings.HasPrefix(one, "TLS_") }))
	return s
}

// warm makes the gateway fetch its access token and open a connection to each upstream, and takes its footprint.
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

// member is a member's request without a body.
func (s *arena) member(method, target string, lines ...string) string {
	return message(method, target, append([]string{"Authorization: Bearer " + s.token}, lines...)...)
}

// message is a request as it is on the wire; a Host is added.
func message(method, target string, lines ...string) string {
	return method + " " + target + " HTTP/1.1\r\n" + strings.Join(append([]string{"Host: gateway.test"}, lines...), "\r\n") + "\r\n\r\n"
}

// row is one stimulus and what must become of it.
type row struct {
	name string // begins with the row's id
	send string
	want []int // the answers' statuses, in order
	// closes: the gateway ends the connection by itself after the last answer.
	closes bool
	// rooms and glory are how many requests reach the upstreams, auth how many times a token is fetched.
	rooms, glory, auth int
	// before prepares the upstreams, look sees what was answered and arrived.
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

// play runs rows one after the other.
func (s *arena) play(t *testing.T, rows []row) {
	t.Helper()
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
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

// converse writes bytes and reads the answers to them: n, and whatever else comes once nothing more is sent. closed tells
// that the gateway ended the connection before that, where the row asks.
func (s *arena) converse(t *testing.T, send string, n int, closes bool) (replies []reply, raw string, closed bool) {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	// Not all of it need be taken: some requests are refused by their first lines.
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
		conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, err := in.Peek(1)
		var late net.Error
		closed = err != nil && (!errors.As(err, &late) || !late.Timeout())
	}
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	_ = conn.(*net.TCPConn).CloseWrite()
	for {
		one, ok := readReply(in, method)
		if !ok {
			return replies, all.String(), closed
		}
		replies = append(replies, one)
	}
}

// readReply reads one final answer. An informational one would be a leak; 100 alone is the server's own.
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

// say is converse for one request with one answer.
func (s *arena) say(t *testing.T, send string) reply {
	t.Helper()
	replies, raw, _ := s.converse(t, send, 1, false)
	if len(replies) != 1 {
		t.Fatalf("%d answers to %.100q: %.300q", len(replies), send, raw)
	}
	return replies[0]
}

// declared are the room routes as they may reach Interwater, written again: dots alone are no name, nothing is encoded
// that would separate or end one.
var (
	declared = regexp.MustCompile(`^/v1/(info|sessions|sessions/([^/?#%\\;]|%[0-9A-Fa-f]{2})+)(\?[^#;]*)?$`)
	unclean  = regexp.MustCompile(`(?i)^/v1/sessions/(\.|%2e){1,2}(\?|$)|%(2f|5c|0.|1.|7f)`)
	folded   = regexp.MustCompile(`[^a-z0-9]`)
	// interwaterHeaders are all that may be sent there.
	interwaterHeaders = " accept accept-encoding accept-language user-agent if-none-match if-modified-since content-type " +
		"content-encoding content-language traceparent tracestate x-request-id x-forwarded-for x-forwarded-host " +
		"x-forwarded-proto s-connector-jwt content-length "
)

// invariants are what holds in every row: I1 and I2 for all that reached an upstream, I3 for what came back. I4 is in the
// rows' counts, I5 in retired, I6 in the deadlines.
func (s *arena) invariants(t *testing.T, replies []reply, raw string) {
	t.Helper()
	for _, r := range s.stands.Interwater.RoomRequests() {
		if r.Method != "GET" && r.Method != "HEAD" || !declared.MatchString(r.RequestURI) || unclean.MatchString(r.RequestURI) {
			t.Errorf("I1: Interwater got %s %s", r.Method, r.RequestURI)
		}
		for name, values := range r.Header {
			lower := strings.ToLower(name)
			if !strings.Contains(interwaterHeaders, " "+lower+" ") {
				t.Errorf("I2: Interwater got %s: %q", name, values)
			}
			if text := strings.Join(values, "\n"); strings.Contains(text, "EVIL") || strings.Contains(text, s.token) {
				t.Errorf("I2: Interwater got the client's %s: %q", name, values)
			}
		}
		if got := r.Header["S-Connector-Jwt"]; len(got) != 1 || strings.Count(got[0], ".") != 2 {
			t.Errorf("I2: the credential is %q", got)
		}
	}
	for _, r := range s.stands.Glory.Requests() {
		for name := range r.Header {
			if folded.ReplaceAllString(strings.ToLower(name), "") == "sconnectorjwt" {
				t.Errorf("I2: Glory got %s", name)
			}
		}
	}
	for what, secret := range s.secrets() {
		if strings.Contains(raw, secret) {
			t.Errorf("I3: the %s is in the answer %.300q", what, raw)
		}
	}
	for _, r := range replies {
		if r.status < 200 || r.status >= 300 && r.status < 400 && s.stands.Interwater.RoomCalls() > 0 {
			t.Errorf("I6: status %d", r.status)
		}
		if strings.Contains(fmt.Sprint(r.header), s.evil) || strings.Contains(raw, "dial tcp") || strings.Contains(raw, s.stands.InterwaterURL) {
			t.Errorf("X02: the answer tells of hosts: %.300q", raw)
		}
	}
	if hits := s.evilHit.Load(); hits > 0 {
		t.Errorf("another host was contacted %d times", hits)
	}
}

// secrets are all that must not come out of the gateway.
func (s *arena) secrets() map[string]string {
	license := s.stands.Interwater.Licenses()[0]
	all := map[string]string{"secret key": license.SecretKey, "access key": license.AccessKey, "JWT secret": s.stands.Glory.Secret()}
	if token := s.stands.Interwater.LastRoomRequest().Header.Get("s-connector-jwt"); token != "" {
		all["access token"] = token
	}
	return all
}

// footprint is what a process holds on to.
type footprint struct{ goroutines, files, heap float64 }

// footprint asks the gateway, after a garbage collection.
func (s *arena) footprint(t *testing.T) footprint {
	t.Helper()
	get(t, s.looker, s.admin+"/debug/pprof/heap?gc=1", "").want(t, 200)
	values := s.metrics(t)
	return footprint{values["go_goroutines"], values["process_open_fds"], values["go_memstats_heap_alloc_bytes"]}
}

// files is how many the process has open, connections among them.
func (s *arena) files(t *testing.T) float64 {
	t.Helper()
	return s.metrics(t)["process_open_fds"]
}

// metrics are all series with their values.
func (s *arena) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	values := map[string]float64{}
	for line := range strings.Lines(get(t, s.looker, s.admin+"/metrics", "").want(t, 200).body) {
		if at := strings.LastIndexByte(line, ' '); at > 0 && line[0] != '#' {
			values[line[:at]], _ = strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
		}
	}
	return values
}

// retired ends a test: nothing is left behind (I5), the log tells no secret and has no line that a client wrote (I3), and
// no race was found in the process.
func (s *arena) retired(t *testing.T) {
	t.Helper()
	secrets := s.secrets()
	secrets["member token"] = s.token
	s.stands.Close() // the pool of idle connections to it is no leak
	var now footprint
	deadline := time.Now().Add(10 * time.Second)
	for tick := time.NewTicker(100 * time.Millisecond); ; <-tick.C {
		now = s.footprint(t)
		if now.goroutines <= s.base.goroutines+10 && now.files <= s.base.files+5 && now.heap <= s.base.heap+16<<20 {
			tick.Stop()
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("I5: left behind: %+v, at the start %+v", now, s.base)
			break
		}
	}
	t.Logf("footprint: %+v, at the start %+v", now, s.base)
	text := s.log.String()
	for what, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("I3: the %s is in the log", what)
		}
	}
	for line := range strings.Lines(text) {
		if !json.Valid([]byte(line)) {
			t.Fatalf("not a line of the log: %.2000s", text[strings.Index(text, line):])
		}
	}
}

// expectHeader is a row's look at one header of the first answer; "" wants none.
func expectHeader(name, value string) func(*testing.T, *arena, []reply) {
	return func(t *testing.T, _ *arena, replies []reply) {
		t.Helper()
		if got := strings.Join(replies[0].header[name], "|"); got != value {
			t.Errorf("%s: %q, want %q", name, got, value)
		}
	}
}
