package upstream

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics holds the collectors that all upstreams share. All labels are bounded: the program names the upstreams, and the help
// text lists the results.
type Metrics struct {
	calls *prometheus.CounterVec
	times *prometheus.HistogramVec
	open  *openCircuits
}

// NewMetrics registers the collectors with r. If r is nil, it doesn't register them.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_upstream_requests_total",
			Help: "Requests to upstreams, by upstream (glory, interwater) and result (ok, error: a status of 500 or more, failed: no answer, " +
				"broken: the answer broke off, timeout, client: the client left or its request body failed).",
		}, []string{"upstream", "result"}),
		times: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                        "roomgate_upstream_duration_seconds",
			Help:                        "Seconds from sending a request until the answer's header, or until the call failed, by upstream (glory, interwater).",
			Buckets:                     []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}, []string{"upstream"}),
		open: &openCircuits{desc: prometheus.NewDesc("roomgate_upstream_circuit_open",
			"1 while the circuit is open because the upstream fails, by upstream (glory, interwater).", []string{"upstream"}, nil)},
	}
	if r == nil {
		return m, nil
	}
	if err := errors.Join(r.Register(m.calls), r.Register(m.times), r.Register(m.open)); err != nil {
		return nil, fmt.Errorf("upstream: register metrics: %w", err)
	}
	return m, nil
}

// ofUpstream holds the collectors of one upstream.
type ofUpstream struct {
	ok    prometheus.Counter // of calls, for the most frequent result
	calls *prometheus.CounterVec
	times prometheus.Observer
}

func (m *Metrics) of(u *Upstream) ofUpstream {
	m.open.add(u)
	calls := m.calls.MustCurryWith(prometheus.Labels{"upstream": u.name})
	return ofUpstream{ok: calls.WithLabelValues("ok"), calls: calls, times: m.times.WithLabelValues(u.name)}
}

// ended counts a call that ended with result.
func (m *ofUpstream) ended(result string) {
	if result == "ok" {
		m.ok.Inc()
		return
	}
	m.calls.WithLabelValues(result).Inc()
}

// openCircuits is the gauge of all circuits. It reads their states on collection.
type openCircuits struct {
	desc *prometheus.Desc

	mu  sync.Mutex
	all []*Upstream
}

func (o *openCircuits) add(u *Upstream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, u)
}

// Describe implements prometheus.Collector.
func (o *openCircuits) Describe(out chan<- *prometheus.Desc) { out <- o.desc }

// Collect implements prometheus.Collector.
func (o *openCircuits) Collect(out chan<- prometheus.Metric) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, u := range o.all {
		value := 0.0
		if u.Circuit() == open {
			value = 1
		}
		out <- prometheus.MustNewConstMetric(o.desc, prometheus.GaugeValue, value, u.name)
	}
}
