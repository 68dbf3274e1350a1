package main

// Answers that a client asks for and never takes: over HTTP/2 a connection asks for many, and opens a window for none.

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"roomgate/tests"
)

const unwrittenConns = 200

// shut opens an HTTP/2 connection without a window for answers, and asks for path on each of streams. The client reads frames, so that
// TCP isn't blocked, but takes no body. After the end of the connection, broken gets the number of streams that the gateway has reset.
func (s *arena) shut(t *testing.T, streams int, path string) (h *http2, broken <-chan int) {
	t.Helper()
	h = s.dialHTTP2(t)
	h.SetDeadline(time.Time{})
	_, _ = h.Write(h2Frame(4, 0, 0, binary.BigEndian.AppendUint32([]byte{0, 4}, 0)))
	var all []byte
	for range streams {
		all = append(all, h2Frame(1, 5, h.stream, h2Fields(":method", "GET", ":scheme", "https", ":path", path, ":authority", "g"))...)
		h.stream += 2
	}
	_, _ = h.Write(all)
	result := make(chan int, 1)
	go func() {
		n := 0
		defer func() { result <- n }()
		for head := make([]byte, 9); ; {
			if _, err := io.ReadFull(h, head); err != nil {
				return
			}
			if head[3] == 3 {
				n++
			}
			if _, err := io.CopyN(io.Discard, h, int64(head[0])<<16|int64(head[1])<<8|int64(head[2])); err != nil {
				return
			}
		}
	}()
	return h, result
}

func TestAnswersOfItsOwnThatNobodyTakesCountAsInFlightAndLeavePlaces(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/nowhere", "/openapi.json"} {
		t.Run(path[1:], func(t *testing.T) { leavePlaces(t, path) })
	}
}

func leavePlaces(t *testing.T, path string) {
	s := newTLSArena(t, "MAX_IN_FLIGHT=80")
	h, broken := s.shut(t, maxStreams, path)
	const wait = 80 / 8
	eventually(t, "an eighth of the places is taken", func() bool { return s.metrics(t)["roomgate_requests_in_flight"] == wait })
	member := []string{":method", "GET", ":scheme", "https", ":path", "/v1/info", ":authority", "g", "authorization", "Bearer " + s.token}
	if got, _ := s.dialHTTP2(t).ask(t, member...); got != 200 {
		t.Errorf("a member gets %d", got)
	}
	eventually(t, "those are cut off too", func() bool { return s.metrics(t)["roomgate_requests_in_flight"] == 0 })
	h.Close()
	if n := <-broken; n != maxStreams {
		t.Errorf("%d of %d streams were reset", n, maxStreams)
	}
	s.retired(t)
}

// The windows are open, but the client reads nothing. So the connection itself is blocked, and no stream can be reset on it.
func TestBlockedConnectionOfHTTP2IsClosed(t *testing.T) {
	tests.Long(t)
	t.Parallel() // mostly it waits
	s := newTLSArena(t)
	h := s.dialHTTP2(t)
	_ = h.NetConn().(*net.TCPConn).SetReadBuffer(4 << 10)
	_, _ = h.Write(h2Frame(4, 0, 0, binary.BigEndian.AppendUint32([]byte{0, 4}, 1<<30)))
	_, _ = h.Write(h2Frame(8, 0, 0, binary.BigEndian.AppendUint32(nil, 1<<30)))
	for range maxStreams {
		_, _ = h.Write(h2Frame(1, 5, h.stream, h2Fields(":method", "GET", ":scheme", "https", ":path", "/docs/swagger-ui-bundle.js", ":authority", "g")))
		h.stream += 2
	}
	eventually(t, "answers wait", func() bool { return s.metrics(t)["roomgate_requests_in_flight"] > maxStreams/2 })
	eventually(t, "all are cut off", func() bool { return s.metrics(t)["roomgate_requests_in_flight"] == 0 })
	s.retired(t)
}

func TestAnswersThatNobodyTakesStayWithinBounds(t *testing.T) {
	tests.Long(t)
	withoutRaceDetector(t)
	const mostMiB = 128
	for _, path := range []string{"/nowhere", "/openapi.json"} {
		t.Run(path[1:], func(t *testing.T) {
			s := newTLSArena(t, "GOMEMLIMIT=128MiB")
			if a, err := call(t.Context(), s.looker, http.MethodPut, s.admin+"/loglevel?level=error", "", ""); err != nil || a.status != http.StatusOK {
				t.Fatalf("%v, %v", a, err)
			}
			over, peak := make(chan struct{}), make(chan float64)
			go func() { peak <- s.watchMemory(t, over) }()
			var conns []*http2
			for range unwrittenConns {
				h, _ := s.shut(t, maxStreams, path)
				conns = append(conns, h)
			}
			most, goroutines := 0., 0.
			eventually(t, "answers wait", func() bool { return s.metrics(t)["roomgate_requests_in_flight"] > 0 })
			eventually(t, "all are cut off", func() bool {
				now := s.metrics(t)
				most, goroutines = max(most, now["roomgate_requests_in_flight"]), max(goroutines, now["go_goroutines"])
				return now["roomgate_requests_in_flight"] == 0
			})
			close(over)
			resident := <-peak / (1 << 20)
			t.Logf("%.0f MiB resident at the most, %.0f in flight, %.0f goroutines", resident, most, goroutines)
			if resident > mostMiB {
				t.Errorf("%.0f MiB resident, want %d at most", resident, mostMiB)
			}
			for _, h := range conns {
				h.Close()
			}
			s.retired(t)
		})
	}
}
