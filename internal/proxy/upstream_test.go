package proxy

// What a client sees when an upstream fails: 502 or 504 if the answer hasn't begun, and otherwise a broken answer. It never sees a
// part that looks like a whole answer.

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"roomgate/internal/sandbox"
)

// bothTargets are targets of requests, one to each upstream.
var bothTargets = map[string]string{"/public-api/v1/health": "glory", "/v1/info": "interwater"}

func TestUpstreamThatCannotBeReachedIs502(t *testing.T) {
	t.Parallel()
	encrypted := httptest.NewUnstartedServer(http.NotFoundHandler())
	encrypted.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)
	encrypted.StartTLS() // with a certificate that nobody trusts
	defer encrypted.Close()
	plain := scripted(t, func(http.ResponseWriter, *http.Request) { t.Error("reached") })
	for name, upstream := range map[string]string{
		"closed port": "http://127.0.0.1:1", "no such host": "http://upstream.invalid:1",
		"untrusted certificate": encrypted.URL, "no TLS": "https://" + plain.Host,
	} {
		base := mustParse(upstream)
		g := start(t, func(o *setup) { o.Glory, o.Interwater = base, base })
		for target, name2 := range bothTargets {
			answer := g.get(t, target)
			answer.wantError(t, http.StatusBadGateway)
			if strings.Contains(answer.raw, base.Host) || strings.Contains(answer.raw, "dial") {
				t.Errorf("%s: %q", name, answer.raw)
			}
			if e := g.event(t); e["upstream"] != name2 || e["status"] != 502.0 || e["error"] == nil {
				t.Errorf("%s: event %v", name, e)
			}
		}
	}
}

func TestUpstreamThatGivesNoValidAnswerIs502(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, fault := range []sandbox.Fault{
		{Kind: sandbox.KindReset},
		{Kind: sandbox.KindRaw, Body: " "},
		{Kind: sandbox.KindRaw, Body: "hello\r\n\r\n"},
		{Kind: sandbox.KindRaw, Body: "HTTP/1.1 200"},
		{Kind: sandbox.KindRaw, Body: "HTTP/1.1 2x0 OK\r\n\r\n"},
		{Kind: sandbox.KindRaw, Body: "HTTP/1.1 200 OK\r\nno header\r\n\r\n"},
		{Kind: sandbox.KindRaw, Body: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"},
		{Kind: sandbox.KindRaw, Body: "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab"},
		{Kind: sandbox.KindRaw, Body: "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab"},
		{Kind: sandbox.KindRaw, Body: "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 70<<10) + "\r\n\r\n"},
		{Kind: sandbox.KindRaw, Body: strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("a", 1000)+"\r\n\r\n", 100)},
		{Kind: sandbox.KindRaw, Body: "\x16\x03\x01\x02"},
	} {
		g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Kind: fault.Kind, Body: fault.Body})
		g.Glory.SetFaults(fault)
		for target, upstream := range bothTargets {
			g.get(t, target).wantError(t, http.StatusBadGateway)
			if e := g.event(t); e["upstream"] != upstream || e["status"] != 502.0 {
				t.Errorf("%.60q: event %v", fault.Body, e)
			}
		}
	}
}

// net/http's errors quote what it can't parse. An upstream may have put there what the gateway sent.
func TestNothingThatAnUpstreamWroteIsLogged(t *testing.T) {
	t.Parallel()
	for _, form := range []string{
		"%s\r\n\r\n", "HTTP/1.1 %s\r\n\r\n", "HTTP/1.1 200 OK\r\n%s\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: %s\r\n\r\n", "HTTP/%s 200 OK\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n%s\r\n\r\n",
	} {
		upstream := scripted(t, func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, form, r.Header.Get("S-Connector-Jwt")+r.Header.Get("Authorization"))
		})
		g := start(t, func(o *setup) { o.Glory, o.Interwater = upstream, upstream })
		g.get(t, "/v1/info")
		g.event(t)
		g.do(t, "GET", "/api/x", "Authorization: Bearer MARKER")
		g.event(t)
		if log := g.logs.String(); strings.Contains(log, g.current) || strings.Contains(log, "MARKER") {
			t.Errorf("%q: %s", form, log)
		}
	}
}

func TestUpstreamThatIsSilentIs504(t *testing.T) {
	t.Parallel()
	g := start(t, func(o *setup) { o.GloryTimeout, o.InterwaterTimeout = 50*time.Millisecond, 50*time.Millisecond })
	g.Glory.SetFaults(sandbox.Fault{Kind: sandbox.KindHang})
	g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Kind: sandbox.KindHang}, sandbox.Fault{Path: "/v1/sessions", Delay: patience})
	for target, upstream := range bothTargets {
		g.get(t, target).wantError(t, http.StatusGatewayTimeout)
		if e := g.event(t); e["upstream"] != upstream || e["status"] != 504.0 {
			t.Errorf("event %v", e)
		}
	}
	g.get(t, "/v1/sessions").wantError(t, http.StatusGatewayTimeout)
}

