package proxy

// A failing upstream must not take down the gateway or the other upstream. Each request gives its slot back. Only the upstream's own
// failures open its circuit, and those of clients don't.

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"roomgate/internal/sandbox"
)

// circuitLeast is how many failed calls open a circuit.
const circuitLeast = 20

// A call gives its slot back after any kind of answer.
func TestPlacesAreGivenBack(t *testing.T) {
	for _, coalesce := range []bool{false, true} {
		g := start(t, func(o *setup) { o.MaxInFlight, o.RoomCoalesce, o.RoomCacheTTL = 2, coalesce, 0 })
		for i := range 10 {
			for _, target := range []string{"/v1/info", "/v1/sessions", "/v1/sessions/nowhere", "/public-api/v1/health"} {
				if answer := g.get(t, target); answer.status != 200 && answer.status != 404 {
					t.Fatalf("coalescing %v: %s has status %d the %dth time", coalesce, target, answer.status, i+1)
				}
			}
		}
	}
}

func TestOpenCircuitIs503AndTheOtherUpstreamIsUntouched(t *testing.T) {
	for target, name := range bothTargets {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := start(t)
			other := "/v1/info"
			if name == "glory" {
				g.Glory.SetFaults(sandbox.Fault{Kind: sandbox.KindReset})
			} else {
				g.Interwater.SetFaults(sandbox.Fault{Path: target, Kind: sandbox.KindReset})
				other = "/public-api/v1/health"
			}
			for i := range circuitLeast {
				if answer := g.get(t, target); answer.status != 502 {
					t.Fatalf("%d: status %d", i, answer.status)
				}
				g.event(t)
			}
			asked := func() int { return len(g.Glory.Requests()) + len(g.Interwater.RoomRequests()) }
			for range 3 {
				before, answer := asked(), g.get(t, target)
				for i := 0; i < circuitLeast && answer.status == 502; i++ { // on a slow machine the circuit's pause may be over: open it again
					before, answer = asked(), g.get(t, target)
				}
				answer.wantError(t, http.StatusServiceUnavailable)
				if got := answer.header.Get("Retry-After"); got != "1" || asked() != before {
					t.Errorf("Retry-After %q, and the upstreams were asked %d times", got, asked()-before)
				}
				if answer := g.get(t, other); answer.status != 200 {
					t.Errorf("the other upstream has status %d", answer.status)
				}
			}
			g.Glory.Reset()
			g.Interwater.Reset()
			eventually(t, "the upstream is asked again", func() bool { return g.get(t, target).status == 200 })
		})
	}
}

// Failures that clients cause don't count, however many. Catalogue: O06.
func TestClientsFaultsOpenNoCircuit(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 100)
	upstream := scripted(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			arrived <- struct{}{}
			_, _ = io.Copy(io.Discard, r.Body)
		}
	})
	declared, chunked := "Content-Length: 9\r\n\r\nabc", "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"
	for rule, tt := range map[string]struct {
		timeout time.Duration // of the upstreams
		begin   string
		end     func(net.Conn)
	}{
		"a broken chunk": {patience, chunked, func(conn net.Conn) { io.WriteString(conn, "zz\r\n") }},
		"a body cut off": {patience, declared, func(conn net.Conn) { closeWrite(conn) }},
		"a client gone":  {patience, declared, func(conn net.Conn) { conn.Close() }},
		"a slow body": {200 * time.Millisecond, declared, func(conn net.Conn) { // the upstream's timeout ends before the last byte
			time.AfterFunc(500*time.Millisecond, func() { closeWrite(conn) })
		}},
	} {
		g := start(t, func(o *setup) {
			o.Glory, o.Interwater, o.GloryTimeout, o.InterwaterTimeout = upstream, upstream, tt.timeout, tt.timeout
			o.RoomRoutes = append(o.RoomRoutes, "POST /v1/rooms")
		})
		for _, target := range []string{"/api/x", "/v1/rooms"} {
			for range circuitLeast + 5 {
				conn := g.dial(t)
				defer conn.Close()
				io.WriteString(conn, "POST "+target+" HTTP/1.1\r\nHost: g\r\n"+asMember+"\r\n"+tt.begin)
				if tt.timeout == patience {
					await(t, arrived)
				}
				tt.end(conn)
			}
			for range circuitLeast + 5 {
				if e := g.event(t); e["status"] != 400.0 && e["status"] != 499.0 {
					t.Errorf("%s: event %v", rule, e)
				}
			}
		}
		for target, name := range bothTargets {
			if answer := g.get(t, target); answer.status == 503 {
				t.Errorf("%s: the circuit of %s is open", rule, name)
			}
		}
	}
}
