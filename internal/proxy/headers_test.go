package proxy

// The header rules on the way up: what a client can send to which upstream. It can't keep the gateway from sending its own headers.

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"roomgate/internal/bridge"
)

// credentialSpellings are names that some framework reads as s-connector-jwt.
var credentialSpellings = []string{
	"s-connector-jwt", "S-Connector-Jwt", "S-CONNECTOR-JWT", "S_Connector_Jwt", "S-Connector_Jwt", "s_connector-jwt",
	"s.connector.jwt", "s-connector.jwt", "sconnectorjwt", "SConnectorJWT", "s--connector--jwt", "_s-connector-jwt_",
	"s~connector!jwt", "s-con-nector-jwt", "s|connector^jwt", "-s-connector-jwt", "s'connector*jwt", "s+connector#jwt",
}

func TestEverySpellingOfTheCredentialFolds(t *testing.T) {
	for _, name := range credentialSpellings {
		if credentialHeader != http.CanonicalHeaderKey(bridge.CredentialHeader) {
			t.Fatal("the credential's header has another key")
		}
		if !foldsToCredential(name) || !foldsToCredential(http.CanonicalHeaderKey(name)) {
			t.Errorf("%q does not fold", name)
		}
	}
	for _, name := range []string{
		"", "-", "s-connector-jw", "connector-jwt", "s-connector-jwt2", "x-s-connector-jwt", "s-connector-jwtt", "0s-connector-jwt",
		"s-connectot-jwt", "Authorization", "S-Connector", "s-connector-\x4a\x57\x55",
	} {
		if foldsToCredential(name) {
			t.Errorf("%q folds", name)
		}
	}
}

func TestClientsCredentialNeverGetsThrough(t *testing.T) {
	g := start(t)
	for _, name := range credentialSpellings {
		g.get(t, "/v1/info", name+": EVIL", name+": EVIL2", "Accept: text/evil")
		g.do(t, "GET", "/public-api/v1/health", name+": EVIL", "X-Keep: 1")
		g.do(t, "GET", "/api/v1/profile", name+": EVIL")

		room := g.Interwater.LastRoomRequest().Header
		if got := folding(room); !slices.Equal(got, []string{"S-Connector-Jwt"}) || !slices.Equal(room["S-Connector-Jwt"], []string{g.current}) {
			t.Errorf("%s: Interwater got %q with %q, want the gateway's", name, got, room["S-Connector-Jwt"])
		}
	}
	for _, r := range g.Glory.Requests() {
		if got := folding(r.Header); len(got) > 0 {
			t.Errorf("Glory got %q", got)
		}
	}
	if n := len(g.Glory.Requests()); n != 2*len(credentialSpellings) {
		t.Errorf("Glory saw %d requests", n)
	}
}

// folding returns the names that fold to the credential's. It doesn't use the code under test.
func folding(h http.Header) []string {
	var found []string
	for name := range h {
		letters := strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return -1
		}, strings.ToLower(name))
		if letters == "sconnectorjwt" {
			found = append(found, name)
		}
	}
	return found
}

func TestClientsCredentialDoesNotStandInForAMissingOne(t *testing.T) {
	g := start(t)
	g.credential = func() error { return &bridge.NoCredential{RetryAfter: 1, Err: errNotFound} }
	g.get(t, "/v1/info", "s-connector-jwt: EVIL").wantError(t, http.StatusServiceUnavailable)
	g.wantNoCalls(t)
}

func TestConnectionListRemovesNothingThatTheGatewaySets(t *testing.T) {
	g := start(t)
	list := "close, s-connector-jwt, authorization, host, x-request-id, x-forwarded-for, x-forwarded-host, x-forwarded-proto, traceparent, user-agent"
	answer := g.get(t, "/v1/info", "Connection: "+list, "X-Request-Id: kept")
	if answer.status != 200 {
		t.Fatalf("status %d", answer.status)
	}
	room := g.Interwater.LastRoomRequest()
	g.do(t, "GET", "/public-api/v1/health", "Connection: "+list, "X-Request-Id: kept")
	for upstream, h := range map[string]http.Header{"Interwater": room.Header, "Glory": g.Glory.LastRequest().Header} {
		for name, want := range map[string]string{
			"X-Request-Id": "kept", "X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "gateway.test", "X-Forwarded-Proto": "http",
		} {
			if !slices.Equal(h[name], []string{want}) {
				t.Errorf("%s got %s: %q, want %q", upstream, name, h[name], want)
			}
		}
		if len(h["Traceparent"]) != 1 {
			t.Errorf("%s got Traceparent: %q", upstream, h["Traceparent"])
		}
	}
	if !slices.Equal(room.Header["S-Connector-Jwt"], []string{g.current}) {
		t.Errorf("the credential is %q", room.Header["S-Connector-Jwt"])
	}
}

