package proxy

// This file measures what the synchronous transport saves: the same forward through both, with the CPU time that it took.

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httputil"
	"net/url"
	"syscall"
	"testing"
	"time"
)

func BenchmarkForward(b *testing.B) {
	for _, u := range []*rawUpstream{listen(b, serveFixed), listenTLS(b, serveFixed)} {
		for _, k := range []kind{async, synch} {
			b.Run(u.base.Scheme+"/"+k.String(), func(b *testing.B) { benchForward(b, u, k) })
		}
	}
}

func benchForward(b *testing.B, u *rawUpstream, k kind) {
	rt := k.with(b, u)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL = &url.URL{Scheme: u.base.Scheme, Host: u.base.Host, Opaque: "/v1/info"}
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

// fixed is the answer of serveFixed.
const fixed = "HTTP/1.1 200 OK\r\nServer: fixed\r\nDate: Sat, 21 Nov 2026 20:23:00 GMT\r\nContent-Type: application/json\r\n" +
	"Content-Length: 44\r\n\r\n" + `{"domain":"rooms.example.com","version":"1"}`

// serveFixed answers as cheaply as it can: its CPU time is in the figures too.
func serveFixed(p *peer) {
	_ = p.SetDeadline(time.Time{})
	answer := []byte(fixed)
	for {
		line, err := p.in.ReadSlice('\n')
		if err != nil {
			return
		}
		if bytes.Equal(line, []byte("\r\n")) {
			if _, err := p.Write(answer); err != nil {
				return
			}
		}
	}
}

func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
