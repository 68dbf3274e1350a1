package main

// Hostile, broken and endless upstreams: what must not reach clients, and what must not be sent to them.

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"roomgate/internal/sandbox"
)

func TestHostileUpstreamsAreHeldOff(t *testing.T) {
	t.Parallel()
	s := newArena(t)
	for range 60 { // successes, so that the failures to come don't open the circuit
		s.say(t, s.member("GET", "/v1/info"))
	}
	var attacks []attack
	room := func(id, name string, fault sandbox.Fault, status int) *attack {
		attacks = append(attacks, attack{
			row: id, name: name, send: s.member("GET", "/v1/info"), want: []int{status}, rooms: 1,
			before: func(s *arena) { s.stands.Interwater.SetFaults(fault) }, look: onlyRoomHeaders,
		})
		return &attacks[len(attacks)-1]
	}
	glory := func(id, name string, fault sandbox.Fault, status int, look func(*testing.T, *arena, []reply)) {
		attacks = append(attacks, attack{
			row: id, name: name, send: withBody("POST", "/public-api/v1/login", s.loginBody()), want: []int{status}, glory: 1,
			before: func(s *arena) { s.stands.Glory.SetFaults(fault) }, look: look,
		})
	}
	room("U01 U04", "credential in a header and in the body", sandbox.Fault{Kind: sandbox.KindEcho}, 502)
	room("U01", "credential in a trailer", sandbox.Fault{Kind: sandbox.KindTrailer}, 200)
	room("U01", "credential in early hints", sandbox.Fault{Kind: sandbox.KindEarlyHints}, 200)
	room("U04", "debug page", sandbox.Fault{Kind: sandbox.KindGarbage, Status: 500}, 500) // Interwater's own errors are passed on
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{"http://" + s.evil + "/", "//" + s.evil, "javascript:alert(1)", "/v1/auth"} {
			room("U05", fmt.Sprint(status, " to ", to), sandbox.Fault{Redirect: to, Status: status}, 502).look = expectHeader("Location", "")
		}
	}
	raw := func(name, answer string, want ...int) *attack {
		r := room("U07", name, sandbox.Fault{Kind: sandbox.KindRaw, Body: answer}, 0)
		r.want = want
		return r
	}
	raw("both lengths", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 200).look = bodyIs("{}", false)
	raw("two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 502)
	raw("length too short", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\n\r\n", 200).look = bodyIs("{}", false)
	raw("length too long", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", 502)
	raw("length too long, large", "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("a", 90000), 200).look = bodyIs("", true)
	raw("no HTTP", "hello\r\n\r\n", 502)
	raw("header that doesn't end", "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("a", 70<<10), 502)
	room("U07", "closed within the body", sandbox.Fault{Kind: sandbox.KindCut}, 502)
	for _, accept := range []string{"", "gzip"} {
		r := room("U08", "bomb of 16 MiB, Accept-Encoding "+accept, sandbox.Fault{Kind: sandbox.KindBomb, Size: 16 << 20}, 200)
		r.send = s.member("GET", "/v1/info", "Accept-Encoding: "+accept)
		r.look = func(t *testing.T, s *arena, got []reply) {
			if got[0].header.Get("Content-Encoding") != "gzip" || len(got[0].body) > 1<<20 {
				t.Errorf("%d bytes, header %v", len(got[0].body), got[0].header)
			}
			if now := s.footprint(t); now.heap > s.base.heap+8<<20 {
				t.Errorf("heap %+v, at the start %+v", now, s.base)
			}
		}
	}
	room("U09", "endless body", sandbox.Fault{Kind: sandbox.KindHuge, Size: 1 << 30}, 200).look = bodyIs("", true)
	room("U10", "hostile headers", sandbox.Fault{Kind: sandbox.KindCookie}, 200)
	room("", "unrequested protocol switch", sandbox.Fault{Kind: sandbox.KindUpgrade}, 502)

	glory("U15", "cookie", sandbox.Fault{Kind: sandbox.KindCookie}, 200, expectHeader("S-Connector-Jwt", ""))
	glory("U15", "redirect", sandbox.Fault{Redirect: "http://glory.test/"}, 302, expectHeader("Location", "http://glory.test/")) // Glory's answers are passed on
	glory("U15", "error page", sandbox.Fault{Kind: sandbox.KindGarbage, Status: 500}, 500, expectHeader("X-Content-Type-Options", "nosniff"))
	s.play(t, attacks)
	s.retired(t)
}

// The catalogue's rows U09 and U13: after the upstream's timeout the gateway gives up, and doesn't repeat the request.
func TestUpstreamsThatTakeForEverAre504(t *testing.T) {
	t.Parallel() // mostly it waits
	s := newArena(t, "INTERWATER_TIMEOUT=1s", "GLORY_TIMEOUT=1s")
	interwater := func(f sandbox.Fault) func(*arena) { return func(s *arena) { s.stands.Interwater.SetFaults(f) } }
	glory := func(f sandbox.Fault) func(*arena) { return func(s *arena) { s.stands.Glory.SetFaults(f) } }
	hang := sandbox.Fault{Kind: sandbox.KindHang}
	s.play(t, []attack{
		{
			row: "U09", name: "a byte every 5 s", send: s.member("GET", "/v1/info"), want: []int{504}, rooms: 1, look: onlyRoomHeaders,
			before: interwater(sandbox.Fault{Kind: sandbox.KindTrickle, Interval: 5 * time.Second}),
		},
		{row: "U09 U13 X02", name: "a room never", send: s.member("GET", "/v1/info"), want: []int{504}, rooms: 1, look: envelope, before: interwater(hang)},
		{row: "U09 U13", name: "a login never", send: withBody("POST", "/public-api/v1/login", s.loginBody()), want: []int{504}, glory: 1, before: glory(hang)},
	})
	s.retired(t)
}

// onlyRoomHeaders fails the test if a room answer has headers that members must not see.
func onlyRoomHeaders(t *testing.T, _ *arena, got []reply) {
	allowed := []string{
		"Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Etag", "Last-Modified", "Vary", "Date", "Retry-After",
		"Cache-Control", "X-Request-Id", "X-Content-Type-Options", "Connection",
	}
	for name, values := range got[0].header {
		if !slices.Contains(allowed, name) {
			t.Errorf("the client gets %s: %q", name, values)
		}
	}
	if control := got[0].header.Get("Cache-Control"); !strings.Contains(control, "no-store") {
		t.Errorf("Cache-Control: %q", control)
	}
}

// bodyIs returns a look at the first answer's body. It must be want, or must have broken off.
func bodyIs(want string, broken bool) func(*testing.T, *arena, []reply) {
	return func(t *testing.T, _ *arena, got []reply) {
		if got[0].broken != broken || !broken && got[0].body != want {
			t.Errorf("broken %v, body %.100q; want %v, %q", got[0].broken, got[0].body, broken, want)
		}
	}
}

// The worst case for invariant I4: 20 idle connections, all dead.
func TestGetIsRepeatedOnceHoweverManyConnectionsAreDead(t *testing.T) {
	t.Parallel()
	s := newArena(t)
	s.stands.Interwater.SetFaults(sandbox.Fault{Delay: 300 * time.Millisecond})
	client := newClient(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { call(t.Context(), client, http.MethodGet, s.url+"/v1/info", s.token, "") })
	}
	wg.Wait()
	s.play(t, []attack{{
		row: "U13", name: "reset on 20 idle connections", send: s.member("GET", "/v1/info"), want: []int{502}, rooms: 2,
		before: func(s *arena) { s.stands.Interwater.SetFaults(sandbox.Fault{Kind: sandbox.KindReset}) },
	}})
	client.CloseIdleConnections()
	s.retired(t)
}

// No credential is sent to an upstream that can't prove who it is: the catalogue's row U12.
func TestNoCredentialGoesToAnUnprovenUpstream(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*httptest.Server, string) []string{
		"self-signed": func(u *httptest.Server, _ string) []string { return []string{"INTERWATER_URL=" + u.URL} },
		"another name": func(u *httptest.Server, bundle string) []string {
			return []string{"SSL_CERT_FILE=" + bundle, "INTERWATER_URL=" + strings.Replace(u.URL, "127.0.0.1", "localhost", 1)}
		},
		"TLS 1.1": func(u *httptest.Server, bundle string) []string {
			u.TLS.MaxVersion, u.TLS.MinVersion = tls.VersionTLS11, tls.VersionTLS10
			return []string{"SSL_CERT_FILE=" + bundle, "INTERWATER_URL=" + u.URL}
		},
	} {
		t.Run(name, func(t *testing.T) {
			var seen atomic.Int64
			upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen.Add(1) }))
			upstream.Config.ErrorLog = quiet()
			upstream.StartTLS()
			defer upstream.Close()
			bundle := filepath.Join(t.TempDir(), "roots.pem")
			block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: upstream.Certificate().Raw})
			if err := os.WriteFile(bundle, block, 0o600); err != nil {
				t.Fatal(err)
			}
			stands, client := newStands(t), newClient(t)
			r, _ := startProcess(t, settings(stands, newRedis(t).Addr, set(upstream, bundle)...))
			a := get(t, client, r.url+"/v1/info", stands.Glory.MintToken("1", time.Hour)).want(t, 503)
			cause, _ := r.log.wait(t, "request")["error"].(string)
			if seen.Load() > 0 || a.header.Get("Retry-After") == "" || !strings.Contains(cause, "tls") {
				t.Errorf("%d requests arrived; %+v; logged as %s", seen.Load(), a, cause)
			}
		})
	}
}
