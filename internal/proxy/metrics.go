package proxy

// This file counts requests. Every label is bounded: routes come from the settings, methods from a list, statuses from
// HTTP.

import (
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
}

// newMetrics registers with r, where it isn't nil.
func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "roomgate_requests_total",
		Help: "Requests of the public listener by route pattern (none: no route), method (other: not one of HTTP's) and " +
			"status code (499: the client left).",
	}, []string{"route", "method", "code"})}
	if r == nil {
		return m, nil
	}
	return m, r.Register(m.requests)
}

// request counts one.
func (m *metrics) request(route, method string, status int) {
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(route, boundedMethod(method), strconv.Itoa(status)).Inc()
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
