package proxy

// The lane answers as net/http does. For every request, the answer, the request to Interwater and the log are the same.

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"roomgate/internal/bridge"
	"roomgate/internal/fleet"
	"roomgate/internal/upstream"
)

// bytesUpstream answers each request with the interwaterBytes of its room, and records the requests.
type bytesUpstream struct {
	mu    sync.Mutex
	heads []string
}

// interwaterBytes are answers of Interwater, by room. After one that ends with "close", the connection is closed.
var interwaterBytes = map[string]string{
	"small":      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\nDate: Sat, 21 Nov 2026 20:23:00 GMT\r\n\r\n{\"status\":true}",
	"undated":    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
	"empty":      "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	"untyped":    "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
	"chunked":    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX: y\r\n\r\n",
	"page":       "HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + strings.Repeat("p", 9000),
	"long":       "HTTP/1.1 200 OK\r\nEtag: \"l\"\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("x", 200000),
	"longpieces": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n30d40\r\n" + strings.Repeat("x", 200000) + "\r\n0\r\n\r\n",
	"none":       "HTTP/1.1 204 No Content\r\nEtag: \"a\"\r\n\r\n",
	"unchanged":  "HTTP/1.1 304 Not Modified\r\nEtag: \"a\"\r\nContent-Length: 5\r\n\r\n",
	"missing":    "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}",
	"odd":        "HTTP/1.1 499 What\r\nContent-Length: 1\r\n\r\nx",
	"failed":     "HTTP/1.1 500 Oops\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n<a>",
	"moved":      "HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/\r\nContent-Length: 0\r\n\r\n",
	"headers": "HTTP/1.1 200 OK\r\nServer: x\r\nSet-Cookie: a=b\r\nVary: Accept\r\nVary: Origin\r\nCache-Control: max-age=9\r\nRetry-After: 7\r\nContent-Language: ko\r\n" +
		"Last-Modified: Sat, 21 Nov 2026 20:23:00 GMT\r\nAccess-Control-Allow-Origin: *\r\nS-Connector-Jwt: x\r\nx-request-id: theirs\r\nContent-Length: 2\r\n\r\n{}",
	"hints":     "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
	"nonsense":  "what is this\r\n\r\n",
	"early":     "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc close",
	"earlylong": "HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + strings.Repeat("x", 100000) + " close",
	"echo":      "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"t\":\"a.b.c-tok\"}",
	"json":      "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nEtag: \"j\"\r\nContent-Length: 25\r\n\r\n{\"token\":\"x\",\"name\":\"ab\"}",
}

// start runs the upstream until the end of the test.
func (u *bytesUpstream) start(t *testing.T) *url.URL {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			running.Go(func() { defer conn.Close(); u.serve(conn) })
		}
	})
	t.Cleanup(func() { listener.Close(); running.Wait() })
	return mustParse("http://" + listener.Addr().String())
}

func (u *bytesUpstream) serve(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		var head strings.Builder
		fmt.Fprintf(&head, "%s %s\n", r.Method, r.RequestURI)
		for _, name := range slices.Sorted(maps.Keys(r.Header)) {
			fmt.Fprintf(&head, "%s: %q\n", name, r.Header[name])
		}
		u.mu.Lock()
		u.heads = append(u.heads, masked(head.String()))
		u.mu.Unlock()
		answer, closes := strings.CutSuffix(cmp.Or(interwaterBytes[strings.TrimPrefix(r.URL.Path, "/v1/sessions/")], interwaterBytes["small"]), " close")
		if _, err := io.WriteString(conn, answer); err != nil || closes {
			return
		}
	}
}

// unlike is what differs between any two requests: a Retry-After of an hour, too, when a second ends between them.
var unlike = regexp.MustCompile(`X-Request-Id: [^\r\n]*|Traceparent: \["00-[^"]*"\]|Date: [^\r\n]*|dur=[0-9.]+|t=[0-9]+|Retry-After: 3[0-9]{3}|127\.0\.0\.1:[0-9]+`)

