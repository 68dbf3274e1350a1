package main

// Slow and broken clients, and clients that reset what they ask for. The slow ones come all at once, beside another client. The gateway
// closes them in time, and the other client is served as usual.

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"roomgate/internal/sandbox"
	"roomgate/tests"
)

// crowd is a set of connections that the test keeps open until its end.
type crowd struct {
	mu    sync.Mutex
	conns []net.Conn
}

// join opens n connections to addr and sends first on each.
func (c *crowd) join(t *testing.T, n int, addr, first string) []net.Conn {
	t.Helper()
	joined := make([]net.Conn, 0, n)
	for range n {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
		_, _ = io.WriteString(conn, first)
		joined = append(joined, conn)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, joined...)
	return joined
}

// drip sends one more byte on each connection, every interval, until the test ends.
func drip(t *testing.T, conns []net.Conn, interval time.Duration) {
	tick := time.NewTicker(interval)
	done := make(chan struct{})
	var wg sync.WaitGroup
	t.Cleanup(func() { close(done); wg.Wait(); tick.Stop() })
	wg.Go(func() {
		for {
			select {
			case <-tick.C:
				for _, conn := range conns {
					_, _ = conn.Write([]byte("a")) // fails when the gateway has closed it, as it should
				}
			case <-done:
				return
			}
		}
	})
}

// leave closes all connections.
func (c *crowd) leave() {
	for _, conn := range c.conns {
		conn.Close()
	}
}

// closed waits until the gateway has closed all conns.
func closed(t *testing.T, conns []net.Conn) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for i, conn := range conns {
		conn.SetReadDeadline(deadline)
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("%d of %d connections stay open", len(conns)-i, len(conns))
		}
	}
}

// victimConns is how many connections a victim has. The gateway may have as many upstream for it.
const victimConns = 8

// victim starts a client that goes on until stop, while others attack. None of its requests may fail.
func (s *arena) victim(t *testing.T) (stop func()) {
	t.Helper()
	over := make(chan time.Time)
	var got []sample
	var wg sync.WaitGroup
	wg.Go(func() { got = flood(t, 50, victimConns, over, s.url+"/v1/info", s.token).all() })
	end := sync.OnceFunc(func() { close(over); wg.Wait() })
	t.Cleanup(end)
	return func() {
		t.Helper()
		end()
		t.Logf("the victim's p99 is %v, of %d requests", quantile(got, .99), len(got))
		if failed := failures(got); len(failed) > 0 {
			t.Errorf("%d of the victim's requests failed, the first: %s", len(failed), failed[0])
		}
		// A request that waited for an attacker would take longer than this. On a busy machine there are outliers, but the median is far
		// below.
		if p50 := quantile(got, .5); p50 > time.Second {
			t.Errorf("the victim's median is %v", p50)
		}
	}
}

// The catalogue's rows D01, D02, D03 and D10.
func TestSlowSendersAreClosedAndHinderNobody(t *testing.T) {
	t.Parallel() // mostly it waits
	s := newArena(t, "READ_HEADER_TIMEOUT=1s", "READ_TIMEOUT=2s", "IDLE_TIMEOUT=2s")
	const each = 40 // for each of the six kinds: 240 in all
	stop := s.victim(t)
	var c crowd
	defer c.leave()
	// D01 and D03 keep sending, but too slowly.
	drip(t, c.join(t, each, s.addr(), "GET /v1/info HTTP/1.1\r\nHost: g\r\nX-A: "), 500*time.Millisecond)
	drip(t, c.join(t, each, s.addr(), "POST /public-api/v1/login HTTP/1.1\r\nHost: g\r\nContent-Length: 8192\r\n\r\n{"), 500*time.Millisecond)
	c.join(t, each, s.addr(), "")          // D02
	c.join(t, each, s.addr(), "PRI * HTT") // D02
	for range each {                       // D10, one after the other: as many connections upstream would stay open for a minute
		readReply(bufio.NewReader(c.join(t, 1, s.addr(), s.member("GET", "/v1/info"))[0]), http.MethodGet)
	}
	// D01 on connections on which the lane has answered.
	late := c.join(t, each, s.addr(), s.member("GET", "/v1/info")+"GET /v1/info HTTP/1.1\r\nHost: g\r\nX-A: ")
	for _, conn := range late {
		readReply(bufio.NewReader(conn), http.MethodGet)
	}
	drip(t, late, 500*time.Millisecond)
	closed(t, c.conns)
	stop()
	// D03 hasn't reached Glory: the gateway reads a login whole before it sends anything.
	if n := len(s.stands.Glory.Requests()); n > 0 {
		t.Errorf("Glory saw %d requests", n)
	}
	s.retired(t)
}

