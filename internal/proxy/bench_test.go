package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"syscall"
	"testing"
	"time"

	"roomgate/internal/lane"
)

// BenchmarkRoomRequest measures a room request through the whole handler. Interwater is on loopback, and the client has no socket.
func BenchmarkRoomRequest(b *testing.B) {
	const body = `{"status":true,"data":{"room":"room1"}}`
	upstream := answeringAll(b, fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	p := setup{Glory: upstream, Interwater: upstream, Options: Options{
		RoomRoutes: []string{"GET /v1/info", "GET /v1/sessions", "GET /v1/sessions/{room_name}"}, RejectStatuses: []int{401, 403},
		Bridge: steadyBridge{}, MaxBodyBytes: 1 << 20, MaxHeaderBytes: 16 << 10, MaxInFlight: 100, Log: slog.New(slog.DiscardHandler),
		RoomCoalesce: true,
	}}.handler(b)
	request := httptest.NewRequest(http.MethodGet, "/v1/sessions/room1", nil)
	request.Header.Set("Authorization", "Bearer "+fuzzMemberToken)
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, request)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}

// answeringAll is an upstream that gives every request the same answer and takes almost no time itself.
func answeringAll(b *testing.B, answer []byte) *url.URL {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					line, err := in.ReadSlice('\n')
					if err != nil {
						return
					}
					if len(line) > len("\r\n") {
						continue
					}
					if _, err := conn.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return mustParse("http://" + listener.Addr().String())
}

// cpuTime returns the CPU time that the process has used.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkPlainRequest measures a room request over a socket that the lane answers.
func BenchmarkPlainRequest(b *testing.B) {
	const body = `{"status":true,"data":{"room":"room1"}}`
	interwater := answeringAll(b, fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
	p := setup{Glory: interwater, Interwater: interwater, Options: Options{
		RoomRoutes: []string{"GET /v1/info", "GET /v1/sessions", "GET /v1/sessions/{room_name}"}, RejectStatuses: []int{401, 403},
		Bridge: steadyBridge{}, MaxBodyBytes: 1 << 20, MaxHeaderBytes: 16 << 10, MaxInFlight: 100, Log: slog.New(slog.DiscardHandler),
		RoomCoalesce: true,
	}}.handler(b)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	listener := lane.Listen(inner, lane.Options{MaxHeaderBytes: 16 << 10, Answer: p.AnswerPlain})
	server := &http.Server{Handler: p, ConnState: lane.ConnState}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	conn, err := net.Dial("tcp", inner.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	request := []byte("GET /v1/sessions/room1 HTTP/1.1\r\nHost: gateway.test\r\nUser-Agent: bench\r\nAccept: */*\r\nAuthorization: Bearer " + fuzzMemberToken + "\r\n\r\n")
	in := make([]byte, 4<<10)
	before := cpuTime(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		if n, err := conn.Read(in); err != nil || !bytes.HasPrefix(in[:n], []byte("HTTP/1.1 200")) {
			b.Fatal(string(in[:n]), err)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}