// masked replaces what differs between any two requests.
func masked(text string) string { return unlike.ReplaceAllString(text, "~") }

// side is a gateway with or without the lane, with its own upstream.
type side struct {
	*gateway
	bytesUpstream
}

func TestLaneAnswersAsNetHTTPDoes(t *testing.T) {
	for name, change := range map[string]func(*setup){
		"plain":    func(*setup) {},
		"cors":     func(s *setup) { s.CORSOrigins = []string{"https://app.example"} },
		"any":      func(s *setup) { s.CORSOrigins = []string{"*"} },
		"draining": func(s *setup) { s.Draining = func() bool { return true } },
		"timing":   func(s *setup) { s.ServerTiming = true },
		"redacted": func(s *setup) { s.RedactFields = []string{"token"} },
		"trusted":  func(s *setup) { s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} },
		"alone":    func(s *setup) { s.RoomCoalesce = false },
		"kept":     func(s *setup) { s.RoomCoalesce, s.RoomCacheTTL = true, time.Minute },
		"limited":  func(s *setup) { s.MemberLimit = fleet.Limit{Burst: 1, Per: time.Hour} },
		"full":     func(s *setup) { s.MaxInFlight = -1 },
		"denied":   func(s *setup) { s.Bridge.(*fakeBridge).authorize = func() error { return bridge.ErrDenied } },
		"no token": func(s *setup) {
			s.Bridge.(*fakeBridge).credential = func() error { return &bridge.NoCredential{RetryAfter: 3 * time.Second, Err: errNotFound} }
		},
		"owner": func(s *setup) { s.Bridge.(*fakeBridge).role = bridge.RoleOwner },
		"hung":  func(s *setup) { s.Bridge.(*fakeBridge).credential = func() error { return upstream.ErrTimeout } },
		"panic": func(s *setup) { s.Bridge.(*fakeBridge).credential = func() error { panic("on purpose") } },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compareSides(t, change)
		})
	}
}

// compareSides sends the same requests to both sides.
func compareSides(t *testing.T, change func(*setup)) {
	var sides [2]*side
	for i := range sides {
		s := new(side)
		s.gateway = start(t, func(o *setup) {
			o.Interwater, o.lane = s.bytesUpstream.start(t), i == 1
			o.Bridge.(*fakeBridge).issue = func() string { return "a.b.c-tok" }
			change(o)
		})
		sides[i] = s
	}
	headers := [][]string{
		{asMember}, {asMember, "Accept: a/b", "accept-language: ko", "User-Agent: x", "If-None-Match: \"a\"", "Accept-Encoding:gzip", "Cookie: a=b"},
		{asMember, "Connection: close"}, {asMember, "Connection: Keep-Alive", "X-Request-Id: mine"}, {asMember, "X-Request-Id: not mine"},
		{asMember, "Origin: https://app.example"}, {asMember, "Origin: https://other.example"},
		{asMember, "X-Forwarded-For: 192.0.2.7, 127.0.0.9", "TE: trailers", "X-Forwarded-Proto: https", "X-Forwarded-Host: public.example"},
		{asMember, "X-Forwarded-For: 192.0.2.6", "x-forwarded-for: 192.0.2.7,", "X-Forwarded-For: 127.0.0.9"},
		{asMember, "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate: a=b"},
		{"Authorization: Bearer bad"}, {"Authorization: Basic x"}, {"authorization:  Bearer good  "},
		// The lane hands these over.
		{}, {asMember, asMember}, {asMember, "Accept: a", "Accept: b"}, {asMember, "s_connector_jwt: x"}, {asMember, "Content-Length: 0"},
		{asMember, "X: é"}, {asMember, "TE: gzip"}, {asMember, "Expect: 100-continue"},
	}
	asked := func(target string, lines []string) func(*side) reply {
		return func(s *side) reply { return s.do(t, http.MethodGet, target, lines...) }
	}
	for _, room := range slices.Sorted(maps.Keys(interwaterBytes)) {
		sameAnswer(t, sides, room, asked("/v1/sessions/"+room, headers[0]))
	}
	for _, lines := range headers {
		sameAnswer(t, sides, fmt.Sprintf("%q", lines), asked("/v1/sessions/small?a=b", lines))
	}
	for _, target := range []string{
		"/v1/sessions/json", "/v1/sessions/small?", "/v1/sessions/%EA%B0%80", "/v1/sessions//x", "/v1/sessions/a%2fb", "/v1/auth", "/v1/sessions/a/b", "/openapi.json",
		"/v1/sessions/" + strings.Repeat("a", 513), "/v1/sessions/small?a;b",
	} {
		sameAnswer(t, sides, target, asked(target, headers[0]))
	}
	if a, b := sides[0].heads, sides[1].heads; !slices.Equal(a, b) {
		t.Errorf("Interwater gets different requests:\n%q\n%q", a, b)
	}
}

