package ops

// This file makes the registry that every package's collectors go into, and sums it up for the status answer.

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
)

const (
	namespace  = "roomgate_" // begins the names of our own metrics
	laneMetric = "roomgate_lane_requests_total"
)

// NewRegistry returns a registry with the Go and process collectors and the build's labels in it.
func NewRegistry(version, commit string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "roomgate_build_info",
		Help:        "1; the labels tell version and commit.",
		ConstLabels: prometheus.Labels{"version": version, "commit": commit},
	})
	build.Set(1)
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build)
	return registry
}

// counters are the gateway's own, each summed over its labels.
func counters(families []*dto.MetricFamily) map[string]float64 {
	sums := make(map[string]float64)
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), namespace) {
			continue
		}
		for _, metric := range family.GetMetric() {
			if counter := metric.GetCounter(); counter != nil {
				sums[family.GetName()] += counter.GetValue()
			}
		}
	}
	return sums
}

// laneCounts is what the lane has taken, and what it has handed over by reason.
func laneCounts(families []*dto.MetricFamily) (taken float64, handedOver map[string]float64) {
	byReason := make(map[string]*reading)
	for _, family := range families {
		if family.GetName() == laneMetric {
			readFamily(byReason, family, "reason")
		}
	}
	handedOver = make(map[string]float64)
	for reason, r := range byReason {
		if reason == "" { // none is needed
			taken = r.events
		} else {
			handedOver[reason] = r.events
		}
	}
	return taken, handedOver
}