func TestInterwaterGetsTheAllowListOnly(t *testing.T) {
	g := start(t)
	allowed := []string{
		"Accept: application/json", "Accept-Encoding: gzip, br", "Accept-Language: ko", "User-Agent: test/1",
		`If-None-Match: "a"`, "If-Modified-Since: Mon, 02 Jan 2006 15:04:05 GMT", "Tracestate: a=b",
		"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	denied := []string{
		"Cookie: a=b", "Proxy-Authorization: x", "X-Real-IP: 6.6.6.6", "X-Original-URL: /v1/auth", "X-Rewrite-URL: /v1/auth",
		"X-Client-IP: 6.6.6.6", "True-Client-IP: 6.6.6.6", "CF-Connecting-IP: 6.6.6.6", "X-Envoy-Original-Path: /v1/auth",
		"X_Forwarded_For: 6.6.6.6", "X-Forwarded-Port: 1", "X-Forwarded-Prefix: /x", "X-Forwarded-Uri: /v1/auth",
		"X-Forwarded-Method: POST", "X-Forwarded-Server: evil", "Forwarded: for=6.6.6.6;host=evil", "X-HTTP-Method-Override: POST",
		"X-HTTP-Method: POST", "X-Method-Override: POST", "Origin: http://evil", "Referer: http://evil", "Range: bytes=0-1",
		"If-Match: x", "If-Range: x", "Via: 1.1 evil", "Te: trailers", "Keep-Alive: 1", "Max-Forwards: 0", "Baggage: a=b", "X-Api-Key: k",
	}
	if answer := g.get(t, "/v1/info?_method=POST", append(allowed, denied...)...); answer.status != 200 {
		t.Fatalf("status %d", answer.status)
	}
	r := g.Interwater.LastRoomRequest()
	want := []string{
		"Accept", "Accept-Encoding", "Accept-Language", "If-Modified-Since", "If-None-Match", "S-Connector-Jwt", "Traceparent",
		"Tracestate", "User-Agent", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Request-Id",
	}
	if got := slices.Sorted(maps.Keys(r.Header)); !slices.Equal(got, want) || r.Method != "GET" {
		t.Errorf("%s with\n got %q\nwant %q", r.Method, got, want)
	}
	for _, line := range allowed[:6] {
		name, value, _ := strings.Cut(line, ": ")
		if got := r.Header[name]; !slices.Equal(got, []string{value}) {
			t.Errorf("%s arrives as %q, want %q", name, got, value)
		}
	}
	for name, values := range r.Header {
		if all := strings.Join(values, " "); strings.Contains(all, "6.6.6.6") || strings.Contains(all, "evil") {
			t.Errorf("%s carries the client's %q", name, values)
		}
	}
}

func TestNothingIsAskedThatTheClientDidNotAsk(t *testing.T) {
	g := start(t)
	g.get(t, "/v1/info")
	g.do(t, "GET", "/public-api/v1/health")
	for _, h := range []http.Header{g.Interwater.LastRoomRequest().Header, g.Glory.LastRequest().Header} {
		for _, name := range []string{"Accept-Encoding", "User-Agent", "Accept", "Authorization", "Tracestate"} {
			if got := h[name]; len(got) > 0 {
				t.Errorf("%s: %q was added", name, got)
			}
		}
	}
}

func TestMemberTokenAndCookiesNeverReachInterwater(t *testing.T) {
	g := start(t)
	for _, lines := range [][]string{
		{asMember, "Cookie: a=b"}, {"authorization: Bearer good", "cookie: a=b", "cookie: c=d"},
		{asMember, "Connection: authorization, cookie", "Cookie: a=b"},
	} {
		if answer := g.do(t, "GET", "/v1/sessions", lines...); answer.status != 200 {
			t.Errorf("%q: status %d", lines, answer.status)
		}
		h := g.Interwater.LastRoomRequest().Header
		if len(h["Authorization"])+len(h["Cookie"]) > 0 {
			t.Errorf("%q: Interwater got %q and %q", lines, h["Authorization"], h["Cookie"])
		}
	}
}

