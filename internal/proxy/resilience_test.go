package proxy

// This file holds what keeps one failing upstream from taking the gateway, and the other upstream, with it: places that come
// back, and a circuit that the upstream's own faults open and no client's.

import (
	"context"
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

	"roomgate/internal/bridge"
	"roomgate/internal/sandbox"
)

// upstreamFunc stands for what is behind a gate.
type upstreamFunc func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f upstreamFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// pass sends a GET through the gate.
func (g *gate) pass() (*http.Response, error) {
	r, err := http.NewRequest(http.MethodGet, "http://upstream", nil)
	if err != nil {
		return nil, err
	}
	return g.RoundTrip(withExchange(r, &exchange{}))
}

func statusAnswer(status int) *http.Response {
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("body"))}
}

// Whatever an answer is, its place is given back.
func TestPlacesAreGivenBack(t *testing.T) {
	for _, coalesce := range []bool{false, true} {
		g := start(t, func(o *Options) { o.MaxInFlight, o.RoomCoalesce, o.RoomCacheTTL = 2, coalesce, 0 })
		for i := range 10 {
			for _, target := range []string{"/v1/info", "/v1/sessions", "/v1/sessions/nowhere", "/public-api/v1/health"} {
				if answer := g.get(t, target); answer.status != 200 && answer.status != 404 {
					t.Fatalf("coalescing %v: %s has status %d the %dth time", coalesce, target, answer.status, i+1)
				}
			}
		}
	}
}

func TestPlacesComeBack(t *testing.T) {
	answer := statusAnswer(200)
	var failure error
	var panics any
	g := newGate("u", 2, newMetrics(false), upstreamFunc(func(*http.Request) (*http.Response, error) {
		if panics != nil {
			panic(panics)
		}
		return answer, failure
	}))
	wantFree := func(when string, places int) {
		t.Helper()
		if free := g.slots.TryAcquire(int64(places)); !free || g.slots.TryAcquire(int64(3-places)) {
			t.Fatalf("%s: not %d places are free", when, places)
		}
		g.slots.Release(int64(places))
	}
	wantFree("at first", 2)
	first, _ := g.pass()
	wantFree("with an answer unread", 1)
	second, _ := g.pass()
	if _, err := g.pass(); !errors.Is(err, errOverloaded) {
		t.Errorf("a third call: %v", err)
	}
	first.Body.Close()
	first.Body.Close()
	wantFree("after a body was closed twice", 1)
	second.Body.Close()
	wantFree("after both were", 2)
	for range 5 {
		failure = io.ErrUnexpectedEOF
		if _, err := g.pass(); !errors.Is(err, failure) {
			t.Errorf("%v", err)
		}
		failure = nil
		for _, panics = range []any{"boom", http.ErrAbortHandler} {
			func() {
				defer func() { recover() }()
				_, _ = g.pass()
				t.Error("the panic was swallowed")
			}()
		}
		panics = nil
	}
	wantFree("after failures and panics", 2)
}

// feed makes n calls that end as bad says, none of which may meet an open circuit.
func (g *gate) feed(t *testing.T, next *error, n int, bad func(i int) error) {
	t.Helper()
	for i := range n {
		*next = bad(i)
		answer, err := g.pass()
		if errors.Is(err, errCircuit) {
			t.Fatalf("call %d: the circuit is open", i)
		}
		if err == nil {
			answer.Body.Close()
		}
	}
}

// withGate runs f in a bubble with a gate whose upstream fails with *next, or answers 500.
func withGate(t *testing.T, f func(t *testing.T, g *gate, next *error, calls *int)) {
	synctest.Test(t, func(t *testing.T) {
		var next error
		calls := 0
		f(t, newGate("u", 10, newMetrics(false), upstreamFunc(func(*http.Request) (*http.Response, error) {
			calls++
			if next != nil {
				return nil, next
			}
			return statusAnswer(500), nil
		})), &next, &calls)
	})
}

