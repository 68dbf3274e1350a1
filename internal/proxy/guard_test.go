package proxy

// The second line of defence: the guard refuses all but the declared routes, even if the route table is wrong. Answers are limited in
// length, and in the time that a client may take to read them.

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// defaultRoutes are those of INTERWATER_ROUTES.
var defaultRoutes = []string{"GET /v1/info", "GET /v1/sessions", "GET /v1/sessions/{room_name}"}

func TestGuardSendsTheDeclaredRoutes(t *testing.T) {
	for _, tt := range []struct {
		routes []string
		sent   []string
		not    []string
	}{
		{
			defaultRoutes,
			[]string{
				"GET /v1/info", "HEAD /v1/info", "GET /v1/sessions", "HEAD /v1/sessions/a", "GET /v1/sessions/%EB%B0%A9", "GET /v1/sessions/a%20b",
				"GET /v1/sessions/auth", "GET /v1/sessions/...", "GET /v1/sessions/a.b", "GET /v1/sessions/%25", "GET /v1/sessions/v1",
			},
			[]string{
				"POST /v1/info", "PUT /v1/sessions/a", "DELETE /v1/sessions/a", "OPTIONS /v1/info", "TRACE /v1/info", "CONNECT /v1/info", "get /v1/info", " /v1/info",
				"GET /v1/auth", "POST /v1/auth", "GET /v1/AUTH", "GET /V1/auth", "GET /v1/%61uth", "GET /%76%31/auth", "GET /v1/auth/", "GET /v1/auth/x", "GET /v1/auth%20",
				"GET /v1/auth%2f", "GET /v1%2fauth", "GET //v1/auth", "GET /v1//auth", "GET /./v1/auth", "GET /v1/./auth", "GET /v1/x/../auth", "GET /x/../v1/auth",
				"GET /v1/sessions/../auth", "GET /v1/sessions/%2e%2e", "GET /v1/sessions/.%2E", "GET /v1/sessions/.", "GET /v1/sessions/..", "GET /v1/sessions/..%2fauth",
				"GET /v1/sessions/%2e%2e%2fauth", "GET /v1/sessions/..%5cauth", "GET /v1/sessions/..\\auth", "GET /v1/sessions/a%00", "GET /v1/sessions/%zz", "GET /v1/sessions/%",
				"GET /v1/sessions/a/", "GET /v1/sessions/a/b", "GET /v1/sessions/", "GET /v1/info/", "GET /v1/infos", "GET /v1/INFO", "GET /v1/inf%6f", "GET /v1", "GET /", "GET /v2/info",
			},
		},
		{
			[]string{"GET /v1/files/{path...}", "POST /v1/rooms/{name}/close", "GET /v1/list/", "GET /v1/only/{$}", "/any"},
			[]string{
				"GET /v1/files/a", "GET /v1/files/a/b/c", "GET /v1/files/", "GET /v1/files/a/", "POST /v1/rooms/a/close", "GET /v1/list/", "GET /v1/list/x/y", "GET /v1/only/",
				"DELETE /any",
			},
			[]string{
				"GET /v1/files", "GET /v1/files/..", "GET /v1/files/../auth", "GET /v1/files/a/../../auth", "GET /v1/files/%2e%2e/auth", "GET /v1/files/a%2f..%2fb", "GET /v1/files//auth",
				"GET /v1/files/a/./b", "GET /v1/list", "GET /v1/list/../auth", "GET /v1/list/x%5c..", "GET /v1/only/x", "GET /v1/only", "GET /v1/only//",
				"POST /v1/rooms/../close", "POST /v1/rooms//close", "POST /v1/rooms/a%2fb/close", "GET /v1/rooms/a/close", "HEAD /v1/rooms/a/close", "POST /v1/rooms/a/close/", "GET /any/x",
			},
		},
		{ // patterns that the settings refuse: even with them, v1/auth isn't admitted
			[]string{"GET /v1/{x}", "POST /v1/auth", "/{path...}", "GET /V1/AUTH/"},
			[]string{"GET /v1/x", "POST /a/b"},
			[]string{
				"GET /v1/auth", "POST /v1/auth", "GET /v1/auth/", "POST /v1/auth/x", "GET /V1/AUTH/", "GET /v1/%41uth", "GET /v1/auth%09", "GET //v1/auth", "POST /v1//auth", "POST /x/../v1/auth",
				"POST /%2e/v1/auth", "POST /x%2f..%2fv1/auth",
			},
		},
		{nil, nil, []string{"GET /v1/info", "GET /", "POST /v1/auth"}},
	} {
		g := newGuard(tt.routes)
		for want, requests := range map[bool][]string{true: tt.sent, false: tt.not} {
			for _, request := range requests {
				method, path, _ := strings.Cut(request, " ")
				if got := g.admits(method, path); got != want {
					t.Errorf("%q: %s: admitted is %v", tt.routes, request, got)
				}
			}
		}
	}
}

