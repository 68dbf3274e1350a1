package proxy

// This file measures what the synchronous transport saves: the same forward through both, with the CPU time that it took.

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"syscall"
	"testing"
	"time"
)

func BenchmarkForward(b *testing.B) {
	upstream := startFixed(b)
	base := &url.URL{Scheme: "http", Host: upstream}
	for _, synchronous := range []bool{false, true} {
		name := map[bool]string{false: "http.Transport", true: "synchronous"}[synchronous]
		b.Run(name, func(b *testing.B) {
			rt := newTransport(base, synchronous)
			defer rt.CloseIdleConnections()
			proxy := &httputil.ReverseProxy{
				Rewrite: func(r *httputil.ProxyRequest) {
					r.Out.URL = &url.URL{Scheme: "http", Host: upstream, Opaque: "/v1/info"}
					r.Out.Host = ""
				},
				Transport:  timeLimit{next: rt, limit: patience, upstream: upstreamInterwater},
				BufferPool: newBufferPool(),
			}
			b.ReportAllocs()
			b.SetParallelism(32)
			before := cpuTime(b)
			b.RunParallel(func(pb *testing.PB) {
				ctx, cancel := context.WithCancel(b.Context()) // as a server's connection has one
				defer cancel()
				for pb.Next() {
					r, _ := http.NewRequestWithContext(ctx, "GET", "http://gateway/v1/info", http.NoBody)
					r.Header = http.Header{"Accept": {"*/*"}, "User-Agent": {"bench"}, "S-Connector-Jwt": {"token"}, "X-Request-Id": {"1"}}
					w := &sink{header: http.Header{}}
					if proxy.ServeHTTP(w, r); w.status != 200 || w.bytes != 44 {
						b.Errorf("status %d, %d bytes", w.status, w.bytes)
						return
					}
				}
			})
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// sink is a client that keeps nothing.
type sink struct {
	header        http.Header
	status, bytes int
}

func (s *sink) Header() http.Header { return s.header }

func (s *sink) WriteHeader(status int) { s.status = status }

func (s *sink) Write(p []byte) (int, error) {
	s.bytes += len(p)
	return len(p), nil
}

// startFixed serves one answer, as cheaply as it can be: its CPU time is in the figures too.
func startFixed(b *testing.B) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { listener.Close() })
	answer := []byte("HTTP/1.1 200 OK\r\nServer: fixed\r\nDate: Sat, 21 Nov 2026 20:23:00 GMT\r\nContent-Type: application/json\r\n" +
		"Content-Length: 44\r\n\r\n" + `{"domain":"rooms.example.com","version":"1"}`)
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
					if bytes.Equal(line, []byte("\r\n")) {
						if _, err := conn.Write(answer); err != nil {
							return
						}
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
