package proxy

// This file counts and times requests. Every label is bounded: routes come from the settings, methods from a list, statuses
// from HTTP, reasons from the table of errors.

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	inFlight  prometheus.Gauge
	refusals  *prometheus.CounterVec
	answers   *prometheus.CounterVec
	exemplars bool // there are traces to point to
}

func newMetrics(exemplars bool) *metrics {
	return &metrics{
		exemplars: exemplars,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_requests_total",
			Help: "Requests of the public listener by route (a pattern, or none), method (one of HTTP's, or other) and status code (499: the " +
				"client left).",
		}, []string{"route", "method", "code"}),
		durations: prometheus.NewHistogramVec(histogram("roomgate_request_duration_seconds",
			"How long requests took, from their header to the end of the answer, by route (a pattern, or none)."), []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "roomgate_requests_in_flight",
			Help: "Requests that are being answered.",
		}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_refusals_total",
			Help: "Requests that the gateway answered with an error of its own, by reason (malformed, body, header, no_route, method, no_token, " +
				"bad_token, forbidden, denied, login_limit, account_limit, member_limit, overload, circuit, no_credential, " +
				"refused_credential, upstream, timeout, client_gone, internal).",
		}, []string{"reason"}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_room_answers_total",
			Help: "Answers of Interwater to room requests, by source (upstream: a call, shared: another request's call at the same time, kept: " +
				"an earlier call, see ROOM_CACHE_TTL).",
		}, []string{"source"}),
	}
}

// histogram is a classic one, and a native one for those who scrape such.
func histogram(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help,
		Buckets:                        []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		NativeHistogramBucketFactor:    1.1,
		NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}
}

// register adds the collectors to r, where it isn't nil.
func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for _, collector := range []prometheus.Collector{m.requests, m.durations, m.inFlight, m.refusals, m.answers} {
		if err := r.Register(collector); err != nil {
			return err
		}
	}
	return nil
}

// request counts one that has ended.
func (m *metrics) request(c *call, status int, took time.Duration) {
	route := c.route
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(route, boundedMethod(c.method), strconv.Itoa(status)).Inc()
	observe := m.durations.WithLabelValues(route)
	if m.exemplars && c.span.IsSampled() {
		observe.(prometheus.ExemplarObserver).ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": c.span.TraceID().String()})
	} else {
		observe.Observe(took.Seconds())
	}
	if c.refusal != "" {
		m.refusals.WithLabelValues(c.refusal).Inc()
	}
}

// boundedMethod keeps a client from inventing label values.
func boundedMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return method
	}
	return "other"
}
