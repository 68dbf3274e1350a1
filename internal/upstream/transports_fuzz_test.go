package upstream

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"sync/atomic"
	"testing"
	"time"
)

// verdict is the outcome of two requests that were answered with the same bytes.
type verdict struct {
	outcome, second string
	answer          http.Response // to the first request, without what can't be compared
	conns           int32
}

// FuzzBothTransportsReadAlike lets both ways read the same bytes. They must agree on whether the bytes are an answer, on what is
// in it, and on whether another answer may follow on the connection.
func FuzzBothTransportsReadAlike(f *testing.F) {
	for _, tt := range answerCases() {
		if len(tt.raw) < 4<<10 {
			f.Add([]byte(tt.raw), tt.method == "HEAD", tt.end == "close")
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { listener.Close() })
	f.Fuzz(func(t *testing.T, raw []byte, head, closes bool) {
		if len(raw) > 128<<10 {
			t.Skip("nothing new")
		}
		method := map[bool]string{false: "GET", true: "HEAD"}[head]
		whole, rest := readWhole(raw, method)
		closes = closes || !whole // otherwise both would wait for more
		twice := whole && rest == 0
		expected := judgeBytes(t, listener, async, raw, method, closes, twice)
		got := judgeBytes(t, listener, synch, raw, method, closes, twice)
		if !reflect.DeepEqual(expected, got) {
			t.Errorf("%q:\nhttp.Transport %+v\ndirect         %+v", raw, expected, got)
		}
		if whole && rest > 0 && !closes { // http.Transport may notice the rest too late
			again := judgeBytes(t, listener, synch, raw, method, closes, true)
			if again.second != again.outcome || again.conns != 2 {
				t.Errorf("%q: after a rest %+v", raw, again)
			}
		}
	})
}

// readWhole reports whether raw is an answer that ends by itself, and how many bytes follow it.
func readWhole(raw []byte, method string) (whole bool, rest int) {
	in := bufio.NewReaderSize(bytes.NewReader(raw), 4096)
	for {
		answer, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return false, 0
		}
		if answer.StatusCode >= 100 && answer.StatusCode <= 199 && answer.StatusCode != http.StatusSwitchingProtocols {
			continue
		}
		if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode == http.StatusSwitchingProtocols {
			return false, 0
		}
		if answer.Body != http.NoBody && answer.ContentLength < 0 && len(answer.TransferEncoding) == 0 {
			return false, 0 // it ends with the connection
		}
		left, _ := io.Copy(io.Discard, in)
		return true, int(left)
	}
}

// judgeBytes sends requests one way.
func judgeBytes(t *testing.T, listener net.Listener, k kind, raw []byte, method string, closes, twice bool) verdict {
	var conns atomic.Int32
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	settings := newHTTPTransport()
	settings.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conns.Add(1)
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		peer, err := listener.Accept() // nobody else dials
		if err != nil {
			return nil, err
		}
		go replay(peer, raw, closes)
		return conn, nil
	}
	base := &url.URL{Scheme: "http", Host: listener.Addr().String()}
	one, err := newUpstream(Options{Name: "u", Base: base, Timeout: patience, Slots: 1, Direct: k == synch}, settings)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	rt := &tested{one, k}
	var v verdict
	outcome, answer := answerTo(ctx, t, rt, method, base)
	if v.outcome = outcome; answer != nil {
		v.answer = http.Response{StatusCode: answer.StatusCode, Header: answer.Header, ContentLength: answer.ContentLength}
	}
	if twice {
		v.second = ask(ctx, t, rt, method, base)
	}
	v.conns = conns.Load()
	return v
}

// replay answers every request with the same bytes.
func replay(conn net.Conn, raw []byte, closes bool) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	for {
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		if _, err := conn.Write(raw); err != nil || closes {
			return
		}
	}
}
