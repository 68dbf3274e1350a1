package proxy

// Each outcome of a request is counted with its reason or result. The help text lists all values of these labels.

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"roomgate/internal/bridge"
	"roomgate/internal/sandbox"
	"roomgate/internal/upstream"
)

// family returns the metrics of the name. It returns none if nothing has been counted.
func family(t *testing.T, registry *prometheus.Registry, name string) []*dto.Metric {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()
		}
	}
	return nil
}

// counted returns the value of each counter, or the count of each histogram, by its label values.
func counted(t *testing.T, registry *prometheus.Registry, name string) map[string]float64 {
	t.Helper()
	all := map[string]float64{}
	for _, m := range family(t, registry, name) {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, l.GetValue())
		}
		all[strings.Join(labels, " ")] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
	}
	return all
}

// exemplar returns the trace that one of the histogram's buckets points to, or "".
func exemplar(t *testing.T, registry *prometheus.Registry, name string) string {
	t.Helper()
	for _, m := range family(t, registry, name) {
		for _, b := range m.GetHistogram().GetBucket() {
			for _, l := range b.GetExemplar().GetLabel() {
				return l.GetValue()
			}
		}
	}
	return ""
}

// documented returns the words that a help text lists in brackets.
func documented(t *testing.T, c *prometheus.CounterVec) []string {
	t.Helper()
	descs := make(chan *prometheus.Desc, 1)
	c.Describe(descs)
	list := regexp.MustCompile(`\(([^)]*)\)`).FindStringSubmatch((<-descs).String())
	if list == nil {
		t.Fatal("the help text lists nothing")
	}
	var words []string
	for entry := range strings.SplitSeq(list[1], ", ") {
		word, _, _ := strings.Cut(entry, ":")
		words = append(words, word)
	}
	slices.Sort(words)
	return words
}

// reasonsInCode reads the reasons from the source of the table of errors. So the test finds each new one.
func reasonsInCode(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		if made, ok := call.Fun.(*ast.Ident); !ok || made.Name != "refuse" {
			return true
		}
		reason, _ := strconv.Unquote(call.Args[1].(*ast.BasicLit).Value)
		found[reason] = true
		return true
	})
	return slices.Sorted(maps.Keys(found))
}

func TestEveryReasonIsInTheHelpText(t *testing.T) {
	got, want := documented(t, newMetrics(false).refusals), reasonsInCode(t)
	if len(want) < 20 || !slices.Equal(got, want) {
		t.Errorf("the help text of roomgate_refusals_total lists\n%q, the table of errors has\n%q", got, want)
	}
	for reason := range auditEvents() {
		if !slices.Contains(want, reason) {
			t.Errorf("auditEvents has %s, which is not a reason", reason)
		}
	}
}

func TestRefusalsAreCountedByReason(t *testing.T) {
	registry := prometheus.NewRegistry()
	g := start(t, func(o *setup) { o.Metrics = registry })
	want := map[string]float64{}
	for _, tt := range []struct {
		reason  string
		arrange func()
		target  string
		lines   []string
	}{
		{"malformed", nil, "//v1/info", nil},
		{"no_route", nil, "/v1/auth", nil},
		{"header", nil, "/v1/info", slices.Repeat([]string{"X: y"}, 101)},
		{"bad_token", func() { g.authenticate = always(bridge.ErrMemberToken) }, "/v1/info", nil},
		{"no_token", func() { g.authenticate = always(bridge.ErrNoMemberToken) }, "/v1/info", nil},
		{"forbidden", func() { g.authenticate, g.authorize = nil, always(bridge.ErrForbidden) }, "/v1/info", nil},
		{"denied", func() { g.authorize = always(bridge.ErrDenied) }, "/v1/info", nil},
		{"no_credential", func() { g.authorize, g.credential = nil, always(&bridge.NoCredential{Err: io.EOF}) }, "/v1/info", nil},
		{"refused_credential", func() { g.credential = always(&bridge.NoCredential{Refused: true, Err: io.EOF}) }, "/v1/info", nil},
		{"client_gone", func() { g.credential = always(context.Canceled) }, "/v1/info", nil},
		{"timeout", func() { g.credential = always(upstream.ErrTimeout) }, "/v1/info", nil},
		{"upstream", func() { g.credential = always(upstream.ErrFailed) }, "/v1/info", nil},
		{"internal", func() { g.credential = func() error { panic("boom") } }, "/v1/info", nil},
	} {
		if tt.arrange != nil {
			tt.arrange()
		}
		g.get(t, tt.target, tt.lines...)
		g.event(t)
		want[tt.reason] = 1
		if got := counted(t, registry, "roomgate_refusals_total"); !maps.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	}
	g.credential = nil
	g.get(t, "/v1/info")
	g.event(t)
	if got := counted(t, registry, "roomgate_refusals_total"); !maps.Equal(got, want) {
		t.Errorf("an answered request is a refusal: %v", got)
	}
}

