package main

// All that could fill the memory of a gateway with 128 MiB, at once and for a while: compression bombs (U08), answers that don't end or
// don't begin (U09), request bodies without an end (D05), and members among them. This is the catalogue's row O07.

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"roomgate/internal/sandbox"
	"roomgate/tests"
)

const (
	hostileMiB     = 100              // the most that may be resident
	hostileLasts   = 20 * time.Second // hostileSetting changes it
	hostileSetting = "ROOMGATE_TEST_HOSTILE_FOR"
)

// mixed is a load of many kinds, and counts the outcomes.
type mixed struct {
	*arena
	ctx    context.Context
	client *http.Client
	wg     sync.WaitGroup
	counts sync.Map     // of *atomic.Int64, by kind and outcome
	asked  atomic.Int64 // makes each query different, so that no answer is shared
}

// repeat runs one in each of workers goroutines, at most once per pause, until the load ends, and counts the outcomes that one returns.
// It doesn't wait.
func (m *mixed) repeat(kind string, workers int, pause time.Duration, one func() string) {
	for range workers {
		m.wg.Go(func() {
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for {
				outcome := one()
				if m.ctx.Err() != nil {
					return
				}
				count, _ := m.counts.LoadOrStore(kind+" "+outcome, new(atomic.Int64))
				count.(*atomic.Int64).Add(1)
				select {
				case <-tick.C:
				case <-m.ctx.Done():
					return
				}
			}
		})
	}
}

// count returns how often a kind had an outcome. what is both, with a space between.
func (m *mixed) count(what string) int64 {
	if count, ok := m.counts.Load(what); ok {
		return count.(*atomic.Int64).Load()
	}
	return 0
}

// get sends a member's GET. The outcome is its status, and whether the body broke off.
func (m *mixed) get(path string) string {
	r, err := http.NewRequestWithContext(m.ctx, http.MethodGet, fmt.Sprint(m.url, path, "?", m.asked.Add(1)), nil)
	if err != nil {
		return err.Error()
	}
	r.Header.Set("Authorization", "Bearer "+m.token)
	r.Header.Set("Accept-Encoding", "gzip")
	response, err := m.client.Do(r)
	if err != nil {
		return "no answer"
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return fmt.Sprint(response.StatusCode, " broken off")
	}
	return fmt.Sprint(response.StatusCode)
}

// endless sends a body of chunks until the gateway cuts it off, or 64 MiB are sent.
func (m *mixed) endless(method, path string) string {
	conn, err := net.Dial("tcp", m.addr())
	if err != nil {
		return "no connection"
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(conn, message(method, path, "Transfer-Encoding: chunked"))
	chunk := []byte("4000\r\n" + strings.Repeat("a", 16<<10) + "\r\n")
	for sent := 0; sent < 64<<20 && m.ctx.Err() == nil; sent += len(chunk) {
		if _, err := conn.Write(chunk); err != nil {
			return "cut off"
		}
	}
	return "taken"
}

// bomb returns a body of about 6 MiB that inflates to 6 GiB. It is the same gzip member many times.
func bomb(t *testing.T) []byte {
	t.Helper()
	var one bytes.Buffer
	zip := gzip.NewWriter(&one)
	if _, err := zip.Write(make([]byte, 64<<20)); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return bytes.Repeat(one.Bytes(), 96)
}

func TestHostileBodiesStayWithinBounds(t *testing.T) {
	tests.Long(t)
	withoutRaceDetector(t)
	lasts := hostileLasts
	if text := os.Getenv(hostileSetting); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatal(err)
		}
	}
	stands, explosive := newStands(t), bomb(t)
	rooms := serveAt(t, "127.0.0.1:0", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/sessions/bomb" {
			stands.Interwater.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(explosive)
	}))
	s := newArenaBefore(t, stands, "GOMEMLIMIT=128MiB", "INTERWATER_URL="+rooms.URL, "INTERWATER_TIMEOUT=2s")
	if a, err := call(t.Context(), s.looker, http.MethodPut, s.admin+"/loglevel?level=error", "", ""); err != nil || a.status != http.StatusOK {
		t.Fatalf("%v, %v", a, err)
	}
	stands.Interwater.SetFaults(
		sandbox.Fault{Path: "/v1/sessions/endless", Kind: sandbox.KindHuge, Size: 10 << 30},
		sandbox.Fault{Path: "/v1/sessions/hang", Kind: sandbox.KindHang},
		sandbox.Fault{Path: "/v1/sessions/trickle", Kind: sandbox.KindTrickle, Interval: 500 * time.Millisecond},
	)
	ctx, end := context.WithTimeout(t.Context(), lasts)
	defer end()
	m := &mixed{arena: s, ctx: ctx, client: newClient(t)}
	m.repeat("member", 16, 20*time.Millisecond, func() string { return m.get("/v1/sessions") })
	m.repeat("bomb", 8, 100*time.Millisecond, func() string { return m.get("/v1/sessions/bomb") })
	m.repeat("endless answer", 8, 100*time.Millisecond, func() string { return m.get("/v1/sessions/endless") })
	m.repeat("no answer", 32, time.Millisecond, func() string { return m.get("/v1/sessions/hang") })
	m.repeat("slow answer", 32, time.Millisecond, func() string { return m.get("/v1/sessions/trickle") })
	m.repeat("endless login", 8, 100*time.Millisecond, func() string { return m.endless("POST", "/public-api/v1/login") })
	m.repeat("endless upload", 8, 100*time.Millisecond, func() string { return m.endless("PUT", "/api/v1/profile") })
	peak := s.watchMemory(t, ctx.Done())
	m.wg.Wait()
	m.counts.Range(func(what, count any) bool { t.Logf("%s: %d", what, count.(*atomic.Int64).Load()); return true })
	t.Logf("%.0f MiB resident at the most, within %v", peak/(1<<20), lasts)
	if peak > hostileMiB<<20 {
		t.Errorf("%.0f MiB resident, want %d at most", peak/(1<<20), hostileMiB)
	}
	for _, what := range []string{
		"member 200", "bomb 200", "endless answer 200 broken off", "endless login cut off", "endless upload cut off",
	} {
		if m.count(what) == 0 {
			t.Errorf("%s: never", what)
		}
	}
	stands.Interwater.SetFaults()
	eventually(t, "members are served", func() bool { return get(t, s.looker, s.url+"/v1/info", s.token).status == http.StatusOK })
	m.client.CloseIdleConnections()
	s.looker.CloseIdleConnections()
	rooms.Close()
	s.retired(t)
}

// watchMemory returns the largest resident size in bytes until over is closed.
func (s *arena) watchMemory(t *testing.T, over <-chan struct{}) (peak float64) {
	t.Helper()
	for tick := time.NewTicker(200 * time.Millisecond); ; {
		select {
		case <-tick.C:
			peak = max(peak, s.metrics(t)["process_resident_memory_bytes"])
		case <-over:
			tick.Stop()
			return peak
		}
	}
}