func TestGloryGetsWhatTheClientSent(t *testing.T) {
	g := start(t)
	sent := []string{
		"Authorization: Bearer x.y.z", "Cookie: a=b", "Content-Type: application/json", "Accept: */*", "Accept-Encoding: br",
		"X-Custom: 1", "X-Custom: 2", "Origin: http://app.test", "Range: bytes=0-1", "User-Agent: test/1", "If-Match: x",
		"X-Real-Ip: 6.6.6.6", "Referer: http://app.test/",
	}
	g.do(t, "GET", "/api/v1/profile", sent...)
	h := g.Glory.LastRequest().Header
	for _, line := range sent {
		name, value, _ := strings.Cut(line, ": ")
		if !slices.Contains(h[name], value) {
			t.Errorf("%s: %q, want %q in it", name, h[name], value)
		}
	}
	if !slices.Equal(h["X-Custom"], []string{"1", "2"}) {
		t.Errorf("X-Custom: %q", h["X-Custom"])
	}
}

func TestHopByHopHeadersEndAtTheGateway(t *testing.T) {
	g := start(t)
	for _, target := range []string{"/public-api/v1/health", "/v1/info"} {
		answer := g.get(t, target,
			"Connection: keep-alive, X-Mine, HTTP2-Settings", "X-Mine: 1", "HTTP2-Settings: AAMAAABkAAQAAP__", "Keep-Alive: timeout=1",
			"Proxy-Connection: keep-alive", "Proxy-Authenticate: x", "Proxy-Authorization: x", "Te: trailers, deflate", "Trailer: X-T", "Upgrade: h2c")
		if answer.status != 200 {
			t.Errorf("%s: status %d", target, answer.status)
		}
	}
	for _, h := range []http.Header{g.Interwater.LastRoomRequest().Header, g.Glory.LastRequest().Header} {
		for _, name := range []string{
			"Connection", "X-Mine", "Http2-Settings", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
			"Te", "Trailer", "Upgrade", "Transfer-Encoding",
		} {
			if len(h[name]) > 0 {
				t.Errorf("%s: %q was forwarded", name, h[name])
			}
		}
	}
}

func TestUpgradeIsNotForwarded(t *testing.T) {
	g := start(t)
	for _, target := range []string{"/public-api/v1/health", "/v1/info"} {
		for _, lines := range [][]string{
			{"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"},
			{"Connection: upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x"},
			{"Connection: upgrade", "Upgrade: \x80\xff"}, // malformed: must not become the upstream's error
			{"Upgrade: h2c"},
		} {
			answer := g.get(t, target, lines...)
			if answer.status != 200 {
				t.Errorf("%s with %q: status %d, body %q", target, lines, answer.status, answer.body)
			}
		}
	}
	for _, r := range append(g.Interwater.RoomRequests(), g.Glory.Requests()...) {
		if len(r.Header["Upgrade"])+len(r.Header["Connection"])+len(r.Header["Http2-Settings"]) > 0 {
			t.Errorf("%s got %v", r.RequestURI, r.Header)
		}
	}
}

func TestExpectIsAnsweredByTheGateway(t *testing.T) {
	var seen []string
	glory := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen = append(seen, r.Header.Get("Expect")+string(body))
	})
	g := start(t, func(o *setup) { o.Glory = glory })
	conn := g.dial(t)
	defer conn.Close()
	io.WriteString(conn, "POST /public-api/v1/login HTTP/1.1\r\nHost: g\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	interim := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	if _, err := io.ReadFull(conn, interim); err != nil || string(interim) != "HTTP/1.1 100 Continue\r\n\r\n" {
		t.Fatalf("%q, %v: the client would wait for ever", interim, err)
	}
	io.WriteString(conn, "body")
	if answer := read(t, conn, "POST"); answer.status != 200 || !slices.Equal(seen, []string{"body"}) {
		t.Errorf("status %d; Glory saw %q", answer.status, seen)
	}
	if answer := g.do(t, "GET", "/public-api/v1/health", "Expect: y"); answer.status != http.StatusExpectationFailed {
		t.Errorf("an unknown expectation gives %d", answer.status)
	}
}

func TestTrailersOfTheClientEndAtTheGateway(t *testing.T) {
	var got http.Header
	upstream := scripted(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		got = r.Trailer
	})
	g := start(t, func(o *setup) {
		o.Glory, o.Interwater, o.RoomRoutes = upstream, upstream, []string{"POST /v1/rooms"}
	})
	for _, target := range []string{"/api/x", "/v1/rooms"} {
		answer := g.raw(t, "POST "+target+" HTTP/1.1\r\nHost: g\r\n"+asMember+
			"\r\nTransfer-Encoding: chunked\r\nTrailer: S-Connector-Jwt, X-T\r\n\r\n1\r\na\r\n0\r\nS-Connector-Jwt: EVIL\r\nX-T: 1\r\n\r\n")
		if answer.status != 200 || len(got) > 0 {
			t.Errorf("%s: %d, trailers %v", target, answer.status, got)
		}
	}
}