// The catalogue's row D04. It takes as long as a write may take. In the default run, package proxy's TestAnswerThatIsNotReadIsCutOff and
// package lane's TestIdleAndSlowConnectionsAreClosed check the same.
func TestClientsThatDoNotReadAreClosedAndHinderNobody(t *testing.T) {
	tests.Long(t)
	t.Parallel() // mostly it waits
	s := newArena(t)
	s.stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/sessions", Kind: sandbox.KindHuge, Size: 7 << 20})
	stop := s.victim(t)
	var c crowd
	defer c.leave()
	const unread = 20
	c.join(t, unread, s.addr(), s.member("GET", "/v1/sessions"))
	eventually(t, "all are in", func() bool { return s.files(t) > s.base.files+unread })
	// The clients' ends stay open: the gateway has to close its own.
	eventually(t, "all are closed", func() bool { return s.files(t) <= s.base.files+2*victimConns+4 })
	stop()
	s.retired(t)
}

func TestBodiesTooLongOrWithoutEndAreRefused(t *testing.T) {
	t.Parallel() // mostly it waits
	s := newArena(t, "READ_TIMEOUT=2s")
	const chunked = "Transfer-Encoding: chunked"
	s.play(t, []attack{
		{row: "D05", name: "a byte over the limit", send: withBody("POST", "/public-api/v1/login", strings.Repeat("a", 64<<10+1)), want: []int{413}},
		{row: "D05", name: "far over the limit", send: withBody("POST", "/public-api/v1/login", strings.Repeat("a", 1<<20+1)), want: []int{413}, closes: true},
		{row: "D05", name: "a byte over the limit of other routes", send: withBody("POST", "/public-api/v1/other", strings.Repeat("a", 1<<20+1)), want: []int{413}, closes: true},
		{row: "D05", name: "1 GiB announced", send: message("POST", "/public-api/v1/join", "Content-Length: 1073741824"), want: []int{413}, closes: true},
		{row: "D05", name: "chunks without an end", send: message("POST", "/public-api/v1/login", chunked) + strings.Repeat("1000\r\n"+strings.Repeat("a", 4096)+"\r\n", 300), want: []int{413}, closes: true},
		{row: "D05", name: "at the limit", send: withBody("POST", "/public-api/v1/login", strings.Repeat("a", 64<<10)), want: []int{400}, glory: 1},
		{row: "D05", name: "at the limit of other routes", send: withBody("POST", "/public-api/v1/other", strings.Repeat("a", 1<<20)), want: []int{404}, glory: 1},
		{row: "S09", name: "a chunk of 2^63 bytes", send: message("POST", "/public-api/v1/login", chunked) + "8000000000000000\r\n{}\r\n0\r\n\r\n", want: []int{400}, closes: true},
		{row: "D02", name: "preface of HTTP/2 in clear", send: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", want: []int{505}, closes: true},
	})
	s.retired(t)
}

// The catalogue's row D09.
func TestHalfOpenHandshakesAreClosed(t *testing.T) {
	t.Parallel() // mostly it waits
	s := newTLSArena(t, "READ_HEADER_TIMEOUT=1s", "READ_TIMEOUT=2s", "IDLE_TIMEOUT=2s")
	var c crowd
	defer c.leave()
	c.join(t, 100, s.addr(), "")
	c.join(t, 100, s.addr(), "\x16\x03\x01\x02\x00\x01\x00\x01") // half a hello
	closed(t, c.conns)
	s.retired(t)
}

// The catalogue's row D02 over TLS: a handshake, then nothing or half a preface. The limit is Go's own, 10 s.
func TestHTTP2WithoutItsPrefaceIsClosed(t *testing.T) {
	tests.Long(t)
	t.Parallel() // mostly it waits
	s := newTLSArena(t)
	var c crowd
	defer c.leave()
	for range 50 {
		for _, first := range []string{"", "PRI * HTT"} {
			conn, err := tls.Dial("tcp", s.addr(), insecure("h2"))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(conn, first)
			c.conns = append(c.conns, conn)
		}
	}
	closed(t, c.conns)
	s.retired(t)
}

// Row D01 in HTTP/2: heads and frames that are never completed are cut off, even if bytes keep coming. An idle connection isn't.
func TestHTTP2HeadsThatAreNotCompletedAreClosed(t *testing.T) {
	t.Parallel() // mostly it waits
	s := newTLSArena(t, "READ_HEADER_TIMEOUT=1s", "IDLE_TIMEOUT=1h")
	fields := []string{":method", "GET", ":scheme", "https", ":path", "/v1/info", ":authority", "g", "authorization", "Bearer " + s.token}
	head := h2Fields(fields...)
	good := s.dialHTTP2(t)
	if got, _ := good.ask(t, fields...); got != 200 {
		t.Fatalf("status %d", got)
	}
	var held, dripping []net.Conn
	for name, first := range map[string][]byte{
		"a head without its end":   h2Frame(1, 1, 1, head),
		"half a head's frame":      h2Frame(1, 5, 1, head)[:20],
		"a frame's header alone":   h2Frame(1, 5, 1, head)[:9],
		"half a frame's header":    h2Frame(1, 5, 1, head)[:4],
		"half a frame of SETTINGS": h2Frame(4, 0, 0, make([]byte, 6))[:12],
		"a second head, unended":   append(h2Frame(1, 5, 1, head), h2Frame(1, 1, 3, head)...),
	} {
		h := s.dialHTTP2(t)
		if _, err := h.Write(first); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		held = append(held, h)
		if name == "a head without its end" {
			dripping = append(dripping, h)
		}
	}
	// Byte by byte comes the payload of a CONTINUATION that doesn't end the head.
	_, _ = dripping[0].Write(h2Frame(9, 0, 1, make([]byte, 4096))[:9])
	drip(t, dripping, 200*time.Millisecond)
	closed(t, held)
	if got, _ := good.ask(t, fields...); got != 200 {
		t.Errorf("an idle connection, meanwhile: %d", got)
	}
	good.Close()
	s.retired(t)
}

// The catalogue's row D06: far more streams than may be open, each reset right after its request.
func TestStreamsThatAreResetLeaveNothingRunning(t *testing.T) {
	s := newTLSArena(t)
	s.stands.Interwater.SetFaults(sandbox.Fault{Delay: 5 * time.Second})
	fields := []string{":method", "GET", ":scheme", "https", ":path", "/v1/info", ":authority", "g", "authorization", "Bearer " + s.token}
	for range 2 {
		h := s.dialHTTP2(t)
		var flood []byte
		for i := range uint32(2000) {
			flood = append(flood, h2Frame(1, 5, 2*i+1, h2Fields(fields...))...)
			flood = append(flood, h2Frame(3, 0, 2*i+1, []byte{0, 0, 0, 8})...)
		}
		_, err := h.Write(flood)
		t.Logf("a flood of resets, taken with %v", err)
		h.Close()
	}
	s.stands.Interwater.SetFaults()
	eventually(t, "the gateway rests", func() bool { return s.footprint(t).goroutines <= s.base.goroutines+10 })
	t.Logf("%d of 4,000 requests had reached Interwater", s.stands.Interwater.RoomCalls())
	if got, _ := s.dialHTTP2(t).ask(t, fields...); got != 200 {
		t.Errorf("afterwards: %d", got)
	}
	s.retired(t)
}
