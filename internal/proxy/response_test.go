package proxy

// The rules for answers: what an upstream can't send to a client.

import (
	"compress/gzip"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"roomgate/internal/sandbox"
)

func TestInterwatersHeadersComeBackByAllowList(t *testing.T) {
	upstream := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		for name, value := range map[string]string{
			"Content-Type": "text/x; charset=utf-8", "Content-Encoding": "x-test", "Content-Language": "ko", "ETag": `"e"`,
			"Last-Modified": "Mon, 02 Jan 2006 15:04:05 GMT", "Vary": "Accept", "Date": "Tue, 03 Jan 2006 15:04:05 GMT", "Retry-After": "7",
			"Content-Length": "4",
			"Set-Cookie":     "a=b", "Server": "x", "X-Powered-By": "x", "Via": "x", "Alt-Svc": "x", "Strict-Transport-Security": "x",
			"Access-Control-Allow-Origin": "*", "Cache-Control": "public", "Expires": "x", "Pragma": "x", "Age": "1", "Link": "</x>",
			"Www-Authenticate": "Basic", "Content-Disposition": "attachment", "Content-Location": "/x", "Location": "/x", "Refresh": "0",
			"X-Request-Id": "theirs", "X-Content-Type-Options": "off", "Traceparent": "x", "Clear-Site-Data": "*", "Accept-Ranges": "bytes",
			"Server-Timing": "x", "S-Connector-Jwt": "leak", "S_connector_jwt": "leak", "Connection": "X-Hop", "X-Hop": "1", "Keep-Alive": "x",
		} {
			w.Header()[http.CanonicalHeaderKey(name)] = []string{value}
		}
		_, _ = io.WriteString(w, "body")
	})
	g := start(t, func(o *setup) { o.Interwater = upstream })
	answer := g.get(t, "/v1/info", "X-Request-Id: ours")
	want := map[string]string{
		"Content-Type": "text/x; charset=utf-8", "Content-Encoding": "x-test", "Content-Language": "ko", "Etag": `"e"`,
		"Last-Modified": "Mon, 02 Jan 2006 15:04:05 GMT", "Vary": "Accept", "Date": "Tue, 03 Jan 2006 15:04:05 GMT", "Retry-After": "7",
		"Content-Length": "4", "Cache-Control": "private, no-store", "X-Request-Id": "ours", "X-Content-Type-Options": "nosniff",
	}
	if got := slices.Sorted(maps.Keys(answer.header)); !slices.Equal(got, slices.Sorted(maps.Keys(want))) {
		t.Errorf("headers\n got %q\nwant %q", got, slices.Sorted(maps.Keys(want)))
	}
	for name, value := range want {
		if !slices.Equal(answer.header[name], []string{value}) {
			t.Errorf("%s: %q, want %q", name, answer.header[name], value)
		}
	}
	if answer.status != 200 || answer.body != "body" {
		t.Errorf("%d %q", answer.status, answer.body)
	}
}

// net/http would guess a type from the body. A browser could then take somebody's text for a page of the gateway.
func TestAnswerWithoutAContentTypeIsGivenNone(t *testing.T) {
	untyped := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		_, _ = io.WriteString(w, "<html><script>")
	})
	for _, coalesce := range []bool{false, true} {
		g := start(t, func(o *setup) { o.Glory, o.Interwater, o.RoomCoalesce = untyped, untyped, coalesce })
		for _, target := range []string{"/public-api/x", "/v1/info"} {
			if got := g.get(t, target); got.status != 200 || got.header["Content-Type"] != nil {
				t.Errorf("%s: %d, Content-Type %q", target, got.status, got.header["Content-Type"])
			}
		}
	}
}

func TestHostileAnswersAreCleared(t *testing.T) {
	g := start(t)
	member := "Authorization: Bearer " + g.Glory.MintToken("1", patience)
	for _, kind := range []sandbox.Kind{sandbox.KindCookie, sandbox.KindEcho, sandbox.KindEarlyHints, sandbox.KindTrailer} {
		g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Kind: kind})
		g.Glory.SetFaults(sandbox.Fault{Kind: kind})
		room := g.get(t, "/v1/info")
		glory := g.do(t, "GET", "/api/v1/check_login", member, "s-connector-jwt: EVIL")
		for upstream, answer := range map[string]reply{"Interwater": room, "Glory": glory} {
			want := 200
			if upstream == "Interwater" && kind == sandbox.KindEcho {
				want = 502 // its body contains the access token
			}
			if answer.status != want || answer.broken {
				t.Errorf("%s, %s: status %d, broken %v", kind, upstream, answer.status, answer.broken)
			}
			if len(answer.interim) > 0 || len(answer.trailer) > 0 || strings.Contains(answer.raw, "Trailer:") {
				t.Errorf("%s, %s: 1xx %v, trailer %v in %q", kind, upstream, answer.interim, answer.trailer, answer.raw)
			}
			if got := folding(answer.header); len(got) > 0 || len(answer.header["X-Request-Id"]) != 1 {
				t.Errorf("%s, %s: %v", kind, upstream, answer.header)
			}
			head, _, _ := strings.Cut(answer.raw, "\r\n\r\n")
			if strings.Contains(answer.raw, g.current) || strings.Contains(head, "leaked-by-sandbox") {
				t.Errorf("%s, %s: a credential in %q", kind, upstream, answer.raw)
			}
		}
		if len(room.header["Set-Cookie"]) > 0 || !strings.HasSuffix(room.header.Get("Cache-Control"), "no-store") {
			t.Errorf("%s: a room answer has %v", kind, room.header)
		}
	}
}

