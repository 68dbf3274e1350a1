package proxy

// What a client may send, and how much. A panic in a handler doesn't end the process.

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// bodies is an upstream that records complete bodies and counts broken ones.
type bodies struct {
	whole  chan string
	broken atomic.Int64
}

func (b *bodies) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	got, err := io.ReadAll(r.Body)
	if err != nil {
		b.broken.Add(1)
		return
	}
	b.whole <- string(got)
}

// withBodies starts a gateway with a bodies in place of both upstreams, and with a room route that takes a body.
func withBodies(t *testing.T) (*bodies, *gateway) {
	b := &bodies{whole: make(chan string, 100)}
	upstream := scripted(t, b.ServeHTTP)
	return b, start(t, unread, func(o *setup) {
		o.Glory, o.Interwater, o.MaxBodyBytes = upstream, upstream, 10
		o.RoomRoutes = append(o.RoomRoutes, "POST /v1/rooms")
	})
}

func TestBodyOverTheLimitIs413(t *testing.T) {
	t.Parallel()
	b, g := withBodies(t)
	for _, target := range []string{"/public-api/v1/join", "/api/x", "/v1/rooms"} {
		head := "POST " + target + " HTTP/1.1\r\nHost: g\r\n" + asMember + "\r\n"
		for name, request := range map[string]string{
			"declared":           head + "Content-Length: 11\r\n\r\n12345678901",
			"declared, not sent": head + "Content-Length: 1000000000000\r\n\r\n",
			"declared, awaited":  head + "Content-Length: 11\r\nExpect: 100-continue\r\n\r\n",
			"streamed":           head + "Transfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n",
			"in small chunks":    head + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\na\r\n", 11) + "0\r\n\r\n",
			"without an end":     head + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("4\r\naaaa\r\n", 1000),
		} {
			answer := g.raw(t, request)
			answer.wantError(t, http.StatusRequestEntityTooLarge)
			if len(answer.interim) > 0 {
				t.Errorf("%s: the body was asked for", name)
			}
			if e := g.event(t); e["status"] != 413.0 {
				t.Errorf("%s: event %v", name, e)
			}
		}
	}
	if len(b.whole) > 0 {
		t.Errorf("a truncated body arrived as if it were complete: %q", <-b.whole)
	}
}

func TestBodyOfTheLimitPasses(t *testing.T) {
	b, g := withBodies(t)
	for _, target := range []string{"/public-api/v1/join", "/v1/rooms"} {
		head := "POST " + target + " HTTP/1.1\r\nHost: g\r\n" + asMember + "\r\n"
		for _, request := range []string{
			head + "Content-Length: 10\r\n\r\n1234567890",
			head + "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n5;ext=1\r\n67890\r\n0\r\n\r\n",
		} {
			if answer := g.raw(t, request); answer.status != 200 {
				t.Fatalf("%s: status %d", target, answer.status)
			}
			if got := await(t, b.whole); got != "1234567890" {
				t.Errorf("%s: %q arrived", target, got)
			}
		}
	}
}

func TestBrokenBodyIsTheClientsFault(t *testing.T) {
	b, g := withBodies(t)
	for _, chunks := range []string{
		"zz\r\n", "0x2\r\nab\r\n0\r\n\r\n", "-1\r\n", "2\r\nabX", "2\r\nab", "8000000000000000\r\nab", "ffffffffffffffffff\r\n", "\r\n\r\n",
		"2;" + strings.Repeat("e", 64<<10) + "\r\nab\r\n0\r\n\r\n",
	} {
		for _, target := range []string{"/api/x", "/v1/rooms"} {
			conn := g.dial(t)
			io.WriteString(conn, "POST "+target+" HTTP/1.1\r\nHost: g\r\n"+asMember+"\r\nTransfer-Encoding: chunked\r\n\r\n"+chunks)
			closeWrite(conn)
			answer := read(t, conn, "POST")
			answer.wantError(t, http.StatusBadRequest)
			if _, err := conn.Read(make([]byte, 1)); err == nil {
				t.Errorf("%.20q: the connection goes on", chunks)
			}
			conn.Close()
			if e := g.event(t); e["status"] != 400.0 || !strings.Contains(e["error"].(string), errBody.Error()) {
				t.Errorf("%.20q: event %v", chunks, e)
			}
		}
	}
	if len(b.whole) > 0 {
		t.Errorf("a broken body arrived as if it were complete: %q", <-b.whole)
	}
}

