package ops

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// listener is a handler whose replica's state the test may change.
type listener struct {
	http.Handler
	reason   string // why it isn't ready; "": it is ready
	degraded []Degradation
	level    *slog.LevelVar
	registry *prometheus.Registry
}

var redisIsDown = []Degradation{{Reason: "redis", Text: "redis is down", Level: LevelRisk}}

func newListener() *listener {
	l := &listener{level: new(slog.LevelVar), registry: NewRegistry("v1", "abc"), degraded: []Degradation{}}
	l.Handler = NewHandler(Options{
		Ready: func() (bool, string) { return l.reason == "", l.reason },
		Status: func() Status {
			return Status{Version: "v1", Degraded: l.degraded, Licenses: []License{{Name: "default", Role: "member", State: "fresh"}}}
		},
		Registry: l.registry, Level: l.level,
	})
	return l
}

// ask sends one request and makes the checks that hold for all answers.
func (l *listener) ask(t *testing.T, method, target string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r, w := httptest.NewRequestWithContext(t.Context(), method, target, nil), httptest.NewRecorder()
	r.RemoteAddr, r.Host = "127.0.0.1:5", "127.0.0.1:9090"
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	l.ServeHTTP(w, r)
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
		if got := w.Header()[name]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s %s: %s is %q", method, target, name, got)
		}
	}
	return w
}

// wantJSON checks the status and reads the body.
func wantJSON(t *testing.T, w *httptest.ResponseRecorder, status int) map[string]any {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != status {
		t.Fatalf("status %d, want %d: %v: %s", w.Code, status, err, w.Body)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json; charset=utf-8" {
		t.Errorf("Content-Type %q", got)
	}
	return body
}

func TestNoAnswerIsKeptOrGuessedAt(t *testing.T) {
	l := newListener()
	for target, status := range map[string]int{
		"/livez": 200, "/readyz": 200, "/status": 200, "/metrics": 200, "/loglevel": 200, "/debug/pprof/": 200, "/debug/pprof/goroutine?debug=1": 200,
		"/debug/pprof/symbol": 200, "/debug/pprof/cmdline": 404, "/nowhere": 404, "/livez/": 404,
	} {
		if w := l.ask(t, "GET", target); w.Code != status {
			t.Errorf("%s: status %d, want %d", target, w.Code, status)
		}
	}
	for _, target := range []string{"/livez", "/readyz", "/status", "/metrics"} {
		if w := l.ask(t, "POST", target); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: status %d", target, w.Code)
		}
	}
}

func TestLivenessAsksNobody(t *testing.T) {
	l := newListener()
	l.reason, l.degraded = "draining", redisIsDown
	if body := wantJSON(t, l.ask(t, "GET", "/livez"), 200); body["status"] != "alive" {
		t.Errorf("%v", body)
	}
}

func TestReadinessTellsTheReasonAndWhatIsDegraded(t *testing.T) {
	l := newListener()
	for _, tt := range []struct {
		reason   string
		degraded []Degradation
		status   int
		want     string
	}{
		{"", nil, 200, `{"degraded":[],"status":"ready"}`},
		{"", redisIsDown, 200, `{"degraded":["redis is down"],"status":"ready"}`},
		{"draining", nil, 503, `{"degraded":[],"status":"draining"}`},
		{"draining", redisIsDown, 503, `{"degraded":["redis is down"],"status":"draining"}`},
	} {
		l.reason, l.degraded = tt.reason, tt.degraded
		body, _ := json.Marshal(wantJSON(t, l.ask(t, "GET", "/readyz"), tt.status))
		if string(body) != tt.want {
			t.Errorf("%s, want %s", body, tt.want)
		}
	}
}

func TestStatusSumsCounters(t *testing.T) {
	l := newListener()
	ours := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "roomgate_things_total", Help: "h"}, []string{"kind"})
	others := prometheus.NewCounter(prometheus.CounterOpts{Name: "go_things_total", Help: "h"})
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{Name: "roomgate_gauge", Help: "h"})
	l.registry.MustRegister(ours, others, gauge)
	ours.WithLabelValues("a").Add(2)
	ours.WithLabelValues("b").Add(3)
	body := wantJSON(t, l.ask(t, "GET", "/status"), 200)
	if counters, _ := json.Marshal(body["counters"]); string(counters) != `{"roomgate_things_total":5}` {
		t.Errorf("counters %s", counters)
	}
	for _, field := range []string{"version", "uptime_seconds", "draining", "licenses", "upstreams", "redis", "lane", "degraded", "counters"} {
		if _, ok := body[field]; !ok {
			t.Errorf("no %s", field)
		}
	}
}

