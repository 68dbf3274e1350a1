package tokencache

// This file counts what the cache does. Label values are bounded: those of keys by who makes the keys, the others are the
// constants of this package.

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	labels     []Label // of every key
	lookups    *prometheus.CounterVec
	fetches    *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	locks      *prometheus.CounterVec
	rejections *prometheus.CounterVec
}

func newMetrics(labels []Label) *metrics {
	return &metrics{
		labels: labels,
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_token_lookups_total",
			Help: "Token lookups by the layer that answered (memory, redis, fetched: the issuer, none) and result (hit, error).",
		}, []string{"layer", "result"}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_token_fetches_total",
			Help: "Fetches from the issuer" + by(labels, "result (ok, transient: no answer or a failure that may pass, "+
				"throttled: it asked to wait, garbage: an answer without a usable token, refused: it doesn't take the key)") + ".",
		}, names(labels, "result")),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "roomgate_token_fetch_seconds",
			Help:    "How long fetches from the issuer took" + by(labels) + ".",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, names(labels)),
		locks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_token_lock_total",
			Help: "Tries at the fleet's fetch lock by outcome (acquired, held: by another replica, error: Redis failed, fenced: the token was " +
				"stored too late).",
		}, []string{"outcome"}),
		rejections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_token_rejections_total",
			Help: "Tokens turned down where they were used" +
				by(labels, "result (dropped: it is replaced, refused: its replacement was turned down too)") + ".",
		}, names(labels, "result")),
	}
}

// names are the keys' labels and further ones.
func names(labels []Label, more ...string) []string {
	all := make([]string, 0, len(labels)+len(more))
	for _, l := range labels {
		all = append(all, l.Name)
	}
	return append(all, more...)
}

// by lists labels in a help text; "" where there are none.
func by(labels []Label, more ...string) string {
	all := make([]string, 0, len(labels)+len(more))
	for _, l := range labels {
		text := l.Name
		if l.Values != "" {
			text += " (" + l.Values + ")"
		}
		all = append(all, text)
	}
	all = append(all, more...)
	switch last := len(all) - 1; last {
	case -1:
		return ""
	case 0:
		return ", by " + all[0]
	default:
		return ", by " + strings.Join(all[:last], ", ") + " and " + all[last]
	}
}

// values are a key's labels and further ones.
func (m *metrics) values(k Key, more ...string) []string {
	all := make([]string, len(m.labels), len(m.labels)+len(more))
	copy(all, k.Labels)
	return append(all, more...)
}

// attrs are a key's labels in a log line.
func (m *metrics) attrs(k Key) []any {
	var all []any
	for i, value := range m.values(k) {
		all = append(all, m.labels[i].Name, value)
	}
	return all
}

// register adds the collectors, and the gauges that are read from c when they are scraped.
func (m *metrics) register(r prometheus.Registerer, c *Cache) error {
	all := []prometheus.Collector{m.lookups, m.fetches, m.duration, m.locks, m.rejections, newExpiries(c)}
	if c.store != nil {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "roomgate_redis_circuit_open",
			Help: "1 while Redis, or a node of its cluster, is known to be down and isn't asked for tokens.",
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
	m.fetches.WithLabelValues(m.values(k, result)...).Inc()
	m.duration.WithLabelValues(m.values(k)...).Observe(took.Seconds())
}

func (m *metrics) rejected(k Key, result string) {
	m.rejections.WithLabelValues(m.values(k, result)...).Inc()
}

// expiries reports each key's seconds to expiry at scrape time.
type expiries struct {
	c    *Cache
	desc *prometheus.Desc
}

func newExpiries(c *Cache) *expiries {
	labels := c.metrics.labels
	return &expiries{c, prometheus.NewDesc("roomgate_token_expiry_seconds",
		"Seconds until this replica's token expires"+by(labels)+"; 0 without one.", names(labels), nil)}
}

// Describe implements prometheus.Collector.
func (x *expiries) Describe(ch chan<- *prometheus.Desc) { ch <- x.desc }

// Collect implements prometheus.Collector.
func (x *expiries) Collect(ch chan<- prometheus.Metric) {
	// After a rotated secret two keys have the same labels. A scrape must not show them twice: the token in use counts.
	longest := make(map[string]Status)
	for _, s := range x.c.Status() {
		id := strings.Join(s.Labels, "\x00")
		if known, ok := longest[id]; !ok || known.ExpiresIn < s.ExpiresIn {
			longest[id] = s
		}
	}
	for _, s := range longest {
		ch <- prometheus.MustNewConstMetric(x.desc, prometheus.GaugeValue, s.ExpiresIn.Seconds(), s.Labels...)
	}
}
