package proxy

// What a member sees of Interwater's answers: whole, broken off or shared.

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"roomgate/internal/sandbox"
)

// answering is an upstream that answers every request with raw bytes, and counts the requests. %s in the bytes stands for the access token.
func answering(t *testing.T, raw string) (at func(*setup), calls *atomic.Int64) {
	t.Helper()
	calls = new(atomic.Int64)
	base := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, strings.ReplaceAll(raw, "%s", r.Header.Get("S-Connector-Jwt")))
	})
	return func(o *setup) { o.Interwater = base }, calls
}

const chunkedHead = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"

// A small answer is read whole before any of it is passed on, with or without Content-Length.
func TestSmallAnswerThatBreaksOffIs502(t *testing.T) {
	for _, raw := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", chunkedHead + "4\r\nhalf\r\n", chunkedHead + "4\r\nhalf\r\n8\r\nand", chunkedHead + "zz\r\n",
	} {
		at, _ := answering(t, raw)
		start(t, at).get(t, "/v1/info").wantError(t, http.StatusBadGateway)
	}
}

func TestAnswerThatShowsTheAccessTokenIs502(t *testing.T) {
	for _, raw := range []string{
		"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"token\":\"%s\"}", chunkedHead + "fff\r\n%s" + strings.Repeat("x", 0xfff) + "\r\n0\r\n\r\n",
	} {
		at, _ := answering(t, raw)
		g := start(t, at)
		answer := g.get(t, "/v1/info")
		if answer.wantError(t, http.StatusBadGateway); strings.Contains(answer.raw, g.current) {
			t.Errorf("%.60q: the token is shown", raw)
		}
	}
}

// An answer that has begun can't become a 502. Its error is in the log and in the metrics.
func TestAnswerThatBreaksOffLateIsLoggedWithItsError(t *testing.T) {
	long := strings.Repeat("x", 2*smallAnswer)
	for target, change := range map[string]func(*setup, *setup){
		"/v1/info": func(o, from *setup) { o.Interwater = from.Interwater }, "/api/x": func(o, from *setup) { o.Glory = from.Interwater },
	} {
		at, _ := answering(t, fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", 2*len(long), long))
		var from setup
		at(&from)
		g := start(t, func(o *setup) { change(o, &from) })
		if answer := g.get(t, target); answer.status != 200 || !answer.broken {
			t.Errorf("%s: %d, broken %v", target, answer.status, answer.broken)
		}
		if e := g.event(t); e["status"] != 200.0 || e["error"] == nil {
			t.Errorf("%s: event %v", target, e)
		}
	}
}

// together sends two requests at the same time, with different headers. It returns both answers and the number of calls.
func together(t *testing.T, answerHeader string, one, other []string) (a, b reply, calls int) {
	t.Helper()
	arrived, let := make(chan struct{}, 2), make(chan struct{})
	var n atomic.Int64
	base := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		arrived <- struct{}{}
		<-let
		name, value, _ := strings.Cut(answerHeader, ": ")
		w.Header().Set(name, value)
		_, _ = io.WriteString(w, r.UserAgent()+r.Header.Get("X-Forwarded-Host"))
	})
	g := start(t, func(o *setup) { o.Interwater, o.RoomCoalesce = base, true })
	answers := make(chan reply, 2)
	go func() { answers <- g.get(t, "/v1/info", one...) }()
	await(t, arrived)
	later := make(chan reply, 2)
	go func() { later <- g.get(t, "/v1/info", other...) }()
	eventually(t, "both have been admitted", func() bool { return len(g.asked("authorize")) == 2 })
	close(let)
	return await(t, answers), await(t, later), int(n.Load())
}

func TestAnswersAreSharedOnlyWhereTheyAreTheSame(t *testing.T) {
	agents := func(name string) []string { return []string{"User-Agent: " + name} }
	// The second request may come too late to share, but not every time.
	sharing := func(answerHeader string) (a, b reply, calls int) {
		for range 10 {
			if a, b, calls = together(t, answerHeader, agents("a"), agents("b")); calls == 1 {
				break
			}
		}
		return a, b, calls
	}
	a, b, calls := sharing("Set-Cookie: stick=1")
	if calls != 1 || a.body != b.body || len(a.header["Set-Cookie"])+len(b.header["Set-Cookie"]) > 0 {
		t.Errorf("an answer with a cookie, which the gateway drops: %d calls, %q and %q", calls, a.body, b.body)
	}
	if a, b, calls = together(t, "Vary: User-Agent", agents("a"), agents("b")); calls != 2 || a.body == b.body {
		t.Errorf("Vary names what is not in the question: %d calls, %q and %q", calls, a.body, b.body)
	}
	if a, b, calls = sharing("Vary: Accept, Accept-Encoding, Origin"); calls != 1 || a.body != b.body {
		t.Errorf("Vary names what is in the question: %d calls, %q and %q", calls, a.body, b.body)
	}
	if a, b, calls = together(t, "X: y", []string{"Host: a.test"}, []string{"Host: b.test"}); calls != 2 || a.body == b.body {
		t.Errorf("another host: %d calls, %q and %q", calls, a.body, b.body)
	}
}

func TestContentHeadersGoUpWithABodyAlone(t *testing.T) {
	g := start(t)
	g.get(t, "/v1/info", "Content-Type: text/plain", "Content-Encoding: gzip", "Content-Language: ko")
	for name := range g.Interwater.LastRoomRequest().Header {
		if strings.HasPrefix(name, "Content-") {
			t.Errorf("%s reached Interwater with a GET", name)
		}
	}
}

// If Interwater hangs, all members who ask for the same room get a 504 after one timeout. Interwater gets few requests.
func TestAHangingUpstreamCostsEachMemberOneTimeout(t *testing.T) {
	g := start(t, func(o *setup) { o.InterwaterTimeout, o.RoomCoalesce = joinTime/2, true })
	g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Kind: sandbox.KindHang})
	answers := make(chan reply)
	for range 30 {
		go func() { answers <- g.get(t, "/v1/info") }()
	}
	for range 30 {
		await(t, answers).wantError(t, http.StatusGatewayTimeout)
	}
	if calls := g.Interwater.RoomCalls(); calls > 15 {
		t.Errorf("%d calls for 30 members", calls)
	}
}

func TestTheTokenIsFoundWhereverItStands(t *testing.T) {
	for _, token := range []string{"aa.bb.cc", "opaque", ".x", "a..b"} {
		for _, frame := range []string{"%s", "{%s}", ".%s", "a.%s.", "aa.bb.%s", "aa.%s", "a.a.b%s"} {
			text := fmt.Sprintf(frame, token)
			if !contains([]byte(text), token) {
				t.Errorf("%q is not found in %q", token, text)
			}
			if broken := strings.Replace(text, token, token[:len(token)-1]+"!", 1); contains([]byte(broken), token) != strings.Contains(broken, token) {
				t.Errorf("%q is found in %q", token, broken)
			}
		}
	}
	if contains(nil, "a.b") || contains([]byte("a."), "a.b") {
		t.Error("found in what is shorter")
	}
}

// BenchmarkContains searches 64 KiB of JSON for a JWT that isn't there.
func BenchmarkContains(b *testing.B) {
	text, token := roomList(64<<10), "eyJhbGciOiJIUzM4NCJ9."+strings.Repeat("eyJzdWIiOiIx", 12)+"."+strings.Repeat("k", 64)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if contains(text, token) {
			b.Fatal("found")
		}
	}
}