func TestStatusTellsWhereTheLanesRequestsGo(t *testing.T) {
	l := newListener()
	lane := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "roomgate_lane_requests_total", Help: "h"}, []string{"result", "reason"})
	l.registry.MustRegister(lane)
	lane.WithLabelValues("taken", "").Add(7)
	lane.WithLabelValues("handed_over", "method").Add(2)
	lane.WithLabelValues("handed_over", "path").Inc()
	body := wantJSON(t, l.ask(t, "GET", "/status"), 200)
	if got, _ := json.Marshal(body["lane"]); string(got) != `{"handed_over":{"method":2,"path":1},"on":false,"taken":7}` {
		t.Errorf("%s", got)
	}
}

// broken is a collector that fails.
type broken struct{ desc *prometheus.Desc }

func (b broken) Describe(ch chan<- *prometheus.Desc) { ch <- b.desc }
func (b broken) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(b.desc, http.ErrBodyNotAllowed)
}

func TestStatusAnswersWithoutMetrics(t *testing.T) {
	l := newListener()
	l.registry.MustRegister(broken{prometheus.NewDesc("roomgate_broken", "h", nil, nil)})
	body := wantJSON(t, l.ask(t, "GET", "/status"), 200)
	if degraded, _ := json.Marshal(body["degraded"]); !strings.Contains(string(degraded), `"reason":"metrics"`) || !strings.Contains(string(degraded), `"level":"risk"`) {
		t.Errorf("degraded %s", degraded)
	}
}

func TestLogLevelIsChangedByPutAlone(t *testing.T) {
	l := newListener()
	var out bytes.Buffer
	output := NewLogOutput(&out, l.registry)
	log := NewLogger(output, "json", l.level)
	for _, tt := range []struct {
		method, target string
		status         int
		level          string // afterwards
	}{
		{"GET", "/loglevel", 200, "info"},
		{"PUT", "/loglevel?level=debug", 200, "debug"},
		{"GET", "/loglevel?level=error", 200, "debug"},
		{"PUT", "/loglevel?level=WARN", 200, "warn"},
		{"POST", "/loglevel?level=error", 405, "warn"},
		{"DELETE", "/loglevel?level=error", 405, "warn"},
		{"PUT", "/loglevel?level=loud", 400, "warn"},
		{"PUT", "/loglevel?level=info%2B2", 400, "warn"},
		{"PUT", "/loglevel?level=", 400, "warn"},
		{"PUT", "/loglevel", 400, "warn"},
		{"PUT", "/loglevel?level=error", 200, "error"},
	} {
		w := l.ask(t, tt.method, tt.target)
		if w.Code != tt.status {
			t.Errorf("%s %s: status %d, want %d", tt.method, tt.target, w.Code, tt.status)
		}
		if got := wantJSON(t, l.ask(t, "GET", "/loglevel"), 200)["level"]; got != tt.level {
			t.Errorf("%s %s: then the level is %v, want %s", tt.method, tt.target, got, tt.level)
		}
	}
	log.Warn("unheard")
	l.ask(t, "PUT", "/loglevel?level=debug")
	log.Debug("heard")
	output.Close()
	if text := out.String(); strings.Contains(text, "unheard") || !strings.Contains(text, `"msg":"heard"`) {
		t.Errorf("the log has %q", text)
	}
}

func TestArgumentsOfTheProcessAreNotShown(t *testing.T) {
	l := newListener()
	for _, target := range []string{"/debug/pprof/cmdline", "/debug/pprof/cmdline?x", "/debug/pprof/cmdline/"} {
		if w := l.ask(t, "GET", target); w.Code != 404 || strings.Contains(w.Body.String(), ".test") {
			t.Errorf("%s: %d %q", target, w.Code, w.Body)
		}
	}
}

