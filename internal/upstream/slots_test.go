package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestSlotIsHeldUntilTheAnswerEnds(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u := listen(t, serveChunked)
		rt, results := k.counted(t, u, Options{Slots: 2})
		rt.wantFree(t, 2)
		first, err := rt.RoundTrip(newRequest(t.Context(), t, "GET", u.base))
		if err != nil {
			t.Fatal(err)
		}
		rt.wantFree(t, 1)
		second, err := rt.RoundTrip(newRequest(t.Context(), t, "GET", u.base))
		if err != nil {
			t.Fatal(err)
		}
		body := &watched{Reader: strings.NewReader("x")}
		r := newRequest(t.Context(), t, "POST", u.base)
		r.Body = body
		if _, err := rt.RoundTrip(r); !errors.Is(err, ErrBusy) || !body.closed.Load() {
			t.Errorf("a third call: %v, its body closed: %v", err, body.closed.Load())
		}
		first.Body.Close()
		first.Body.Close()
		rt.wantFree(t, 1)
		if _, err := io.ReadAll(second.Body); err != nil {
			t.Error(err)
		}
		rt.wantFree(t, 2)
		second.Body.Close()
		want(t, ask(t.Context(), t, rt, "GET", u.base), "200 [good]")
		rt.wantFree(t, 2)
		want(t, results(), "ok=3")
	})
}

// watched is a request's body that records whether it was closed.
type watched struct {
	io.Reader
	closed atomic.Bool
}

func (w *watched) Close() error {
	w.closed.Store(true)
	return nil
}

func TestOpenCircuitMakesNoCall(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, k kind) {
		t.Parallel()
		u := listen(t, func(p *peer) { p.request() })
		rt, results := k.counted(t, u, Options{Slots: 1})
		for range circuitLeast {
			want(t, ask(t.Context(), t, rt, "GET", u.base), "error")
		}
		want(t, results(), fmt.Sprintf("failed=%d", circuitLeast))
		for range 3 {
			asked, err := u.requests.Load(), ErrFailed
			for i := 0; i < circuitLeast && errors.Is(err, ErrFailed); i++ { // on a slow machine the pause is over: open it again
				asked = u.requests.Load()
				_, err = rt.RoundTrip(newRequest(t.Context(), t, "GET", u.base))
			}
			if n := u.requests.Load() - asked; !errors.Is(err, ErrCircuit) || n > 0 {
				t.Fatalf("%v, after %d requests", err, n)
			}
			rt.wantFree(t, 1)
		}
		asked := u.requests.Load()
		eventually(t, "the upstream is asked again", func() bool {
			_ = ask(t.Context(), t, rt, "GET", u.base)
			return u.requests.Load() > asked
		})
	})
}

// Error statuses are answers: a client could provoke them.
func TestErrorStatusIsAnAnswer(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u := listen(t, func(p *peer) {
			for p.request() != nil {
				p.send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}")
			}
		})
		rt, results := k.counted(t, u, Options{})
		for range 3 * circuitLeast {
			want(t, ask(t.Context(), t, rt, "GET", u.base), "500 [{}]")
		}
		want(t, results(), fmt.Sprintf("error=%d", 3*circuitLeast))
	})
}

// A caller that leaves says nothing about the upstream. A caller's deadline that passes counts against it.
func TestCallersDeadlineCountsAndItsLeavingDoesNot(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, k kind) {
		for _, part := range []string{"", okHead + "Content-Length: 8\r\n\r\nhalf"} {
			u := listen(t, stall(part))
			rt, results := k.counted(t, u, Options{})
			for i := range circuitLeast + 5 {
				ctx, cancel := context.WithCancel(t.Context())
				requests := u.requests.Load()
				go func() {
					defer cancel()
					for u.requests.Load() == requests {
						<-time.After(time.Millisecond)
					}
				}()
				if got := ask(ctx, t, rt, "GET", u.base); !strings.HasSuffix(got, "canceled") {
					t.Fatalf("%d: %s", i, got)
				}
				cancel()
			}
			want(t, rt.Circuit()+" "+results(), fmt.Sprintf("closed client=%d", circuitLeast+5))
			// On a busy machine some calls end before anything of the answer is read, which says nothing about the upstream. So
			// later calls get more time.
			for i := 0; rt.Circuit() == closed && i < 20*circuitLeast; i++ {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+i/circuitLeast)*5*time.Millisecond)
				if got := ask(ctx, t, rt, "GET", u.base); !strings.HasSuffix(got, "deadline") {
					t.Fatal(got)
				}
				cancel()
			}
			if rt.Circuit() == closed {
				t.Errorf("the circuit is closed after %s", results())
			}
		}
	})
}

func TestRequestsGoToTheUpstreamAlone(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u, other := listen(t, serveOK), listen(t, serveOK)
		rt, results := k.counted(t, u, Options{Slots: 1})
		for _, target := range []string{
			other.base.String(), "https://" + u.base.Host, strings.Replace(u.base.String(), "127.0.0.1", "localhost", 1), "ftp://" + u.base.Host,
		} {
			body := &watched{Reader: strings.NewReader("x")}
			r, err := http.NewRequestWithContext(t.Context(), "POST", target, body)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := rt.RoundTrip(r); !errors.Is(err, errElsewhere) || errors.Is(err, ErrFailed) || !body.closed.Load() {
				t.Errorf("%s: %v, the body closed: %v", target, err, body.closed.Load())
			}
		}
		want(t, results(), "")
		rt.wantFree(t, 1)
		u.wantCounts(t, 0, 0)
		other.wantCounts(t, 0, 0)
	})
}