// A room request takes its whole way, but the route table is wrong: it accepts every path and method as those of a room.
func TestWrongRouteTableReachesNothingUndeclared(t *testing.T) {
	g := start(t)
	p := setup{Glory: mustParse(g.GloryURL), Interwater: mustParse(g.InterwaterURL), Options: Options{
		RoomRoutes: defaultRoutes, Bridge: g.fakeBridge, MaxBodyBytes: 1 << 20, MaxHeaderBytes: 16 << 10, MaxInFlight: 100, Log: g.log(),
	}}.handler(t)
	room := p.routes.room.serve
	wrong := *g
	wrong.addr = scripted(t, func(rw http.ResponseWriter, r *http.Request) {
		w := p.begin(rw, r)
		defer p.finish(w, r)
		path, query, hasQuery := strings.Cut(r.RequestURI, "?") // unchecked
		w.call.target, w.call.route = target{raw: r.RequestURI, path: path, query: query, hasQuery: hasQuery}, "GET /v1/info"
		room(w, r)
	}).Host
	if answer := wrong.get(t, "/v1/info"); answer.status != 200 {
		t.Fatalf("a declared route has status %d", answer.status)
	}
	auths, rooms := g.Interwater.AuthCalls(), g.Interwater.RoomCalls() // the request above has fetched a token
	for _, request := range []string{
		"POST /v1/auth", "GET /v1/auth", "POST /v1/AUTH", "POST /v1/auth/", "POST //v1/auth", "POST /v1/./auth", "GET /v1/sessions/../auth", "GET /v1/sessions/..%2fauth",
		"GET /v1/sessions/%2e%2e", "POST /v1/%61uth", "POST /v1/info", "DELETE /v1/sessions/a", "GET /v1/secret", "GET /_sandbox/stats", "GET /", "GET /public-api/v1/health",
	} {
		method, path, _ := strings.Cut(request, " ")
		wrong.do(t, method, path, asMember).wantError(t, http.StatusNotFound)
	}
	if a, r := g.Interwater.AuthCalls(), g.Interwater.RoomCalls(); a != auths || r != rooms {
		t.Errorf("Interwater saw %d more calls of v1/auth and %d more of rooms", a-auths, r-rooms)
	}
}

func TestAnswerOfARoomIsBounded(t *testing.T) {
	for _, tt := range []struct {
		size   int
		broken bool
	}{{0, false}, {1, false}, {maxRoomAnswer - 1, false}, {maxRoomAnswer, false}, {maxRoomAnswer + 1, true}, {maxRoomAnswer + 100_000, true}} {
		body := &boundedBody{ReadCloser: io.NopCloser(io.LimitReader(zeros{}, int64(tt.size))), left: maxRoomAnswer}
		n, err := io.Copy(io.Discard, body)
		if errors.Is(err, errAnswerSize) != tt.broken || n > maxRoomAnswer || !tt.broken && n != int64(tt.size) {
			t.Errorf("%d bytes: %d, %v", tt.size, n, err)
		}
	}
}

// zeros is a reader without an end.
type zeros struct{}