func TestGlorysHeadersPassButTheCredential(t *testing.T) {
	upstream := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["Set-Cookie"] = []string{"a=b", "c=d"}
		h["Cache-Control"], h["X-Custom"], h["Www-Authenticate"] = []string{"max-age=1"}, []string{"1"}, []string{"Bearer"}
		h["S_connector_jwt"], h["s.connector.jwt"], h["S-Connector-Jwt"] = []string{"leak"}, []string{"leak"}, []string{"leak"}
		w.WriteHeader(http.StatusUnauthorized)
	})
	g := start(t, func(o *setup) { o.Glory = upstream })
	answer := g.do(t, "GET", "/api/x")
	for name, want := range map[string][]string{
		"Set-Cookie": {"a=b", "c=d"}, "Cache-Control": {"max-age=1"}, "X-Custom": {"1"}, "Www-Authenticate": {"Bearer"},
		"X-Content-Type-Options": {"nosniff"},
	} {
		if !slices.Equal(answer.header[name], want) {
			t.Errorf("%s: %q, want %q", name, answer.header[name], want)
		}
	}
	if answer.status != 401 || strings.Contains(answer.raw, "leak") {
		t.Errorf("%q", answer.raw)
	}
}

// Shared caches reuse an answer for everybody, unless the answer forbids it.
func TestGlorysAnswersToOneMemberArePrivate(t *testing.T) {
	own := ""
	upstream := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		if own != "" {
			w.Header().Set("Cache-Control", own)
		}
	})
	g := start(t, func(o *setup) { o.Glory = upstream })
	for _, tt := range []struct{ path, line, own, want string }{
		{"/api/v1/profile", asMember, "", "private"},
		{"/api/v1/profile", "Accept: */*", "", "private"}, // a refusal is for one member, too
		{"/public-api/v1/health", asMember, "", "private"},
		{"/public-api/v1/health", "Accept: */*", "", ""},
		{"/api/v1/profile", asMember, "public, max-age=1", "public, max-age=1"},
	} {
		own = tt.own
		if got := g.do(t, "GET", tt.path, tt.line).header.Get("Cache-Control"); got != tt.want {
			t.Errorf("%s with %s, Glory says %q: %q, want %q", tt.path, tt.line, tt.own, got, tt.want)
		}
	}
}

func TestManyInformationalAnswersAreDropped(t *testing.T) {
	upstream := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 3 {
			w.Header().Set("Link", "</x>")
			w.WriteHeader(http.StatusEarlyHints)
		}
		w.Header().Del("Link")
		w.WriteHeader(http.StatusProcessing)
		_, _ = io.WriteString(w, "body")
	})
	g := start(t, func(o *setup) { o.Glory, o.Interwater = upstream, upstream })
	for _, target := range []string{"/api/x", "/v1/info"} {
		answer := g.get(t, target)
		if answer.status != 200 || answer.body != "body" || len(answer.interim) > 0 || len(answer.header["Link"]) > 0 {
			t.Errorf("%s: %q", target, answer.raw)
		}
	}
}

func TestSwitchingProtocolsIs502(t *testing.T) {
	g := start(t)
	g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Kind: sandbox.KindUpgrade})
	g.Glory.SetFaults(sandbox.Fault{Kind: sandbox.KindUpgrade})
	for _, target := range []string{"/v1/info", "/api/x"} {
		for _, lines := range [][]string{nil, {"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"}} {
			answer := g.get(t, target, lines...)
			answer.wantError(t, http.StatusBadGateway)
			if len(answer.header["Upgrade"]) > 0 {
				t.Errorf("%s: %v", target, answer.header)
			}
		}
	}
}

