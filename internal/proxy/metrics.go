package proxy

// This file counts and times requests. Every label is bounded: routes come from the settings, methods from a list, statuses
// from HTTP, reasons from the table of errors.

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"

	"roomgate/internal/bridge"
)

type metrics struct {
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	inFlight  prometheus.Gauge
	refusals  *prometheus.CounterVec
	calls     *prometheus.CounterVec
	callTimes *prometheus.HistogramVec
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
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_upstream_requests_total",
			Help: "Requests forwarded, by upstream (glory, interwater) and result (ok, error: a status of 500 or more, failed: no answer, " +
				"timeout, client: it left or its body failed).",
		}, []string{"upstream", "result"}),
		callTimes: prometheus.NewHistogramVec(histogram("roomgate_upstream_duration_seconds",
			"How long upstreams took for the header of their answer, by upstream (glory, interwater)."), []string{"upstream"}),
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
func (m *metrics) register(r prometheus.Registerer, gates []*gate) error {
	if r == nil {
		return nil
	}
	all := []prometheus.Collector{m.requests, m.durations, m.inFlight, m.refusals, m.calls, m.callTimes, m.answers}
	for _, g := range gates {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "roomgate_upstream_circuit_open",
			Help:        "1 while the upstream is failing and not called, by upstream (glory, interwater).",
			ConstLabels: prometheus.Labels{"upstream": g.breaker.Name()},
		}, func() float64 {
			if g.breaker.State() == gobreaker.StateOpen {
				return 1
			}
			return 0
		}))
	}
	for _, collector := range all {
		if err := r.Register(collector); err != nil {
			return err
		}
	}
	return nil
}

// request counts one that has ended.
func (m *metrics) request(r *http.Request, ex *exchange, status int, took time.Duration) {
	route := ex.route
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(route, boundedMethod(r.Method), strconv.Itoa(status)).Inc()
	observe := m.durations.WithLabelValues(route)
	if m.exemplars && ex.span.IsSampled() {
		observe.(prometheus.ExemplarObserver).ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": ex.span.TraceID().String()})
	} else {
		observe.Observe(took.Seconds())
	}
	if ex.refusal != "" {
		m.refusals.WithLabelValues(ex.refusal).Inc()
	}
}

// upstreamMetrics are those of one upstream.
type upstreamMetrics struct {
	ok    prometheus.Counter // of calls, as most end
	calls *prometheus.CounterVec
	times prometheus.Observer
}

func (m *metrics) upstream(name string) upstreamMetrics {
	calls := m.calls.MustCurryWith(prometheus.Labels{"upstream": name})
	return upstreamMetrics{ok: calls.WithLabelValues("ok"), calls: calls, times: m.callTimes.WithLabelValues(name)}
}

// call counts one forward of which there is an answer's header now, or an error.
func (m upstreamMetrics) call(answer *http.Response, err error, took time.Duration) {
	m.times.Observe(took.Seconds())
	if err == nil && answer.StatusCode < http.StatusInternalServerError {
		m.ok.Inc()
		return
	}
	result := "error"
	switch {
	case errors.Is(err, bridge.ErrUpstreamTimeout):
		result = "timeout"
	case err != nil && (clientFault(err) || errors.Is(err, context.DeadlineExceeded)):
		result = "client"
	case err != nil:
		result = "failed"
	}
	m.calls.WithLabelValues(result).Inc()
}

// answerSources are the counters of answers.
func (m *metrics) answerSources() answerSources {
	return answerSources{
		upstream: m.answers.WithLabelValues("upstream"), shared: m.answers.WithLabelValues("shared"), kept: m.answers.WithLabelValues("kept"),
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
