package proxy

// How often one request is sent. A GET whose connection dies before the first byte is sent once more, but never again, however many idle
// connections there are.

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"roomgate/internal/sandbox"
)

func TestDeadConnectionsAreOneRepetition(t *testing.T) {
	t.Parallel()
	g := start(t)
	fillPool(t, g, 10)
	g.Interwater.SetFaults(sandbox.Fault{Kind: sandbox.KindReset})
	g.get(t, "/v1/info").wantError(t, http.StatusBadGateway)
	if n := len(g.roomsSeen()); n != 2 {
		t.Errorf("one request was sent %d times", n)
	}
	// One dead connection among good ones doesn't fail the request.
	g.Interwater.Reset()
	fillPool(t, g, 10)
	g.Interwater.SetFaults(sandbox.Fault{Kind: sandbox.KindReset, Times: 1})
	if got := g.get(t, "/v1/info"); got.status != 200 {
		t.Errorf("status %d", got.status)
	}
}

func TestPostOnADeadConnectionIsNotRepeated(t *testing.T) {
	g := start(t)
	g.do(t, http.MethodGet, "/public-api/v1/health")
	g.Glory.Reset()
	g.Glory.SetFaults(sandbox.Fault{Kind: sandbox.KindReset})
	g.raw(t, "POST /public-api/v1/login HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\n\r\n{}").wantError(t, http.StatusBadGateway)
	if n := len(g.Glory.Requests()); n != 1 {
		t.Errorf("one request was sent %d times", n)
	}
}

// fillPool sends n slow requests at once. It leaves about n idle connections to Interwater.
func fillPool(t *testing.T, g *gateway, n int) {
	t.Helper()
	g.Interwater.SetFaults(sandbox.Fault{Delay: 200 * time.Millisecond})
	var wg sync.WaitGroup
	var failed atomic.Int64
	for range n {
		wg.Go(func() {
			if got := g.get(t, "/v1/info"); got.status != 200 || !strings.Contains(got.body, "domain") {
				failed.Add(1)
			}
		})
	}
	wg.Wait()
	if failed.Load() > 0 {
		t.Fatalf("%d requests failed", failed.Load())
	}
	g.Interwater.Reset()
}