func TestRedirectOfARoomIs502(t *testing.T) {
	elsewhere := scripted(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the redirect was followed: %v", r.Header) })
	g := start(t)
	for _, status := range []int{300, 301, 302, 303, 305, 306, 307, 308, 399} {
		for _, location := range []string{elsewhere.String() + "/x", "//" + elsewhere.Host, "/v1/info", "javascript:1"} {
			g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/sessions", Status: status, Redirect: location})
			for _, method := range []string{"GET", "HEAD"} {
				answer := g.do(t, method, "/v1/sessions", asMember)
				if method == "GET" {
					answer.wantError(t, http.StatusBadGateway)
				}
				if answer.status != 502 || len(answer.header["Location"]) > 0 || strings.Contains(answer.raw, elsewhere.Host) {
					t.Errorf("%d to %s: %q", status, location, answer.raw)
				}
			}
		}
	}
	if n := g.Interwater.RoomCalls(); n != 9*4*2 {
		t.Errorf("Interwater saw %d requests", n)
	}
	if got := g.asked("reject"); len(got) > 0 {
		t.Errorf("a redirect rejected a token: %q", got)
	}
}

func TestNotModifiedPasses(t *testing.T) {
	g := start(t)
	g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/sessions", Status: 304, Header: map[string]string{"ETag": `"e"`}})
	answer := g.get(t, "/v1/sessions", `If-None-Match: "e"`)
	if answer.status != 304 || answer.header.Get("Etag") != `"e"` || answer.header.Get("Cache-Control") != "private, no-store" {
		t.Errorf("%q", answer.raw)
	}
}

func TestInterwatersErrorsPass(t *testing.T) {
	g := start(t)
	for _, status := range []int{400, 404, 405, 409, 418, 429, 500, 501, 502, 503, 504, 599} {
		g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/sessions", Status: status, Body: `{"status":false}`, RetryAfter: 5})
		answer := g.get(t, "/v1/sessions")
		if answer.status != status || answer.body != `{"status":false}` || answer.header.Get("Retry-After") != "5" {
			t.Errorf("%d: %q", status, answer.raw)
		}
	}
	if got := g.asked("reject"); len(got) > 0 || g.Interwater.RoomCalls() != 12 {
		t.Errorf("%d calls, %q", g.Interwater.RoomCalls(), got)
	}
}

func TestBodiesPassAsTheyAre(t *testing.T) {
	var zipped strings.Builder
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, strings.Repeat(`{"a": 1.0}`, 100))
	_ = z.Close()
	upstream := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.RawQuery {
		case "zip":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, zipped.String())
		case "chunked":
			for range 3 {
				_, _ = io.WriteString(w, "{ \"a\" : 1.50 }\n")
				_ = http.NewResponseController(w).Flush()
			}
		case "lie":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(w, "no gzip at all")
		}
	})
	g := start(t, func(o *setup) { o.Glory, o.Interwater = upstream, upstream })
	for query, want := range map[string]string{
		"zip": zipped.String(), "chunked": strings.Repeat("{ \"a\" : 1.50 }\n", 3), "lie": "no gzip at all", "empty": "",
	} {
		for _, target := range []string{"/v1/info?", "/api/x?"} {
			for _, lines := range [][]string{nil, {"Accept-Encoding: gzip"}} {
				answer := g.get(t, target+query, lines...)
				if answer.status != 200 || answer.body != want || answer.broken {
					t.Errorf("%s%s: %d %q", target, query, answer.status, answer.body)
				}
			}
		}
	}
}

// The answer closes the connection even if its request came before the drain began.
func TestRequestsFromBeforeADrainAskForAnotherConnection(t *testing.T) {
	var draining atomic.Bool
	arrived, let := make(chan struct{}), make(chan struct{})
	upstream := scripted(t, func(http.ResponseWriter, *http.Request) { arrived <- struct{}{}; <-let })
	g := start(t, func(o *setup) { o.Glory, o.Draining = upstream, draining.Load })
	answers := make(chan reply)
	go func() { answers <- g.do(t, "GET", "/api/x") }()
	await(t, arrived)
	draining.Store(true)
	close(let)
	if answer := await(t, answers); !strings.Contains(answer.raw, "\r\nConnection: close\r\n") {
		t.Errorf("%q", answer.raw)
	}
}

func TestDrainingAsksForAnotherConnection(t *testing.T) {
	g := start(t, func(o *setup) { o.Draining = func() bool { return true } })
	for _, answer := range []reply{g.get(t, "/v1/info"), g.do(t, "GET", "/public-api/v1/health"), g.do(t, "GET", "/nowhere")} {
		if !strings.Contains(answer.raw, "\r\nConnection: close\r\n") {
			t.Errorf("%q", answer.raw)
		}
	}
}
