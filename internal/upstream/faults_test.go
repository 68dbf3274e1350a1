package upstream

// Faults of an upstream, and who is blamed for them: answers that break off, requests that must not be sent twice, early answers,
// and slow readers.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// counted returns an Upstream and a function that returns its results: "ok=1 broken=2".
func (k kind) counted(t *testing.T, u *rawUpstream, o Options) (*tested, func() string) {
	t.Helper()
	var err error
	if o.Metrics, err = NewMetrics(prometheus.NewRegistry()); err != nil {
		t.Fatal(err)
	}
	return k.of(t, u, o), func() string {
		var results []string
		for _, result := range []string{"ok", "error", "failed", "broken", "timeout", "client"} {
			var m dto.Metric
			if err := o.Metrics.calls.WithLabelValues("u", result).Write(&m); err != nil {
				t.Fatal(err)
			}
			if n := m.GetCounter().GetValue(); n > 0 {
				results = append(results, fmt.Sprintf("%s=%v", result, n))
			}
		}
		return strings.Join(results, " ")
	}
}

// wantFree fails the test unless exactly this many slots are free.
func (u *Upstream) wantFree(t *testing.T, slots int64) {
	t.Helper()
	if !u.slots.TryAcquire(slots) {
		t.Errorf("fewer than %d slots are free", slots)
		return
	}
	defer u.slots.Release(slots)
	if u.slots.TryAcquire(1) {
		u.slots.Release(1)
		t.Errorf("more than %d slots are free", slots)
	}
}

// post sends a request with any method, and with a body unless body is "".
func post(t *testing.T, rt http.RoundTripper, u *rawUpstream, method, body string, header ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var from io.Reader
	if body != "" {
		from = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, u.base.String()+"/v1/rooms", from)
	if err != nil {
		t.Fatal(err)
	}
	if len(body)%2 == 0 {
		r.GetBody = nil // like a client's body, which isn't in memory
	}
	for _, name := range header {
		r.Header.Set(name, "1")
	}
	answer, err := rt.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return fmt.Sprintf("%d [%s]", answer.StatusCode, text), err
}

func TestAnswerThatBreaksOffIsTheUpstreamsFault(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		for name, part := range map[string]string{
			"length": "Content-Length: 9\r\n\r\nhalf", "chunks": "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		} {
			for _, listen := range listeners() {
				u := listen(t, func(p *peer) {
					p.request()
					p.send("%s%s", okHead, part)
				})
				rt, results := k.counted(t, u, Options{Slots: 5})
				for range circuitLeast {
					want(t, ask(t.Context(), t, rt, "GET", u.base), "200 [half] error")
				}
				want(t, results(), fmt.Sprintf("broken=%d", circuitLeast))
				if rt.Circuit() != open {
					t.Errorf("%s over %s: the circuit is %s", name, u.base.Scheme, rt.Circuit())
				}
				rt.wantFree(t, 5)
			}
		}
	})
}

// A client may claim with Idempotency-Key that a request is safe to repeat. http.Transport believes it; we don't.
func TestOnlyGetAndHeadAreSentAgain(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		for _, listen := range listeners() {
			for _, tt := range []struct {
				method, body string
				sent         int32 // how often, not counting the first request
			}{
				{"GET", "", 2}, {"HEAD", "", 2}, {"POST", "{}", 1}, {"POST", "[1]", 1}, {"POST", "", 1}, {"PUT", "{}", 1}, {"PATCH", "", 1}, {"DELETE", "", 1},
				{"OPTIONS", "", 1}, {"GET", "{}", 1},
			} {
				u := listen(t, func(p *peer) {
					if p.n == 0 {
						_, _ = io.Copy(io.Discard, p.request().Body)
						p.send(okHead + "Content-Length: 0\r\n\r\n")
					}
					if r := p.request(); r != nil {
						_, _ = io.Copy(io.Discard, r.Body)
					}
				})
				rt := k.with(t, u)
				if got, err := post(t, rt, u, tt.method, tt.body, "Idempotency-Key", "X-Idempotency-Key"); err != nil {
					t.Fatal(got, err)
				}
				if got, err := post(t, rt, u, tt.method, tt.body, "Idempotency-Key", "X-Idempotency-Key"); !errors.Is(err, ErrFailed) {
					t.Errorf("%s %q: %s, %v", tt.method, tt.body, got, err)
				}
				if n := u.requests.Load() - 1; n != tt.sent {
					t.Errorf("%s %q over %s was sent %d times, want %d", tt.method, tt.body, u.base.Scheme, n, tt.sent)
				}
			}
		}
	})
}