func closeWrite(conn any) { _ = conn.(interface{ CloseWrite() error }).CloseWrite() }

// An upstream may answer before it has read the body. If the client then breaks the body off, the gateway must still record the client's
// fault, without a data race.
func TestBodyThatBreaksAfterTheAnswer(t *testing.T) {
	t.Parallel()
	rejected := make(chan struct{}, 10)
	upstream := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		early := http.NewResponseController(w)
		_ = early.EnableFullDuplex() // otherwise net/http would read the body first
		w.WriteHeader(http.StatusUnauthorized)
		_ = early.Flush()
	})
	g := start(t, func(o *setup) { o.Interwater, o.RoomRoutes = upstream, []string{"POST /v1/rooms"} })
	g.reject = func() error { rejected <- struct{}{}; return nil }
	for range 10 {
		conn := g.dial(t)
		io.WriteString(conn, "POST /v1/rooms HTTP/1.1\r\nHost: g\r\n"+asMember+"\r\nTransfer-Encoding: chunked\r\n\r\n4000\r\n"+
			strings.Repeat("a", 16<<10)+"\r\n") // more than net/http buffers
		await(t, rejected)
		io.WriteString(conn, "zz\r\n")
		if answer := read(t, conn, "POST"); answer.status != 502 && answer.status != 400 {
			t.Errorf("status %d", answer.status)
		}
		conn.Close()
	}
}

func TestGetWithABodyIs400OnARoomRoute(t *testing.T) {
	b, g := withBodies(t)
	for _, method := range []string{"GET", "HEAD"} {
		for _, body := range []string{"Content-Length: 1\r\n\r\na", "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"} {
			answer := g.raw(t, method+" /v1/sessions HTTP/1.1\r\nHost: g\r\n"+asMember+"\r\n"+body)
			if answer.status != 400 {
				t.Errorf("%s with %q: %d", method, body, answer.status)
			}
		}
	}
	if asked := g.asked(""); len(asked)+len(b.whole) > 0 {
		t.Errorf("the bridge was asked %q, %d requests arrived", asked, len(b.whole))
	}
	// If the length is unknown, the first read decides.
	for _, empty := range []string{"Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"} {
		if answer := g.raw(t, "GET /v1/sessions HTTP/1.1\r\nHost: g\r\n"+asMember+"\r\n"+empty); answer.status != 200 {
			t.Errorf("an empty body gives %d", answer.status)
		}
		await(t, b.whole)
	}
	if answer := g.raw(t, "GET /api/x HTTP/1.1\r\nHost: g\r\nContent-Length: 1\r\n\r\na"); answer.status != 200 || await(t, b.whole) != "a" {
		t.Errorf("Glory's GET with a body: %d", answer.status)
	}
}

func TestMoreThan100HeaderLinesAre431(t *testing.T) {
	g := start(t)
	for _, target := range []string{"/v1/info", "/public-api/v1/health", "/nowhere"} {
		lines := slices.Repeat([]string{"X: y"}, 98) // with Host and Authorization: 100
		if answer := g.get(t, target, lines...); answer.status == 431 {
			t.Errorf("%s: 100 lines are too many", target)
		}
		before := g.Interwater.RoomCalls() + len(g.Glory.Requests())
		g.get(t, target, append(lines, "X: y")...).wantError(t, http.StatusRequestHeaderFieldsTooLarge)
		g.get(t, target, slices.Repeat([]string{"X: y"}, 1500)...).wantError(t, http.StatusRequestHeaderFieldsTooLarge)
		if g.Interwater.RoomCalls()+len(g.Glory.Requests()) != before {
			t.Errorf("%s: it was forwarded", target)
		}
	}
}

