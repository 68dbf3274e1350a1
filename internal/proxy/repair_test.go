package proxy

// If Interwater rejects the access token, the gateway repeats the room request if that is safe. The client never gets the rejection.

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"roomgate/internal/bridge"
	"roomgate/internal/sandbox"
)

func TestRejectedTokenIsReplacedAndTheRequestRepeated(t *testing.T) {
	for _, status := range []int{401, 403} {
		for _, method := range []string{"GET", "HEAD"} {
			g := start(t)
			g.get(t, "/v1/info")
			old := g.current
			g.Interwater.Reset()
			g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/sessions/*", Status: status, Times: 1, Body: `{"you are":"logged out"}`})
			g.event(t)

			answer := g.do(t, method, "/v1/sessions/gsda11?a=%20&b", asMember, "Accept: text/x", "X-Request-Id: one")
			if answer.status != 200 || (answer.body == "") != (method == "HEAD") {
				t.Errorf("%s after %d: %d %q", method, status, answer.status, answer.body)
			}
			if got, want := g.asked("reject"), []string{"reject " + old}; !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			if got := g.asked("refuse"); len(got) > 0 {
				t.Errorf("%q", got)
			}
			seen := g.Interwater.RoomRequests()
			if len(seen) != 2 {
				t.Fatalf("Interwater saw %d requests", len(seen))
			}
			for i, token := range []string{old, g.current} {
				h := seen[i].Header
				if !slices.Equal(h["S-Connector-Jwt"], []string{token}) || seen[i].RequestURI != "/v1/sessions/gsda11?a=%20&b" ||
					seen[i].Method != method || h.Get("Accept") != "text/x" || h.Get("X-Request-Id") != "one" {
					t.Errorf("request %d: %+v, want the token %s", i, seen[i], token)
				}
			}
			if old == g.current {
				t.Error("the same token again")
			}
			if e := g.event(t); e["status"] != 200.0 || e["token_source"] != "fetched" {
				t.Errorf("event %v", e)
			}
		}
	}
}

func TestRevokedTokenIsReplaced(t *testing.T) {
	g := start(t)
	g.get(t, "/v1/info")
	g.Interwater.RevokeTokens() // now the stand-in rejects the token itself, without a fault
	if answer := g.get(t, "/v1/info"); answer.status != 200 {
		t.Errorf("status %d", answer.status)
	}
}

func TestSecondRejectionIs502AndRefusesTheToken(t *testing.T) {
	for _, status := range []int{401, 403} {
		for _, method := range []string{"GET", "HEAD"} {
			g := start(t)
			g.get(t, "/v1/info")
			old := g.current
			g.Interwater.Reset()
			g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Status: status})
			answer := g.do(t, method, "/v1/info", asMember)
			if method == "GET" {
				answer.wantError(t, http.StatusBadGateway)
			}
			if answer.status != 502 || answer.header.Get("Retry-After") != "60" || len(answer.header["Www-Authenticate"]) > 0 {
				t.Errorf("%q", answer.raw)
			}
			if got, want := g.asked("re"), []string{"reject " + old, "refuse " + g.current}; !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			if n := g.Interwater.RoomCalls(); n != 2 {
				t.Errorf("Interwater saw %d requests", n)
			}
		}
	}
}

func TestATokenThatWasNotFetchedForTheRequestIsReplacedToo(t *testing.T) {
	for _, tt := range []struct {
		times, status, sent int // how often Interwater rejects, the client's status, how often the request is sent
		stale               []string
		asked               []string
	}{
		{2, 200, 3, []string{"second"}, []string{"reject first", "reject second"}},
		{3, 502, 3, []string{"second"}, []string{"reject first", "reject second", "refuse third"}},
		{3, 502, 3, []string{"second", "third"}, []string{"reject first", "reject second", "reject third"}},
	} {
		g := start(t)
		names := []string{"first", "second", "third", "fourth"}
		g.issue = func() string { name := names[0]; names = names[1:]; return name }
		g.stale = tt.stale
		g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Status: 401, Times: tt.times}, sandbox.Fault{Path: "/v1/info", Status: 200})
		answer := g.get(t, "/v1/info")
		if answer.status != tt.status || (answer.header.Get("Retry-After") == "") != (tt.status == 200) || g.Interwater.RoomCalls() != tt.sent {
			t.Errorf("%+v: %d after %d calls", tt, answer.status, g.Interwater.RoomCalls())
		}
		if got := g.asked("re"); !slices.Equal(got, tt.asked) {
			t.Errorf("%q, want %q", got, tt.asked)
		}
	}
}

func TestOtherMethodsAreNeverSentTwice(t *testing.T) {
	var bodies []string
	upstream := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
		w.WriteHeader(http.StatusUnauthorized)
	})
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		bodies = nil
		g := start(t, func(o *setup) { o.Interwater, o.RoomRoutes = upstream, []string{method + " /v1/rooms"} })
		for n, request := range []string{"Content-Length: 4\r\n\r\nbody", "Content-Length: 0\r\nIdempotency-Key: k\r\n\r\n"} {
			answer := g.raw(t, method+" /v1/rooms HTTP/1.1\r\nHost: g\r\n"+asMember+"\r\n"+request)
			answer.wantError(t, http.StatusBadGateway)
			if answer.header.Get("Retry-After") == "" {
				t.Errorf("%s: no Retry-After though the token is the cause", method)
			}
			if got := g.asked("re"); len(got) != n+1 || len(bodies) != n+1 || g.current != "" {
				t.Errorf("%s: %q, upstream saw %q, the token is still %q", method, got, bodies, g.current)
			}
		}
		if !slices.Equal(bodies, []string{"body", ""}) {
			t.Errorf("%s: upstream saw %q", method, bodies)
		}
	}
}

func TestOnlyTheSettingsSayWhatARejectionIs(t *testing.T) {
	g := start(t, func(o *setup) { o.RejectStatuses = []int{419} })
	for _, status := range []int{401, 403} {
		g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Status: status})
		if answer := g.get(t, "/v1/info"); answer.status != status {
			t.Errorf("%d became %d", status, answer.status)
		}
	}
	g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Status: 419, Times: 1})
	if answer := g.get(t, "/v1/info"); answer.status != 200 || len(g.asked("reject")) != 1 {
		t.Errorf("%d, %q", answer.status, g.asked("re"))
	}
}

func TestGlorysRejectionsAreTheMembersOwn(t *testing.T) {
	g := start(t)
	for _, status := range []int{401, 403} {
		g.Glory.SetFaults(sandbox.Fault{Status: status})
		if answer := g.get(t, "/api/v1/profile"); answer.status != status {
			t.Errorf("%d became %d", status, answer.status)
		}
	}
	if asked := g.asked(""); len(asked) > 0 {
		t.Errorf("the bridge was asked %q", asked)
	}
}

func TestFailureOfTheRepairIsAnswered(t *testing.T) {
	refused := &bridge.NoCredential{Refused: true, RetryAfter: 1500 * time.Millisecond, Err: errors.New("SECRET")}
	waiting := &bridge.NoCredential{RetryAfter: 200 * time.Millisecond, Err: errors.New("SECRET")}
	for _, tt := range []struct {
		rule       string
		arrange    func(*gateway)
		status     int
		retryAfter string
		calls      int
	}{
		{"no token", func(g *gateway) { g.credential = func() error { return waiting } }, 503, "1", 0},
		{"refused license", func(g *gateway) { g.credential = func() error { return refused } }, 502, "2", 0},
		{"a generation that is known to be refused", func(g *gateway) { g.reject = func() error { return refused } }, 502, "2", 1},
		{"no second token", func(g *gateway) { g.credential = once(waiting) }, 503, "1", 1},
		{"second token refused by v1/auth", func(g *gateway) { g.credential = once(refused) }, 502, "2", 1},
	} {
		g := start(t)
		g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Status: 403})
		tt.arrange(g)
		answer := g.get(t, "/v1/info")
		answer.wantError(t, tt.status)
		if got := answer.header.Get("Retry-After"); got != tt.retryAfter {
			t.Errorf("%s: Retry-After %q, want %q", tt.rule, got, tt.retryAfter)
		}
		if n := g.Interwater.RoomCalls(); n != tt.calls {
			t.Errorf("%s: Interwater saw %d requests, want %d", tt.rule, n, tt.calls)
		}
	}
}

// once succeeds the first time and then fails.
func once(err error) func() error {
	first := true
	return func() error {
		if first {
			first = false
			return nil
		}
		return err
	}
}

func TestSecondAttemptThatFailsOtherwiseIsThatFailure(t *testing.T) {
	g := start(t)
	g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Status: 401, Times: 1}, sandbox.Fault{Path: "/v1/info", Kind: sandbox.KindReset})
	g.get(t, "/v1/info").wantError(t, http.StatusBadGateway)
	if got := g.asked("refuse"); len(got) > 0 {
		t.Errorf("%q for an upstream that broke off", got)
	}
	g.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Status: 401, Times: 1}, sandbox.Fault{Path: "/v1/info", Status: 503, RetryAfter: 7})
	if answer := g.get(t, "/v1/info"); answer.status != 503 || answer.header.Get("Retry-After") != "7" {
		t.Errorf("%q", answer.raw)
	}
}

// The connection of a rejected attempt must be used again. Otherwise each rejection on a busy gateway would cost a new connection.
func TestRejectedAttemptsGiveTheirConnectionBack(t *testing.T) {
	var peers []string
	upstream := scripted(t, func(w http.ResponseWriter, r *http.Request) {
		peers = append(peers, r.RemoteAddr)
		if len(peers)%2 == 1 {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, "no")
		}
	})
	g := start(t, func(o *setup) { o.Interwater = upstream })
	for range 5 {
		if answer := g.get(t, "/v1/info"); answer.status != 200 {
			t.Fatalf("status %d", answer.status)
		}
	}
	if len(slices.Compact(slices.Sorted(slices.Values(peers)))) != 1 {
		t.Errorf("connections %q", peers)
	}
}
