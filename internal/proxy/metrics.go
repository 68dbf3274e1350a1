package proxy

// Every label has a bounded number of values. Routes come from the settings, methods from a list, statuses from HTTP, and reasons from
// the table of errors.

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roomgate/internal/lane"
)

type metrics struct {
	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	inFlight  prometheus.Gauge
	refusals  *prometheus.CounterVec
	answers   *prometheus.CounterVec
	lane      *prometheus.CounterVec
	logouts   *prometheus.CounterVec
	sessions  sessionMetrics
	taken     prometheus.Counter // lane's counter for the result "taken"
	exemplars bool               // tracing is on: exemplars can point to traces
	handles   sync.Map           // from handle to *handled; saves the slow lookup of collectors by labels
	latest    atomic.Pointer[handled]
}

// handle is the key of a request's collectors.
type handle struct {
	route, method string
	status        int
}

// handled are the collectors of a handle.
type handled struct {
	handle
	requests  prometheus.Counter
	durations prometheus.Observer
}

func newMetrics(exemplars bool) *metrics {
	m := &metrics{
		exemplars: exemplars, sessions: newSessionMetrics(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_requests_total",
			Help: "Requests to the public listener, by route (a pattern, or none), method (an HTTP method, or other) and status code (499: the " +
				"client left).",
		}, []string{"route", "method", "code"}),
		durations: prometheus.NewHistogramVec(histogram("roomgate_request_duration_seconds",
			"Time from a request's header to the end of its answer, by route (a pattern, or none)."), []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "roomgate_requests_in_flight",
			Help: "Requests that are being answered now.",
		}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_refusals_total",
			Help: "Requests that the gateway answered with an error of its own, and refused preflights, by reason (malformed, body, header, origin: a preflight from an origin that isn't allowed, no_route, method, no_token, " +
				"bad_token, logged_out, bad_session, cross_origin, forbidden, denied, login_limit, account_limit, member_limit, logout_limit, logout: the fleet can't be told, parameter, overload, circuit, no_credential, " +
				"refused_credential, upstream, timeout, client_gone, internal).",
		}, []string{"reason"}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_room_answers_total",
			Help: "Answers to room requests, by source (upstream: a call to Interwater, shared: a concurrent request's call, kept: " +
				"an earlier call, see ROOM_CACHE_TTL).",
		}, []string{"source"}),
		lane: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_lane_requests_total",
			Help: "HTTP/1 requests that the lane has read, by result (taken: answered on their connection, handed_over: given to net/http) and " +
				"reason for handing over (" + strings.Join(append(lane.Reasons(), handOverReasons()...), ", ") + "). With FAST_LANE=false there are none.",
		}, []string{"result", "reason"}),
	}
	m.logouts = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "roomgate_logouts_total",
		Help: "Logouts, by scope (token: only the token that was sent, member: all tokens issued to the member until then).",
	}, []string{"scope"})
	m.taken = m.lane.WithLabelValues("taken", "")
	return m
}

// histogram returns options for a histogram that is both classic and native.
func histogram(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: name, Help: help,
		Buckets:                        []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		NativeHistogramBucketFactor:    1.1,
		NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}
}

// register adds the collectors to r, which may be nil.
func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for _, collector := range []prometheus.Collector{m.requests, m.durations, m.inFlight, m.refusals, m.answers, m.lane, m.logouts, m.sessions.begun, m.sessions.ended} {
		if err := r.Register(collector); err != nil {
			return err
		}
	}
	return nil
}

// request counts a request that has ended.
func (m *metrics) request(c *call, status int, took time.Duration) {
	of := m.of(handle{cmp.Or(c.route, "none"), boundedMethod(c.method), status})
	of.requests.Inc()
	if m.exemplars && c.span.IsSampled() {
		of.durations.(prometheus.ExemplarObserver).ObserveWithExemplar(took.Seconds(), prometheus.Labels{"trace_id": c.traceID()})
	} else {
		of.durations.Observe(took.Seconds())
	}
	if c.refusal != "" {
		m.refusals.WithLabelValues(c.refusal).Inc()
	}
}

// of returns a handle's collectors.
func (m *metrics) of(h handle) *handled {
	if latest := m.latest.Load(); latest != nil && latest.handle == h { // most requests are like the one before
		return latest
	}
	if known, ok := m.handles.Load(h); ok {
		m.latest.Store(known.(*handled))
		return known.(*handled)
	}
	found := &handled{h, m.requests.WithLabelValues(h.route, h.method, strconv.Itoa(h.status)), m.durations.WithLabelValues(h.route)}
	m.handles.Store(h, found) // bounded, since the labels are
	return found
}

// boundedMethod returns the method, or "other". So clients can't make up label values.
func boundedMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return method
	}
	return "other"
}
