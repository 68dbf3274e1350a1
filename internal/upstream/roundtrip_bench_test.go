package upstream

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"
)

func BenchmarkRoundTrip(b *testing.B) {
	for _, u := range []*rawUpstream{listen(b, serveFixed), listenTLS(b, serveFixed)} {
		for _, k := range []kind{async, synch} {
			b.Run(u.base.Scheme+"/"+k.String(), func(b *testing.B) { benchRoundTrip(b, u, k.with(b, u)) })
		}
	}
}

func benchRoundTrip(b *testing.B, u *rawUpstream, rt http.RoundTripper) {
	target := u.base.JoinPath("/v1/info")
	b.ReportAllocs()
	b.SetParallelism(16)
	before := cpuTime(b)
	b.RunParallel(func(pb *testing.PB) {
		ctx, cancel := context.WithCancel(b.Context()) // like that of a server's connection
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "GET", target.String(), nil)
		if err != nil {
			b.Error(err)
			return
		}
		r.Header = http.Header{"Accept": {"*/*"}, "User-Agent": {"bench"}, "S-Connector-Jwt": {"token"}, "X-Request-Id": {"1"}}
		var text [100]byte
		for pb.Next() {
			answer, err := rt.RoundTrip(r)
			if err != nil {
				b.Error(err)
				return
			}
			n, err := io.ReadFull(answer.Body, text[:44])
			if err != nil || answer.StatusCode != 200 {
				b.Errorf("status %d, %d bytes, %v", answer.StatusCode, n, err)
				return
			}
			_ = answer.Body.Close()
		}
	})
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// serveFixed answers as cheaply as it can, because the figures include its CPU time.
func serveFixed(p *peer) {
	_ = p.SetDeadline(time.Time{})
	answer := []byte("HTTP/1.1 200 OK\r\nServer: fixed\r\nDate: Sat, 21 Nov 2026 20:23:00 GMT\r\nContent-Type: application/json\r\n" +
		"Content-Length: 44\r\n\r\n" + `{"domain":"rooms.example.com","version":"1"}`)
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
