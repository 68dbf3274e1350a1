package ops

import (
	"context"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// gauged stands for the metrics of the other packages.
type gauged struct {
	registry                 *prometheus.Registry
	requests, calls, refused *prometheus.CounterVec
	lane                     *prometheus.CounterVec
	took, callTook           *prometheus.HistogramVec
	inFlight                 prometheus.Gauge
}

func newGauged() *gauged {
	counter := func(name string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name}, labels)
	}
	histogram := func(name, label string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, NativeHistogramBucketFactor: 1.1,
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{label})
	}
	g := &gauged{
		registry: prometheus.NewRegistry(),
		requests: counter("roomgate_requests_total", "route", "method", "code"),
		calls:    counter("roomgate_upstream_requests_total", "upstream", "result"),
		refused:  counter("roomgate_refusals_total", "reason"),
		lane:     counter("roomgate_lane_requests_total", "result", "reason"),
		took:     histogram("roomgate_request_duration_seconds", "route"),
		callTook: histogram("roomgate_upstream_duration_seconds", "upstream"),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "roomgate_requests_in_flight"}),
	}
	g.registry.MustRegister(g.requests, g.calls, g.refused, g.lane, g.took, g.callTook, g.inFlight)
	return g
}

// request counts one request.
func (g *gauged) request(route string, took float64) {
	g.requests.WithLabelValues(route, "GET", "200").Inc()
	g.took.WithLabelValues(route).Observe(took)
	g.calls.WithLabelValues("interwater", "ok").Inc()
	g.callTook.WithLabelValues("interwater").Observe(took)
}

// watched runs a history in the test's bubble.
func watched(t *testing.T, from prometheus.Gatherer) *History {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	h := NewHistory(from, nil)
	ended := make(chan error)
	go func() { ended <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait() // the first reading
	return h
}

// after lets time pass, to a moment just before or after a reading.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func same(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9 || math.IsNaN(got) != math.IsNaN(want) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestRatesAndQuantilesAreThoseOfTheLastTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGauged()
		g.request("GET /v1/info", 9) // from before the history began: must not count
		h := watched(t, g.registry)
		after(500 * time.Millisecond)
		for range 20 { // 20 s of 50 requests a second: 40 in (5 ms, 10 ms], 8 in (50 ms, 100 ms], 2 in (1 s, 2.5 s]
			for i := range 50 {
				took := .007
				if i >= 40 {
					took = .07
				}
				if i >= 48 {
					took = 2
				}
				g.request("GET /v1/info", took)
			}
			after(time.Second)
		}
		past := h.Past()
		if len(past.Routes) != 1 || len(past.Upstreams) != 1 || past.Upstreams[0].Name != "interwater" {
			t.Fatalf("%+v", past)
		}
		for _, s := range []Series{past.Routes[0], past.Upstreams[0]} {
			same(t, "rate", s.Now.Rate, 50)
			same(t, "p50", s.Now.P50, .005+.005*250/400)     // the 250th of 500, among the 400
			same(t, "p95", s.Now.P95, .05+.05*(475-400)/80.) // the 475th, among the next 80
			same(t, "p99", s.Now.P99, 1+1.5*(495-480)/20.)   // the 495th, among the last 20
			same(t, "total", s.Total, 1000)
		}
		// Readings were at 0 s, 1 s … 20 s. Every fifth is kept: at 4 s, 9 s, 14 s and 19 s.
		if points := past.Routes[0].Points; len(points) != 4 {
			t.Errorf("%d points, want 4", len(points))
		} else {
			same(t, "the first point's rate", points[0].Rate, 50)
		}
		after(9 * time.Second) // silence; the window still holds one second of requests
		same(t, "rate after 9 s of silence", h.Past().Routes[0].Now.Rate, 5)
		after(time.Second)
		now := h.Past().Routes[0].Now
		same(t, "rate after 10 s of silence", now.Rate, 0)
		same(t, "p50 of nothing", now.P50, math.NaN())
	})
}