func TestCircuitOpensByHalfOfTwentyAndCloses(t *testing.T) {
	withGate(t, func(t *testing.T, g *gate, next *error, calls *int) {
		fault := fmt.Errorf("u: %w", bridge.ErrUpstreamTimeout)
		g.feed(t, next, breakerLeast-1, func(int) error { return fault }) // too few to tell
		*next = nil
		if answer, err := g.pass(); err != nil {
			t.Fatal(err)
		} else {
			answer.Body.Close()
		}
		*next = fault
		if _, err := g.pass(); !errors.Is(err, fault) {
			t.Fatal(err)
		}
		for range 3 { // open: nobody is asked, until the pause is over
			before := *calls
			if _, err := g.pass(); !errors.Is(err, errCircuit) || *calls != before {
				t.Fatalf("%v, %d calls", err, *calls-before)
			}
			time.Sleep(breakerPause - time.Nanosecond)
			if _, err := g.pass(); !errors.Is(err, errCircuit) {
				t.Fatalf("within the pause: %v", err)
			}
			time.Sleep(2 * time.Nanosecond)
			if _, err := g.pass(); !errors.Is(err, fault) { // still failing: open again
				t.Fatalf("after the pause: %v", err)
			}
		}
		time.Sleep(breakerPause + time.Nanosecond)
		*next = nil
		g.feed(t, next, breakerHalfway, func(int) error { return nil })
		if state := g.breaker.State().String(); state != "closed" {
			t.Errorf("after %d good answers it is %s", breakerHalfway, state)
		}
		g.feed(t, next, breakerLeast-breakerHalfway, func(int) error { return fault }) // what was before is forgotten
	})
}

func TestCircuitLetsFewThroughAtFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release, failing := make(chan struct{}), true
		g := newGate("u", 100, newMetrics(false), upstreamFunc(func(*http.Request) (*http.Response, error) {
			if failing {
				return nil, bridge.ErrUpstream
			}
			<-release
			return statusAnswer(200), nil
		}))
		for range breakerLeast {
			_, _ = g.pass()
		}
		failing = false
		time.Sleep(breakerPause + time.Nanosecond)
		var wg sync.WaitGroup
		for range breakerHalfway {
			wg.Go(func() {
				if answer, err := g.pass(); err != nil {
					t.Error(err)
				} else {
					answer.Body.Close()
				}
			})
		}
		synctest.Wait()
		if _, err := g.pass(); !errors.Is(err, errCircuit) {
			t.Errorf("one more than %d: %v", breakerHalfway, err)
		}
		close(release)
		wg.Wait()
		if answer, err := g.pass(); err != nil {
			t.Error(err)
		} else {
			answer.Body.Close()
		}
	})
}

func TestOldFaultsAreForgotten(t *testing.T) {
	withGate(t, func(t *testing.T, g *gate, next *error, _ *int) {
		for range 10 { // fewer than breakerLeast within any breakerWindow
			g.feed(t, next, breakerLeast/2-1, func(int) error { return bridge.ErrUpstream })
			time.Sleep(breakerWindow/2 + time.Second)
		}
	})
}

func TestCircuitStaysClosedByWhatIsNotTheUpstreamsFault(t *testing.T) {
	for rule, cause := range map[string]error{
		"its own 500": nil, "a client that left": context.Canceled, "a broken body": fmt.Errorf("%w: chunk", errBody),
		"a body too large": errBodySize, "a route that the guard refused": errGuard,
	} {
		withGate(t, func(t *testing.T, g *gate, next *error, _ *int) {
			g.feed(t, next, 1000, func(int) error { return cause })
			if state := g.breaker.State().String(); state != "closed" {
				t.Errorf("%s: %s", rule, state)
			}
		})
	}
}