func TestEachUpstreamHasItsOwnTimeLimit(t *testing.T) {
	t.Parallel()
	g := start(t, func(o *setup) { o.InterwaterTimeout = 20 * time.Millisecond })
	g.Glory.SetFaults(sandbox.Fault{Delay: 60 * time.Millisecond})
	g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Delay: patience})
	if answer := g.get(t, "/public-api/v1/health"); answer.status != 200 {
		t.Errorf("Glory: %d", answer.status)
	}
	g.get(t, "/v1/info").wantError(t, http.StatusGatewayTimeout)
}

func TestAnswerThatBreaksOffNeverLooksWhole(t *testing.T) {
	t.Parallel()
	g := start(t, func(o *setup) { o.GloryTimeout, o.InterwaterTimeout = time.Second, time.Second })
	const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
	for _, fault := range []sandbox.Fault{
		{Kind: sandbox.KindCut},
		{Kind: sandbox.KindTrickle, Interval: time.Hour}, // it stalls until the timeout
		{Kind: sandbox.KindRaw, Body: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"},
		{Kind: sandbox.KindRaw, Body: chunked},
		{Kind: sandbox.KindRaw, Body: chunked + "4\r\nha"},
		{Kind: sandbox.KindRaw, Body: chunked + "zz\r\n"},
	} {
		g.Glory.SetFaults(fault)
		fault.Path = "/v1/info"
		g.Interwater.SetFaults(fault)
		for target := range bothTargets {
			answer := g.get(t, target)
			if answer.status < 500 && answer.status != 0 && !answer.broken { // 0: it broke off before net/http had sent anything
				t.Errorf("%s %q: status %d, broken %v, body %q", fault.Kind, fault.Body, answer.status, answer.broken, answer.body)
			}
			g.event(t)
		}
	}
}

// readUntil reads until it has read the text.
func readUntil(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	var got strings.Builder
	for buffer := make([]byte, 1000); !strings.Contains(got.String(), text); {
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		got.Write(buffer[:n])
	}
}

func TestAnswerOfUnknownLengthArrivesAsItIsWritten(t *testing.T) {
	t.Parallel()
	first := make(chan struct{})
	defer close(first) // before the upstream is closed
	upstream := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first")
		_ = http.NewResponseController(w).Flush()
		<-first
		_, _ = io.WriteString(w, "second")
	})
	g := start(t, func(o *setup) { o.Glory = upstream })
	conn := g.dial(t)
	defer conn.Close()
	io.WriteString(conn, "GET /api/x HTTP/1.1\r\nHost: g\r\n\r\n")
	readUntil(t, conn, "first")
}

func TestClientThatLeavesCancelsTheUpstream(t *testing.T) {
	t.Parallel()
	arrived, cancelled := make(chan struct{}, 1), make(chan struct{}, 1)
	upstream := scripted(t, func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
		cancelled <- struct{}{}
	})
	for target, name := range bothTargets {
		g := start(t, func(o *setup) { o.Glory, o.Interwater = upstream, upstream })
		conn := g.dial(t)
		io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: g\r\n"+asMember+"\r\n\r\n")
		await(t, arrived)
		conn.Close()
		await(t, cancelled)
		if e := g.event(t); e["status"] != 499.0 || e["upstream"] != name || e["bytes"] != 0.0 {
			t.Errorf("%s: event %v", target, e)
		}
		if log := g.logs.String(); strings.Contains(log, `"level":"ERROR"`) {
			t.Errorf("%s: a client that leaves is no error: %s", target, log)
		}
	}
}

func TestOneRequestIsOneUpstreamRequest(t *testing.T) {
	t.Parallel()
	g := start(t)
	for _, status := range []int{500, 502, 503, 504, 429, 408, 425} {
		g.Glory.Reset()
		g.Interwater.Reset()
		g.Glory.SetFaults(sandbox.Fault{Status: status})
		g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Status: status})
		for target := range bothTargets {
			if answer := g.get(t, target); answer.status != status {
				t.Errorf("%d became %d", status, answer.status)
			}
		}
		if a, b := len(g.Glory.Requests()), g.Interwater.RoomCalls(); a != 1 || b != 1 {
			t.Errorf("%d: Glory saw %d, Interwater %d", status, a, b)
		}
	}
}

func TestEnvironmentNamesNoProxy(t *testing.T) {
	proxy := scripted(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("the proxy saw %s %v", r.RequestURI, r.Header) })
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"} {
		t.Setenv(name, proxy.String())
	}
	elsewhere := &url.URL{Scheme: "http", Host: "upstream.invalid"} // net/http never uses a proxy for loopback
	g := start(t, func(o *setup) { o.Glory, o.Interwater = elsewhere, elsewhere })
	for target := range bothTargets {
		g.get(t, target).wantError(t, http.StatusBadGateway)
	}
}
