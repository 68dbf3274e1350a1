package proxy

// What redaction costs, alone and in a request for a list of rooms.

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// roomList returns a list of rooms of at least n bytes, as in the API's document.
func roomList(n int) []byte {
	const person = `{"id":"%d","connectionId":"con_Gxn95TnZBN","sessionId":"ses_ZB2Y3XJTyU",` +
		`"sessionName":"f61518bc6f7c54738752bb41eb8d513dd93fd5b1e9dcb4dbb1742c6e04e5df26",` +
		`"token":"wss://remote.interwater.biz?sessionId=ses_ZB2Y3XJTyU&token=tok_IxZzOIomwGzJxDHO&role=PUBLISHER&version=2.16.0",` +
		`"userName":"gdsfagasd","role":"PUBLISHER","location":"Yangcheon-gu, South Korea","platform":"Chrome 87.0.4280.88 on OS X 11.1.0 64-bit",` +
		`"status":"active","createdAt":"2021-01-06T16:04:09.000Z","updatedAt":"2021-01-06T16:04:53.000Z"}`
	var b bytes.Buffer
	b.WriteString(`{"status":true,"data":[`)
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, `{"id":"%d","domain":"trial","sessionId":"ses_ZB2Y3XJTyU","roomName":"gsda11","status":"OPEN",`+
			`"createdAt":"2021-01-06T16:04:09.000Z","sessionTokens":[`+person+`,`+person+`]},`, i, 2*i, 2*i+1)
	}
	b.Truncate(b.Len() - 1)
	b.WriteString(`]}`)
	return b.Bytes()
}

// BenchmarkRedact compares copying a list with redacting it, at once and in pieces.
func BenchmarkRedact(b *testing.B) {
	text, d := roomList(64_000), newRedaction([]string{"token", "location"})
	for _, tt := range []struct {
		name string
		read func() error
	}{
		{"copy", func() error { return drain(bytes.NewReader(text)) }},
		{"whole", func() error {
			_, err := d.whole(text)
			return err
		}},
		{"stream", func() error { return drain(d.stream(bytes.NewReader(text))) }},
	} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				if err := tt.read(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// drain reads to the end through a buffer of the usual size. It hides WriterTo and ReaderFrom.
func drain(from io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{from}, make([]byte, 16<<10))
	return err
}

// BenchmarkRedactedRequest requests a list over sockets: directly from the upstream, through the gateway, and through the gateway with
// redaction. The difference to the direct request is the gateway's cost.
func BenchmarkRedactedRequest(b *testing.B) {
	text := roomList(64_000)
	answer := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	upstream := answeringAll(b, answer)
	b.Run("direct", func(b *testing.B) { benchList(b, upstream.Host) })
	b.Run("plain", func(b *testing.B) { benchList(b, listing(b, upstream, nil)) })
	b.Run("redacted", func(b *testing.B) { benchList(b, listing(b, upstream, []string{"token", "location"})) })
}

// listing starts a gateway that redacts the fields. It returns the gateway's address.
func listing(b *testing.B, upstream *url.URL, fields []string) string {
	p := setup{Glory: upstream, Interwater: upstream, Options: Options{
		RoomRoutes: []string{"GET /v1/sessions"}, RejectStatuses: []int{401, 403},
		Bridge: steadyBridge{}, MaxBodyBytes: 1 << 20, MaxHeaderBytes: 16 << 10, MaxInFlight: 100, Log: slog.New(slog.DiscardHandler),
		RoomCoalesce: true, RedactFields: fields,
	}}.handler(b)
	front := httptest.NewServer(p)
	b.Cleanup(front.Close)
	return front.Listener.Addr().String()
}

func benchList(b *testing.B, addr string) {
	conn, err := new(net.Dialer).DialContext(b.Context(), "tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	in, out := bufio.NewReader(conn), []byte("GET /v1/sessions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+fuzzMemberToken+"\r\n\r\n")
	before := cpuTime(b)
	for b.Loop() {
		if _, err := conn.Write(out); err != nil {
			b.Fatal(err)
		}
		answer, err := http.ReadResponse(in, nil)
		if err != nil || answer.StatusCode != http.StatusOK {
			b.Fatal(answer, err)
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil {
			b.Fatal(err)
		}
		_ = answer.Body.Close()
	}
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}
