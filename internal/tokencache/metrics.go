package tokencache

// This file counts what the cache does. Label values are bounded: license and role come from the settings, the others
// are the constants of this package.

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	lookups    *prometheus.CounterVec
	fetches    *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	locks      *prometheus.CounterVec
	rejections *prometheus.CounterVec
}

func newMetrics() *metrics {
	return &metrics{
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_token_lookups_total",
			Help: "Access token lookups by the layer that answered (memory, redis, fetched: the token endpoint, none) and result (hit, error).",
		}, []string{"layer", "result"}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_token_fetches_total",
			Help: "Calls of the token endpoint by license, role (member, owner) and result (ok, transient: no answer or a failure that may " +
				"pass, throttled: it asked to wait, garbage: an answer without a usable token, refused: it doesn't take the license's keys).",
		}, []string{"license", "role", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "roomgate_token_fetch_seconds",
			Help:    "How long calls of the token endpoint took, by license and role (member, owner).",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"license", "role"}),
		locks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_token_lock_total",
			Help: "Tries at the fleet's fetch lock by outcome (acquired, held: by another replica, error: Redis failed, fenced: the token was " +
				"stored too late).",
		}, []string{"outcome"}),
		rejections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_token_rejections_total",
			Help: "Access tokens turned down by Interwater, by license, role (member, owner) and result (dropped: it is replaced, refused: its " +
				"replacement was turned down too).",
		}, []string{"license", "role", "result"}),
	}
}

// register adds the collectors, and the gauges that are read from c when they are scraped.
func (m *metrics) register(r prometheus.Registerer, c *Cache) error {
	all := []prometheus.Collector{m.lookups, m.fetches, m.duration, m.locks, m.rejections, newExpiries(c)}
	if c.store != nil {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "roomgate_redis_circuit_open",
			Help: "1 while Redis is considered down and not asked.",
		}, func() float64 {
			if c.store.use.Outage() == nil {
				return 0
			}
			return 1
		}))
	}
	for _, collector := range all {
		if err := r.Register(collector); err != nil {
			return err
		}
	}
	return nil
}

// fetched counts one call of a fetch function.
func (m *metrics) fetched(k Key, err error, took time.Duration) {
	result := "ok"
	if err != nil {
		result = string(asFetchError(err).Class)
	}
	m.fetches.WithLabelValues(k.License, k.Role, result).Inc()
	m.duration.WithLabelValues(k.License, k.Role).Observe(took.Seconds())
}

func (m *metrics) rejected(k Key, result string) {
	m.rejections.WithLabelValues(k.License, k.Role, result).Inc()
}

// expiries reports each key's seconds to expiry at scrape time.
type expiries struct {
	c    *Cache
	desc *prometheus.Desc
}

func newExpiries(c *Cache) *expiries {
	return &expiries{c, prometheus.NewDesc("roomgate_token_expiry_seconds",
		"Seconds until this replica's access token expires, by license and role (member, owner); 0 without one.",
		[]string{"license", "role"}, nil)}
}

// Describe implements prometheus.Collector.
func (x *expiries) Describe(ch chan<- *prometheus.Desc) { ch <- x.desc }

// Collect implements prometheus.Collector.
func (x *expiries) Collect(ch chan<- prometheus.Metric) {
	// After a rotated secret two keys have the same labels, which a scrape must not: the token in use counts.
	type labels struct{ license, role string }
	longest := make(map[labels]time.Duration)
	for _, s := range x.c.Status() {
		l := labels{s.License, s.Role}
		longest[l] = max(longest[l], s.ExpiresIn)
	}
	for l, left := range longest {
		ch <- prometheus.MustNewConstMetric(x.desc, prometheus.GaugeValue, left.Seconds(), l.license, l.role)
	}
}
