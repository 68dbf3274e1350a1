package lane

// The cost of reading a head twice: a request with a member token, through net/http's server with and without the lane.

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

var typical = "GET /v1/sessions/room-42 HTTP/1.1\r\nHost: rooms.example.com\r\nUser-Agent: okhttp/4.12.0\r\nAccept: application/json\r\n" +
	"Accept-Encoding: gzip\r\nAccept-Language: ko-KR,ko;q=0.9\r\nConnection: keep-alive\r\nAuthorization: Bearer " + strings.Repeat("eyJhbGciOiJIUzM4NCJ9", 16) + "\r\n\r\n"

func BenchmarkHead(b *testing.B) {
	in := []byte(typical)
	b.SetBytes(int64(len(in)))
	b.ReportAllocs()
	for b.Loop() {
		h := head{limit: 16 << 10}
		if end, wrong := h.scan(in); end != len(in) || wrong != nil {
			b.Fatal(end, wrong)
		}
	}
}

func BenchmarkServer(b *testing.B) {
	for _, name := range []string{"net/http", "lane"} {
		b.Run(name, func(b *testing.B) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), ConnState: ConnState}
			defer server.Close()
			served := listener
			if name == "lane" {
				served = Listen(listener, Options{MaxHeaderBytes: 16 << 10})
			}
			go server.Serve(served)
			conn, err := net.Dial("tcp", listener.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			in := bufio.NewReader(conn)
			b.ReportAllocs()
			for b.Loop() {
				io.WriteString(conn, typical)
				for line := "."; line != "\r\n"; {
					if line, err = in.ReadString('\n'); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}