// Read implements io.Reader.
func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestLongAnswerOfARoomIs502OrBreaksOff(t *testing.T) {
	declared := scripted(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", itoa(maxRoomAnswer+1)) })
	streamed := scripted(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.CopyN(w, zeros{}, maxRoomAnswer+1) })
	g := start(t, func(o *setup) { o.Interwater = declared })
	g.get(t, "/v1/info").wantError(t, http.StatusBadGateway)
	g = start(t, func(o *setup) { o.Interwater = streamed })
	if answer := g.get(t, "/v1/info"); answer.status != 200 || !answer.broken || len(answer.body) > maxRoomAnswer {
		t.Errorf("status %d, broken %v, %d bytes", answer.status, answer.broken, len(answer.body))
	}
	g = start(t, func(o *setup) { o.Glory = streamed }) // Glory's answers have no limit
	if answer := g.get(t, "/api/x"); answer.status != 200 || answer.broken || len(answer.body) != maxRoomAnswer+1 {
		t.Errorf("Glory: status %d, broken %v, %d bytes", answer.status, answer.broken, len(answer.body))
	}
}

// pipes is a listener whose connections have no buffers: a write waits until it is read.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

// Accept implements net.Listener.
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (p *pipes) Close() error { p.once.Do(func() { close(p.closed) }); return nil }

// Addr implements net.Listener.
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// serveInBubble runs h behind a gateway's writer in a synctest bubble. It calls client with the client's end of a connection.
func serveInBubble(t *testing.T, h http.HandlerFunc, client func(conn net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		gateway := serving(t, quietLog(), func(w *writer, r *http.Request) { h(w, r) })
		server := &http.Server{Handler: gateway, IdleTimeout: time.Hour}
		listener := newPipes()
		go func() { _ = server.Serve(listener) }()
		near, far := net.Pipe()
		listener.conns <- far
		client(near)
		near.Close()
		server.Close()
	})
}

func TestAnswerThatIsNotReadIsCutOff(t *testing.T) {
	for rule, tt := range map[string]struct {
		method string
		h      http.HandlerFunc
	}{
		"a short body": {"GET", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "short") }},
		"a long body": {"GET", func(w http.ResponseWriter, _ *http.Request) {
			for range 100 {
				if _, err := w.Write(make([]byte, 16<<10)); err != nil {
					return
				}
			}
		}},
		"no body":        {"GET", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }},
		"a HEAD":         {"HEAD", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "9") }},
		"nothing at all": {"GET", func(http.ResponseWriter, *http.Request) {}},
	} {
		began := time.Time{}
		serveInBubble(t, tt.h, func(conn net.Conn) {
			began = time.Now()
			fmt.Fprintf(conn, "%s /api/x HTTP/1.1\r\nHost: g\r\n\r\n", tt.method)
			time.Sleep(writeLimit + time.Second)
			synctest.Wait()
			conn.SetReadDeadline(time.Now().Add(time.Hour))
			text, err := io.ReadAll(conn)
			if len(text) > 0 || err != nil || time.Since(began) > writeLimit+2*time.Second {
				t.Errorf("%s: after %v: %.40q, %v", rule, time.Since(began), text, err)
			}
		})
	}
}

func TestKernelKeepsLittleForAClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	served, err := Listener(listener, 1).Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	served.SetWriteDeadline(time.Now().Add(500 * time.Millisecond)) // long enough for the kernel to take as much as it wants
	if n, _ := served.Write(make([]byte, 16<<20)); n > 1<<20 {
		t.Errorf("the kernel took %d bytes", n)
	}
}

// A slow client gets its whole answer.
func TestAnswerThatIsReadSlowlyArrives(t *testing.T) {
	const size = 40 << 10
	serveInBubble(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 10 {
			if _, err := w.Write(make([]byte, size/10)); err != nil {
				t.Error(err)
				return
			}
		}
	}, func(conn net.Conn) {
		fmt.Fprint(conn, "GET /api/x HTTP/1.0\r\n\r\n")
		got := 0
		for buffer := make([]byte, 1<<10); ; time.Sleep(time.Second) {
			n, err := conn.Read(buffer)
			if got += n; err != nil {
				break
			}
		}
		if got < size {
			t.Errorf("%d bytes arrived", got)
		}
	})
}