func TestDurationsAreCountedOnceForEachRequestAndCall(t *testing.T) {
	registry := prometheus.NewRegistry()
	g := start(t, func(o *setup) { o.Metrics = registry })
	for _, target := range []string{"/v1/info", "/v1/info", "/nowhere", "/public-api/v1/health"} {
		g.get(t, target)
		g.event(t)
	}
	want := map[string]float64{"GET /v1/info": 2, "none": 1, "/public-api/": 1}
	if got := counted(t, registry, "roomgate_request_duration_seconds"); !maps.Equal(got, want) {
		t.Errorf("requests %v, want %v", got, want)
	}
	want = map[string]float64{"interwater": 2, "glory": 1}
	if got := counted(t, registry, "roomgate_upstream_duration_seconds"); !maps.Equal(got, want) {
		t.Errorf("calls %v, want %v", got, want)
	}
	for _, m := range family(t, registry, "roomgate_request_duration_seconds") {
		if h := m.GetHistogram(); h.GetSampleSum() <= 0 || len(h.GetBucket()) != 13 || h.Schema == nil {
			t.Errorf("%v is not both kinds of a histogram", h)
		}
	}
}

func TestRequestsInFlightAreCountedUntilTheyEnd(t *testing.T) {
	registry, arrived, release := prometheus.NewRegistry(), make(chan struct{}), make(chan struct{})
	upstream := scripted(t, func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	})
	g := start(t, func(o *setup) { o.Metrics, o.Glory = registry, upstream })
	value := func() float64 { return family(t, registry, "roomgate_requests_in_flight")[0].GetGauge().GetValue() }
	done := make(chan reply, 2)
	for range 2 {
		go func() { done <- g.get(t, "/api/x") }()
		await(t, arrived)
	}
	if value() != 2 {
		t.Errorf("%v in flight, want 2", value())
	}
	close(release)
	for range 2 {
		await(t, done)
	}
	g.authorize = func() error { panic("boom") }
	g.get(t, "/v1/info") // a request that panics counts only until its end
	g.authorize = always(context.Canceled)
	g.get(t, "/v1/info") // so does one that breaks off
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); value() != 0; <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%v in flight for ever", value())
		}
	}
}

func TestUpstreamCallsAreCountedByResult(t *testing.T) {
	registry := prometheus.NewRegistry()
	g := start(t, func(o *setup) {
		o.Metrics, o.InterwaterTimeout, o.MaxBodyBytes = registry, 300*time.Millisecond, 10
	})
	want := map[string]float64{"ok glory": 0, "ok interwater": 0} // the metric has these from the start
	check := func(key string) {
		t.Helper()
		g.event(t)
		want[key]++
		if got := counted(t, registry, "roomgate_upstream_requests_total"); !maps.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	}
	g.get(t, "/v1/info")
	check("ok interwater")
	g.do(t, "GET", "/api/v1/profile") // Glory's 403 is an answer like others
	check("ok glory")
	for _, tt := range []struct {
		fault sandbox.Fault
		key   string
	}{
		{sandbox.Fault{Path: "/v1/info", Status: 500}, "error interwater"},
		{sandbox.Fault{Path: "/v1/info", Kind: sandbox.KindReset}, "failed interwater"},
		{sandbox.Fault{Path: "/v1/info", Delay: time.Minute}, "timeout interwater"},
	} {
		g.Interwater.Reset()
		g.Interwater.SetFaults(tt.fault)
		g.current = ""
		g.get(t, "/v1/info")
		check(tt.key)
	}
	g.raw(t, "POST /api/x HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n")
	check("client glory")
}