func TestMetricsAreOpenMetricsWhereAsked(t *testing.T) {
	l := newListener()
	seconds := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "roomgate_some_seconds", Help: "h"})
	l.registry.MustRegister(seconds)
	seconds.(prometheus.ExemplarObserver).ObserveWithExemplar(.2, prometheus.Labels{"trace_id": "abc"})
	plain := l.ask(t, "GET", "/metrics")
	if got := plain.Header().Get("Content-Type"); !strings.HasPrefix(got, "text/plain; version=0.0.4") {
		t.Errorf("Content-Type %q", got)
	}
	open := l.ask(t, "GET", "/metrics", "Accept: application/openmetrics-text; version=1.0.0")
	if got := open.Header().Get("Content-Type"); !strings.HasPrefix(got, "application/openmetrics-text; version=1.0.0") {
		t.Errorf("Content-Type %q", got)
	}
	if text := open.Body.String(); !strings.HasSuffix(text, "# EOF\n") || !strings.Contains(text, `# {trace_id="abc"} 0.2`) {
		t.Error("no OpenMetrics with its exemplar")
	}
	if text := plain.Body.String(); strings.Contains(text, "trace_id") || !strings.Contains(text, `roomgate_build_info{commit="abc",version="v1"} 1`) ||
		strings.Contains(text, "promhttp_") || !strings.Contains(text, "go_goroutines ") || !strings.Contains(text, "process_") {
		t.Errorf("%.2000s", text)
	}
}

func TestLogFormats(t *testing.T) {
	for format, want := range map[string]string{"json": `"msg":"a b","n":1}`, "text": `msg="a b" n=1`} {
		var out bytes.Buffer
		output := NewLogOutput(&out, prometheus.NewRegistry())
		NewLogger(output, format, slog.LevelInfo).Info("a b", "n", 1)
		output.Close()
		if !strings.Contains(out.String(), want) || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%s: %q", format, out.String())
		}
	}
}

// Another site's page can point its own host name at a loopback address, and would read the answers.
func TestLoopbackListenerAnswersForNoSite(t *testing.T) {
	for _, loopback := range []bool{true, false} {
		h := NewHandler(Options{
			Ready: func() (bool, string) { return true, "" }, Status: func() Status { return Status{} },
			Registry: NewRegistry("v1", "abc"), Level: new(slog.LevelVar), Loopback: loopback,
		})
		for host, local := range map[string]bool{
			"127.0.0.1:9090": true, "127.0.0.1": true, "[::1]:9090": true, "[::1]": true, "localhost:9090": true, "LOCALHOST": true, "localhost.": true, "10.1.2.3:9": true,
			"": true, "evil.example": false, "evil.example:9090": false, "localhost.evil.example": false, "127.0.0.1.evil.example": false, "a.localhost": false, "roomgate": false,
		} {
			for path, method := range map[string]string{"/status": "GET", "/livez": "GET", "/debug/pprof/symbol": "GET", "/loglevel?level=info": "PUT"} {
				r, w := httptest.NewRequestWithContext(t.Context(), method, path, nil), httptest.NewRecorder()
				r.Host, r.RemoteAddr = host, "[::1]:5"
				h.ServeHTTP(w, r)
				want := 200
				if !local && (loopback || method == "PUT" || strings.HasPrefix(path, "/debug")) {
					want = 403
				}
				if w.Code != want {
					t.Errorf("%s %s for %q, loopback %v: %d, want %d", method, path, host, loopback, w.Code, want)
				}
			}
		}
	}
}

func TestProfilesAndChangesAreForPeersOnLoopback(t *testing.T) {
	l := newListener()
	for peer, local := range map[string]bool{
		"127.0.0.1:5": true, "127.3.2.1:5": true, "[::1]:5": true, "[::ffff:127.0.0.1]:5": true, "10.0.0.1:5": false, "[fe80::1%eth0]:5": false, "[::ffff:10.0.0.1]:5": false, "@": false,
	} {
		for path, method := range map[string]string{
			"/debug/pprof/": "GET", "/debug/pprof/symbol": "POST", "/loglevel?level=info": "PUT", "/loglevel": "GET", "/metrics": "GET", "/status": "GET",
		} {
			r, w := httptest.NewRequestWithContext(t.Context(), method, path, nil), httptest.NewRecorder()
			r.RemoteAddr, r.Host = peer, "10.0.0.2:9090"
			l.ServeHTTP(w, r)
			want := 200
			if !local && (method == "PUT" || strings.HasPrefix(path, "/debug")) {
				want = 403
			}
			if w.Code != want {
				t.Errorf("%s %s from %s: %d, want %d", method, path, peer, w.Code, want)
			}
		}
	}
}