// Clients lose patience when an upstream hangs. Those who leave must not pass for good answers.
func TestClientsWhoLeaveDoNotHideAFault(t *testing.T) {
	withGate(t, func(t *testing.T, g *gate, next *error, _ *int) {
		for i := range 20 * breakerLeast {
			*next = context.Canceled
			if i%10 == 0 {
				*next = bridge.ErrUpstreamTimeout
			}
			if _, err := g.pass(); errors.Is(err, errCircuit) {
				return
			}
		}
		t.Error("nine of ten left, the tenth had no answer: the circuit is still closed")
	})
}

func TestOpenCircuitIs503AndTheOtherUpstreamIsUntouched(t *testing.T) {
	for target, name := range bothTargets {
		g := start(t)
		other := "/v1/info"
		if name == "glory" {
			g.Glory.SetFaults(sandbox.Fault{Kind: sandbox.KindReset})
		} else {
			g.Interwater.SetFaults(sandbox.Fault{Path: target, Kind: sandbox.KindReset})
			other = "/public-api/v1/health"
		}
		for i := range breakerLeast {
			if answer := g.get(t, target); answer.status != 502 {
				t.Fatalf("%s %d: status %d", name, i, answer.status)
			}
			g.event(t)
		}
		g.Glory.Reset()
		g.Interwater.Reset()
		for range 3 {
			answer := g.get(t, target)
			answer.wantError(t, http.StatusServiceUnavailable)
			if got := answer.header.Get("Retry-After"); got != "1" {
				t.Errorf("Retry-After %q", got)
			}
			if answer := g.get(t, other); answer.status != 200 {
				t.Errorf("%s: the other upstream has status %d", name, answer.status)
			}
		}
		if calls := g.Glory.Calls(target) + len(g.Interwater.RoomRequests()); calls > 3 {
			t.Errorf("%s: upstreams saw %d requests, want the 3 to the other one at most", name, calls)
		}
		eventually(t, "the upstream is asked again", func() bool { return g.get(t, target).status == 200 })
	}
}

// Catalogue O06: what clients do wrong is theirs, however often they do.
func TestClientsFaultsOpenNoCircuit(t *testing.T) {
	arrived := make(chan struct{}, 100)
	upstream := scripted(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			arrived <- struct{}{}
			_, _ = io.Copy(io.Discard, r.Body)
		}
	})
	g := start(t, func(o *Options) {
		o.Glory, o.Interwater, o.GloryTimeout, o.InterwaterTimeout = upstream, upstream, 100*time.Millisecond, 100*time.Millisecond
		o.RoomRoutes = append(o.RoomRoutes, "POST /v1/rooms")
	})
	declared, chunked := "Content-Length: 9\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
	for _, target := range []string{"/api/x", "/v1/rooms"} {
		for rule, tt := range map[string]struct {
			begin string
			end   func(net.Conn)
		}{
			"a broken chunk": {chunked, func(conn net.Conn) { io.WriteString(conn, "zz\r\n") }},
			"a body cut off": {declared, func(conn net.Conn) { closeWrite(conn) }},
			"a client gone":  {declared, func(conn net.Conn) { conn.Close() }},
			"a slow body": {declared, func(conn net.Conn) { // the upstream's time is over long before the last byte
				tick := time.NewTicker(40 * time.Millisecond)
				defer tick.Stop()
				for range 5 {
					<-tick.C
					io.WriteString(conn, "d")
				}
				closeWrite(conn)
			}},
		} {
			var clients sync.WaitGroup
			for range breakerLeast + 5 {
				conn := g.dial(t)
				defer conn.Close()
				io.WriteString(conn, "POST "+target+" HTTP/1.1\r\nHost: g\r\n"+asMember+"\r\n"+tt.begin)
				await(t, arrived)
				clients.Go(func() { tt.end(conn) })
			}
			clients.Wait()
			for range breakerLeast + 5 {
				if e := g.event(t); e["status"] != 400.0 && e["status"] != 499.0 {
					t.Errorf("%s: event %v", rule, e)
				}
			}
		}
	}
	for _, target := range []string{"/api/x", "/v1/info"} {
		if answer := g.get(t, target); answer.status != 200 {
			t.Errorf("%s: status %d", target, answer.status)
		}
	}
}
