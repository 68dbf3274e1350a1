package tokencache

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the cache's collectors. The keys' labels have as many values as the caller gives to its keys. All other label values
// are constants of this package.
type metrics struct {
	labels     []Label // of every key
	lookups    *prometheus.CounterVec
	fetches    *prometheus.CounterVec
	duration   *prometheus.HistogramVec
	locks      *prometheus.CounterVec
	rejections *prometheus.CounterVec
}

// newMetrics returns collectors that count, but aren't registered.
func newMetrics(labels []Label) *metrics {
	return &metrics{
		labels: labels,
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_token_lookups_total",
			Help: "Token lookups by the layer that had the token (memory, redis, fetched: from the issuer, none) and result (hit, error).",
		}, []string{"layer", "result"}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_token_fetches_total",
			Help: "Fetches from the issuer" + by(labels, "result (ok, transient: no answer or a failure that may pass, "+
				"throttled: it asked to wait, garbage: an answer without a usable token, refused: it doesn't accept the key)") + ".",
		}, names(labels, "result")),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "roomgate_token_fetch_seconds",
			Help:    "How long fetches from the issuer took" + by(labels) + ".",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, names(labels)),
		locks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_token_lock_total",
			Help: "Attempts to take the fleet's fetch lock by outcome (acquired, held: by another replica, error: Redis failed) and tokens " +
				"that came too late (fenced: a newer one was stored, or this one was rejected or expired).",
		}, []string{"outcome"}),
		rejections: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_token_rejections_total",
			Help: "Tokens rejected where they were used" +
				by(labels, "result (dropped: it is replaced, refused: it isn't replaced for now, since it is itself a replacement)") + ".",
		}, names(labels, "result")),
	}
}

// names returns the names of the keys' labels, and then more.
func names(labels []Label, more ...string) []string {
	all := make([]string, 0, len(labels)+len(more))
	for _, l := range labels {
		all = append(all, l.Name)
	}
	return append(all, more...)
}

// by returns the end of a help text, such as ", by license and role". It is "" if there are no labels.
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

// values returns the values of a key's labels, "" where one is missing, and then more.
func (m *metrics) values(k Key, more ...string) []string {
	all := make([]string, len(m.labels), len(m.labels)+len(more))
	copy(all, k.Labels)
	return append(all, more...)
}

// attrs returns a key's labels as attributes of a log line.
func (m *metrics) attrs(k Key) []any {
	var all []any
	for i, value := range m.values(k) {
		all = append(all, m.labels[i].Name, value)
	}
	return all
}

// register registers the collectors, and gauges that read c at each scrape.
func (m *metrics) register(r prometheus.Registerer, c *Cache) error {
	all := []prometheus.Collector{m.lookups, m.fetches, m.duration, m.locks, m.rejections, newExpiries(c)}
	if c.store != nil {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "roomgate_redis_circuit_open",
			Help: "1 while Redis, or a node of its cluster, is known to be down and isn't used for tokens.",
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

// fetched counts one call of a fetch function that took so long. err: the fetch brought no usable token.
func (m *metrics) fetched(k Key, err error, took time.Duration) {
	result := "ok"
	if err != nil {
		result = string(asFetchError(err).Class)
	}
	m.fetches.WithLabelValues(m.values(k, result)...).Inc()
	m.duration.WithLabelValues(m.values(k)...).Observe(took.Seconds())
}

// rejected counts one Reject. result is "dropped" or "refused".
func (m *metrics) rejected(k Key, result string) {
	m.rejections.WithLabelValues(m.values(k, result)...).Inc()
}

// expiries is a gauge of the seconds until each key's token expires. It reads the cache at each scrape.
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
	// After the rotation of a secret, two keys may have the same labels, but a scrape may have each set of labels once. The
	// later expiry is that of the token in use.
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
