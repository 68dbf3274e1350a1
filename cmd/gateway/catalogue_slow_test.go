package main

// The catalogue's rows D: clients that are slow, broken or in too great a hurry. All slow ones come at once, while another
// client goes on; every one of them is gone in time, and the other one never notices.

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"roomgate/internal/sandbox"
)

// crowd is connections that are kept open until the end of the test.
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
					_, _ = conn.Write([]byte("a")) // a closed one is what is hoped for
				}
			case <-done:
				return
			}
		}
	})
}

// leave closes all from this end.
func (c *crowd) leave() {
	for _, conn := range c.conns {
		conn.Close()
	}
}

func TestCatalogueD(t *testing.T) {
	t.Parallel() // mostly it waits
	s := newArena(t, "READ_HEADER_TIMEOUT=2s", "READ_TIMEOUT=4s", "IDLE_TIMEOUT=4s")
	const each = 40 // of the five kinds: 200 in all, and 20 that don't read
	s.stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/sessions", Kind: sandbox.KindHuge, Size: 7 << 20})
	const own = 8 // connections of the victim's, and as many upstream for them
	before := flood(t, 50, own, time.After(3*time.Second), s.url+"/v1/info", s.token).all()
	began, over := time.Now(), make(chan time.Time)
	var during []sample
	var victim sync.WaitGroup
	victim.Go(func() { during = flood(t, 50, own, over, s.url+"/v1/info", s.token).all() })
	defer victim.Wait()
	stop := sync.OnceFunc(func() { close(over) })
	defer stop()
	var c crowd
	defer c.leave()
	// D01 and D03 go on sending, too slowly.
	drip(t, c.join(t, each, s.addr(), "GET /v1/info HTTP/1.1\r\nHost: g\r\nX-A: "), 500*time.Millisecond)
	drip(t, c.join(t, each, s.addr(), "POST /public-api/v1/login HTTP/1.1\r\nHost: g\r\nContent-Length: 8192\r\n\r\n{"), 500*time.Millisecond)
	c.join(t, each, s.addr(), "")          // D02
	c.join(t, each, s.addr(), "PRI * HTT") // D02
	for range each {                       // D10, one after the other: as many connections upstream would stay open for a minute
		readReply(bufio.NewReader(c.join(t, 1, s.addr(), s.member("GET", "/v1/info"))[0]), http.MethodGet)
	}
	c.join(t, 20, s.addr(), s.member("GET", "/v1/sessions"))
	eventually(t, "all are in", func() bool { return s.files(t) > s.base.files+5*each/2 })
	late := time.Now().Add(60 * time.Second)
	for tick := time.NewTicker(200 * time.Millisecond); ; <-tick.C {
		// That the clients' ends are still open is the point.
		now := s.files(t)
		if now <= s.base.files+2*own+4 {
			tick.Stop()
			break
		}
		if time.Now().After(late) {
			t.Errorf("%v files are open, at the start %v", now, s.base.files)
			break
		}
	}
	took := time.Since(began)
	stop()
	victim.Wait()
	t.Logf("D01 D02 D03 D04 D10: all closed after %v; the victim's p99 %v before, %v during (%d requests)",
		took, quantile(before, .99), quantile(during, .99), len(during))
	if failed := failures(append(before, during...)); len(failed) > 0 {
		t.Errorf("%d of the victim's requests failed, the first: %s", len(failed), failed[0])
	}
	if p99 := quantile(during, .99); p99 > time.Second {
		t.Errorf("the victim's p99 is %v", p99)
	}
	// Of D03 nothing reached Glory: a login is read whole before anything is sent.
	if n := len(s.stands.Glory.Requests()); n > 0 {
		t.Errorf("Glory saw %d requests", n)
	}
	s.play(t, []row{
		{name: "D05 a byte over the limit", send: withBody("POST", "/public-api/v1/login", strings.Repeat("a", 1<<20+1)), want: []int{413}, closes: true},
		{name: "D05 1 GiB announced", send: message("POST", "/public-api/v1/join", "Content-Length: 1073741824"), want: []int{413}, closes: true},
		{name: "D05 chunks without an end", send: message("POST", "/public-api/v1/login", "Transfer-Encoding: chunked") + strings.Repeat("1000\r\n"+strings.Repeat("a", 4096)+"\r\n", 300), want: []int{413}, closes: true},
		{name: "D05 at the limit", send: withBody("POST", "/public-api/v1/login", strings.Repeat("a", 1<<20)), want: []int{400}, glory: 1},
		{name: "D02 preface of HTTP/2 in clear", send: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", want: []int{404}, closes: true},
	})
	s.retired(t)
}

// The half-open ways into TLS and HTTP/2.
func TestCatalogueDOverTLS(t *testing.T) {
	t.Parallel()
	s := newTLSArena(t, "READ_HEADER_TIMEOUT=2s", "READ_TIMEOUT=4s", "IDLE_TIMEOUT=4s")
	var c crowd
	defer c.leave()
	c.join(t, 100, s.addr(), "")                                 // D09: no handshake
	c.join(t, 100, s.addr(), "\x16\x03\x01\x02\x00\x01\x00\x01") // D09: half a hello
	for range 50 {                                               // D02: a handshake, and then nothing, or half a preface
		for _, first := range []string{"", "PRI * HTT"} {
			conn, err := tls.Dial("tcp", s.addr(), insecure("h2"))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(conn, first)
			c.conns = append(c.conns, conn)
		}
	}
	began := time.Now()
	eventually(t, "all are closed", func() bool { return s.files(t) <= s.base.files+5 })
	t.Logf("D02 D09: 300 half-open connections closed after %v", time.Since(began))

	// D06: 20 times as many streams as may be open, each reset as soon as it is asked for.
	s.stands.Interwater.SetFaults(sandbox.Fault{Delay: 5 * time.Second})
	for range 2 {
		h := s.dialHTTP2(t)
		request := h2Fields(":method", "GET", ":scheme", "https", ":path", "/v1/info", ":authority", "g", "authorization", "Bearer "+s.token)
		var flood []byte
		for i := range uint32(2000) {
			flood = append(flood, h2Frame(1, 5, 2*i+1, request)...)
			flood = append(flood, h2Frame(3, 0, 2*i+1, []byte{0, 0, 0, 8})...)
		}
		_, err := h.Write(flood)
		t.Logf("D06: a flood of resets, taken with %v", err)
		h.Close()
	}
	s.stands.Interwater.SetFaults()
	eventually(t, "the gateway rests", func() bool { return s.footprint(t).goroutines <= s.base.goroutines+10 })
	t.Logf("D06: %d of 4,000 requests had reached Interwater", s.stands.Interwater.RoomCalls())
	if got, _ := s.dialHTTP2(t).ask(t, ":method", "GET", ":scheme", "https", ":path", "/v1/info", ":authority", "g", "authorization", "Bearer "+s.token); got != 200 {
		t.Errorf("afterwards: %d", got)
	}
	s.retired(t)
}