// A request that isn't sent again must not go over a connection that the upstream has closed meanwhile.
func TestClosedIdleConnectionFailsNoRequest(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		for _, listen := range listeners() {
			closed := make(chan struct{})
			u := listen(t, func(p *peer) {
				if r := p.request(); r != nil {
					_, _ = io.Copy(io.Discard, r.Body)
					p.ok("good")
				}
				p.Close()
				closed <- struct{}{}
			})
			rt := k.with(t, u)
			for _, body := range []string{"hello", "hello!", "", strings.Repeat("a", 100_000)} {
				for range 25 {
					if got, err := post(t, rt, u, "POST", body); got != "200 [good]" || err != nil {
						t.Fatalf("over %s: %s, %v", u.base.Scheme, got, err)
					}
					<-closed
				}
			}
		}
	})
}

// An upstream that doesn't want a body may answer after the head, and close while the body is being written.
func TestEarlyAnswerReachesTheCaller(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		for _, listen := range listeners() {
			u := listen(t, func(p *peer) {
				if p.request() != nil {
					p.send("HTTP/1.1 413 Request Entity Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlarge")
				}
			})
			rt, results := k.counted(t, u, Options{})
			for range 30 {
				if got, err := post(t, rt, u, "POST", strings.Repeat("a", 900_000)); got != "413 [large]" || err != nil {
					t.Errorf("over %s: %q, %v", u.base.Scheme, got, err)
				}
			}
			want(t, results(), "ok=30")
		}
	})
}

func TestBrokenConnectionWithoutAnEarlyAnswerIsTheUpstreamsFault(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		for _, listen := range listeners() {
			u := listen(t, func(p *peer) { p.request() })
			rt, results := k.counted(t, u, Options{})
			for range 10 {
				if got, err := post(t, rt, u, "POST", strings.Repeat("a", 900_000)); !errors.Is(err, ErrFailed) {
					t.Errorf("over %s: %q, %v", u.base.Scheme, got, err)
				}
			}
			want(t, results(), "failed=10")
		}
	})
}

// The timeout runs only while the upstream is waited for. A slow machine may exceed a short timeout, so it grows. If the reader's
// time counted, every timeout would be exceeded.
func TestSlowReaderIsNotCut(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, k kind) {
		t.Parallel()
		body := strings.Repeat("a", 1_000_000)
		for _, listen := range listeners() {
			u := listen(t, func(p *peer) {
				for p.request() != nil {
					p.ok(body)
				}
			})
			outcome := ""
			for timeout := 100 * time.Millisecond; outcome != "ok=1" && timeout < patience; timeout *= 4 {
				rt, results := k.counted(t, u, Options{Timeout: timeout})
				if read, err := readSlowly(t, rt, u, timeout*3/2, 1000, 100_000, len(body)); err != nil {
					outcome = fmt.Sprintf("%v after %d bytes", err, read)
				} else if outcome = results(); read != int64(len(body)) {
					t.Errorf("over %s: %d bytes", u.base.Scheme, read)
				}
			}
			want(t, outcome, "ok=1")
		}
	})
}

// readSlowly reads an answer in parts of at most these sizes, with a pause before each. It returns the number of bytes read.
func readSlowly(t *testing.T, rt http.RoundTripper, u *rawUpstream, pause time.Duration, sizes ...int) (read int64, err error) {
	answer, err := rt.RoundTrip(newRequest(t.Context(), t, "GET", u.base))
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	for _, size := range sizes {
		<-time.After(pause)
		n, err := io.CopyN(io.Discard, answer.Body, int64(size))
		if read += n; err != nil && !errors.Is(err, io.EOF) {
			return read, err
		}
	}
	return read, nil
}

// An upstream that sends a byte now and then doesn't get more time.
func TestTricklingUpstreamIsCut(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, k kind) {
		t.Parallel()
		u := listen(t, func(p *peer) {
			p.request()
			p.send(okHead + "Content-Length: 1000\r\n\r\n")
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for range 1000 {
				if _, err := p.Write([]byte("a")); err != nil {
					return
				}
				<-tick.C
			}
		})
		rt, results := k.counted(t, u, Options{Timeout: 300 * time.Millisecond})
		if got := ask(t.Context(), t, rt, "GET", u.base); !strings.HasSuffix(got, "timeout") {
			t.Error(got)
		}
		want(t, results(), "timeout=1")
	})
}

func TestBrokenBodyStaysBroken(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u := listen(t, func(p *peer) {
			p.request()
			p.send(okHead + "Content-Length: 9\r\n\r\nhalf")
		})
		answer, err := k.with(t, u).RoundTrip(newRequest(t.Context(), t, "GET", u.base))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		for range 3 {
			if _, err := io.ReadAll(answer.Body); !errors.Is(err, ErrFailed) {
				t.Error(err)
			}
		}
	})
}