// sameAnswer checks that both sides answer and log a request in the same way.
func sameAnswer(t *testing.T, sides [2]*side, what string, ask func(*side) reply) {
	t.Helper()
	var raw [2]string
	var events [2]map[string]any
	for i, s := range sides {
		got := ask(s)
		raw[i], events[i] = masked(got.raw), s.event(t)
		if len(got.body) > 16<<10 { // the sides cut it into different pieces, and break it off in different places
			head, _, _ := strings.Cut(raw[i], "\r\n\r\n")
			raw[i] = fmt.Sprint(head, got.broken)
			if got.broken {
				delete(events[i], "bytes")
			} else {
				raw[i] += got.body
			}
		}
		for _, unlike := range []string{"time", "duration_ms", "request_id", "trace_id"} {
			delete(events[i], unlike)
		}
		if text, ok := events[i]["error"].(string); ok {
			events[i]["error"] = masked(text)
		}
	}
	if raw[0] != raw[1] {
		t.Errorf("%s:\nnet/http %.600q\nlane     %.600q", what, raw[0], raw[1])
	}
	if !maps.EqualFunc(events[0], events[1], func(a, b any) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
		t.Errorf("%s: logged as\n%v\n%v", what, events[0], events[1])
	}
}

func TestNamesAreFoundInAnyCase(t *testing.T) {
	for row, name := range plainNames {
		for _, spelt := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			if got := plainRow(spelt); got != row {
				t.Errorf("%s is row %d, want %d", spelt, got, row)
			}
		}
		for _, other := range []string{name + "x", "_" + name[1:], name[:len(name)-1] + "_"} {
			if got := plainRow(other); got >= 0 {
				t.Errorf("%s is row %d", other, got)
			}
		}
	}
	if got := plainRow(strings.Repeat("x", 100)) + plainRow(""); got != -2 {
		t.Error("a long or empty name has a row")
	}
}

// A call is reused only if nobody has its context any more.
func TestCallsWhoseContextIsHeldAreNotLentAgain(t *testing.T) {
	var calls plainCalls
	for name, hold := range map[string]func(*plainCall) bool{
		"watched":   func(*plainCall) bool { return true },
		"waited on": func(c *plainCall) bool { c.ctx.Done(); return false },
		"followed":  func(c *plainCall) bool { c.ctx.AfterFunc(func() {}); return false },
		"ended":     func(c *plainCall) bool { c.leave(); return false },
	} {
		held := calls.get()
		calls.put(held, hold(held))
		if calls.get() == held {
			t.Errorf("%s: the call was reused", name)
		}
	}
	c := calls.get()
	c.ctx.AfterFunc(func() {})()
	calls.put(c, false)
	if c.ctx.isHeld() || c.leave == nil {
		t.Error("a reused call isn't like a new one")
	}
}