func TestMoreHeaderBytesThanAllowedAre431(t *testing.T) {
	t.Parallel()
	g := start(t, unread)
	fixed := len("Host: gateway.test\r\n") + len(asMember) + len("\r\nX: \r\n")
	for _, tt := range []struct{ bytes, status int }{
		{16<<10 - 1, 200}, {16 << 10, 200}, {16<<10 + 1, 431}, {17 << 10, 431}, {25 << 10, 431}, {64 << 10, 431},
	} {
		answer := g.get(t, "/v1/info", "X: "+strings.Repeat("a", tt.bytes-fixed))
		if answer.status != tt.status {
			t.Errorf("%d bytes: status %d, want %d", tt.bytes, answer.status, tt.status)
		}
	}
}

func TestTooManyRequestsAtOnceAre503(t *testing.T) {
	arrived, release := make(chan struct{}, 2), make(chan struct{})
	upstream := scripted(t, func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	})
	free := sync.OnceFunc(func() { close(release) })
	defer free() // before the upstream is closed, whatever fails here
	g := start(t, func(o *setup) { o.Glory, o.Interwater, o.MaxInFlight = upstream, upstream, 2 })
	done := make(chan reply, 2)
	for _, target := range []string{"/api/x", "/v1/info"} { // one to each upstream, so neither reaches its own limit
		go func() { done <- g.get(t, target) }()
		await(t, arrived)
	}
	for _, target := range []string{"/api/x", "/v1/info", "/nowhere"} {
		answer := g.get(t, target)
		answer.wantError(t, http.StatusServiceUnavailable)
		if answer.header.Get("Retry-After") != "1" {
			t.Errorf("Retry-After %q", answer.header["Retry-After"])
		}
	}
	free()
	for range 2 {
		if answer := await(t, done); answer.status != 200 {
			t.Errorf("status %d", answer.status)
		}
	}
	// The client gets its answer shortly before the handler returns.
	for end := time.Now().Add(patience); g.get(t, "/v1/info").status != 200; {
		if time.Now().After(end) {
			t.Fatal("a request that has ended still counts as in flight")
		}
	}
}

func TestPanicIs500AndTheProcessLives(t *testing.T) {
	g := start(t)
	g.authorize = func() error { panic("boom") }
	for range 3 {
		answer := g.get(t, "/v1/info", "X-Request-Id: broken")
		answer.wantError(t, http.StatusInternalServerError)
		if strings.Contains(answer.raw, "boom") || strings.Contains(answer.raw, "goroutine") {
			t.Errorf("%q", answer.raw)
		}
		if e := g.event(t); e["status"] != 500.0 || e["request_id"] != "broken" {
			t.Errorf("event %v", e)
		}
	}
	if log := g.logs.String(); strings.Count(log, `"msg":"panic"`) != 3 || !strings.Contains(log, `"panic":"boom"`) || !strings.Contains(log, "limits_test.go") {
		t.Error("the log has no stack of the panic")
	}
	g.authorize = nil
	if answer := g.get(t, "/v1/info"); answer.status != 200 {
		t.Errorf("then: status %d", answer.status)
	}
}

func TestPanicAfterTheAnswerBeganBreaksItOff(t *testing.T) {
	g := start(t)
	server := scripted(t, serving(t, g.log(), func(w *writer, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic("boom")
	}).ServeHTTP)
	g.addr = server.Host
	if answer := g.do(t, "GET", "/api/x"); answer.status != 200 || !answer.broken || answer.body != "half" {
		t.Errorf("%d, broken %v, %q", answer.status, answer.broken, answer.body)
	}
	if e := g.event(t); e["bytes"] != 4.0 {
		t.Errorf("event %v", e)
	}
}