func TestTheHistoryEndsAfterFifteenMinutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGauged()
		h := watched(t, g.registry)
		after(500 * time.Millisecond)
		g.refused.WithLabelValues("overload").Add(30)
		after(time.Second)
		g.refused.WithLabelValues("no_token").Add(7)
		// Both are in the first point, at 4 s. The 181st, at 904 s, pushes it out.
		after(902 * time.Second)
		refusals := h.Past().Refusals
		if len(refusals) != 2 || refusals[0].Name != "no_token" || refusals[1].Name != "overload" {
			t.Fatalf("%+v", refusals)
		}
		same(t, "no_token", refusals[0].Total, 7)
		same(t, "overload", refusals[1].Total, 30)
		g.refused.WithLabelValues("overload").Inc()
		after(time.Second)
		refusals = h.Past().Refusals
		same(t, "no_token after 15 minutes", refusals[0].Total, 0)
		same(t, "overload after 15 minutes", refusals[1].Total, 1)
		for _, s := range refusals {
			if len(s.Points) != historyPoints {
				t.Errorf("%s has %d points, want %d", s.Name, len(s.Points), historyPoints)
			}
		}
		after(time.Hour)
		if n := len(h.Past().Refusals[0].Points); n != historyPoints {
			t.Errorf("%d points after an hour", n)
		}
	})
	if historyPoints*historyStep*historyEvery != historySpan {
		t.Errorf("%d points are not %v", historyPoints, historySpan)
	}
}

func TestMissingMetricsLeaveTheHistoryEmpty(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := watched(t, prometheus.NewRegistry())
		after(time.Minute)
		past := h.Past()
		if past.Routes != nil || past.Upstreams != nil || past.Refusals != nil || !math.IsNaN(past.InFlight) {
			t.Errorf("%+v", past)
		}
	})
}

// A route may be counted but not timed, as before its first answer, or only timed.
func TestHalfOfAMetricIsShownAsFarAsItGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGauged()
		h := watched(t, g.registry)
		g.requests.WithLabelValues("counted", "GET", "200").Add(10)
		g.requests.WithLabelValues("counted", "POST", "500").Add(10)
		g.took.WithLabelValues("timed").Observe(.002)
		g.inFlight.Set(3)
		after(time.Second)
		past := h.Past()
		same(t, "counted", past.Routes[0].Now.Rate, 20)
		same(t, "its p50", past.Routes[0].Now.P50, math.NaN())
		same(t, "timed", past.Routes[1].Now.Rate, 0)
		same(t, "its p50", past.Routes[1].Now.P50, .001+.0015/2)
		same(t, "in flight", past.InFlight, 3)
	})
}

func TestTheHistoryIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGauged()
		h := watched(t, g.registry)
		for i := range 2 * historySeries {
			g.request(fmt.Sprint("route ", i), .1)
		}
		after(time.Second)
		if n := len(h.Past().Routes); n != historySeries {
			t.Errorf("%d routes are remembered, want %d", n, historySeries)
		}
	})
}

func TestQuantileAtItsEdges(t *testing.T) {
	bounds := []float64{1, 2, 4}
	for _, tt := range []struct {
		name string
		q    float64
		to   reading
		want float64
	}{
		{"nothing observed", .5, reading{bounds: bounds, upTo: []float64{0, 0, 0}}, math.NaN()},
		{"no buckets", .5, reading{observed: 3}, math.NaN()},
		{"all in the first bucket", .5, reading{bounds: bounds, upTo: []float64{4, 4, 4}, observed: 4}, .5},
		{"an empty bucket between", .5, reading{bounds: bounds, upTo: []float64{1, 1, 3}, observed: 3}, 2.5},
		{"on the border of two", .5, reading{bounds: bounds, upTo: []float64{2, 4, 4}, observed: 4}, 1},
		{"all beyond the last bound", .5, reading{bounds: bounds, upTo: []float64{0, 0, 0}, observed: 4}, 4},
		{"some beyond the last bound", .99, reading{bounds: bounds, upTo: []float64{1, 2, 3}, observed: 4}, 4},
	} {
		t.Run(tt.name, func(t *testing.T) { same(t, "quantile", quantile(tt.q, reading{}, tt.to), tt.want) })
	}
}

// Measures one reading. The registry is as large as a gateway's with ten routes.
func BenchmarkLook(b *testing.B) {
	g, registry := newGauged(), NewRegistry("v", "c")
	registry.MustRegister(g.requests, g.calls, g.refused, g.took, g.callTook, g.inFlight)
	for i := range 10 {
		for k := range 2000 {
			g.request(fmt.Sprint("route ", i), float64(k)/1000)
		}
		g.refused.WithLabelValues(fmt.Sprint("reason ", i)).Inc()
	}
	h := NewHistory(registry, nil)
	for b.Loop() {
		h.look(time.Now())
	}
}
