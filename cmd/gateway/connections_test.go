package main

// The limits on connections, and on streams of a connection. More connections wait. They don't disturb those that are served, and
// don't delay the shutdown.

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

// answered sends a request on conn and reports whether the gateway answers within patient.
func (s *arena) answered(t *testing.T, conn net.Conn, patient time.Duration) bool {
	t.Helper()
	if _, err := io.WriteString(conn, s.member("GET", "/v1/info")); err != nil {
		t.Fatal(err)
	}
	return s.answers(t, conn, patient)
}

// answers is answered for a request that has been sent already.
func (s *arena) answers(t *testing.T, conn net.Conn, patient time.Duration) bool {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(patient))
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	if err != nil || answer.StatusCode != 200 {
		t.Fatalf("%v, %v", answer, err)
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	return true
}

// dialed opens n connections, one after the other. They are closed when the test ends.
func (s *arena) dialed(t *testing.T, n int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		conn, err := net.Dial("tcp", s.addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		conns[i] = conn
	}
	return conns
}

func TestConnectionsBeyondTheLimitWaitAndAreServedInTurn(t *testing.T) {
	t.Parallel()
	s := newArena(t, "MAX_CONNECTIONS=3")
	conns := s.dialed(t, 4)
	for i, conn := range conns[:3] {
		if !s.answered(t, conn, patience) {
			t.Fatalf("connection %d of 3 isn't served", i+1)
		}
	}
	if s.answered(t, conns[3], 300*time.Millisecond) {
		t.Error("connection 4 of 3 is served")
	}
	if !s.answered(t, conns[1], patience) {
		t.Error("a connection that was in isn't served any more")
	}
	conns[0].Close()
	if !s.answers(t, conns[3], patience) {
		t.Error("the connection that waited isn't served after another was closed")
	}
	for _, conn := range conns {
		conn.Close()
	}
	s.retired(t)
}

// The limit is two, because the connection of the warm-up stays open until the test ends.
func TestConnectionOfTLSGivesItsPlaceBack(t *testing.T) {
	t.Parallel()
	s := newTLSArena(t, "MAX_CONNECTIONS=2")
	for i := range 3 {
		conn, err := tls.Dial("tcp", s.addr(), insecure("http/1.1"))
		if err != nil {
			t.Fatal(err)
		}
		if !s.answered(t, conn, patience) {
			t.Errorf("connection %d, one after the other, isn't served", i+1)
		}
		conn.Close()
	}
}

func TestFullHouseEndsInOrder(t *testing.T) {
	t.Parallel()
	s := newArena(t, "MAX_CONNECTIONS=1", "DRAIN_DELAY=0s")
	conns := s.dialed(t, 2)
	if !s.answered(t, conns[0], patience) {
		t.Fatal("the first isn't served")
	}
	s.stop()
	if err := s.ended(); err != nil {
		t.Errorf("exit: %v", err)
	}
}

func TestConnectionOfHTTP2Has64StreamsAtMost(t *testing.T) {
	t.Parallel()
	h := newTLSArena(t).dialHTTP2(t)
	head := make([]byte, 9)
	if _, err := io.ReadFull(h, head); err != nil || head[3] != 4 {
		t.Fatalf("first a frame of settings: %v, %v", head, err)
	}
	payload := make([]byte, head[2])
	if _, err := io.ReadFull(h, payload); err != nil {
		t.Fatal(err)
	}
	for ; len(payload) >= 6; payload = payload[6:] {
		if id, value := binary.BigEndian.Uint16(payload), binary.BigEndian.Uint32(payload[2:]); id == 3 {
			if value != 64 {
				t.Errorf("SETTINGS_MAX_CONCURRENT_STREAMS is %d", value)
			}
			return
		}
	}
	t.Error("no SETTINGS_MAX_CONCURRENT_STREAMS")
}

func TestShutdownWaitsForStreamsInFlightAndForNoIdleConnection(t *testing.T) {
	t.Parallel()
	s := newTLSArena(t)
	fields := []string{":method", "GET", ":scheme", "https", ":path", "/v1/info", ":authority", "g", "authorization", "Bearer " + s.token}
	idle, busy := s.dialHTTP2(t), s.dialHTTP2(t)
	if got, _ := idle.ask(t, fields...); got != 200 {
		t.Fatalf("status %d", got)
	}
	before := s.stands.Interwater.RoomCalls()
	s.stands.Interwater.SetFaults(slowly("/v1/info", time.Second))
	if _, err := busy.Write(h2Frame(1, 5, busy.stream, h2Fields(fields...))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the request is upstream", func() bool { return s.stands.Interwater.RoomCalls() > before })
	s.stop()
	// answer would stop at the GOAWAY that comes before the answer, so the frames are read here.
	answered := false
	for head := make([]byte, 9); ; {
		if _, err := io.ReadFull(busy, head); err != nil {
			break
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err := io.ReadFull(busy, payload); err != nil {
			break
		}
		answered = answered || head[3] == 1 && h2Status(payload) == 200
	}
	if !answered {
		t.Error("the request in flight wasn't answered with 200")
	}
	if err := s.ended(); err != nil {
		t.Errorf("exit: %v", err)
	}
}
