package ops

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

// NewRegistry returns a registry with the collectors of Go and the process, and roomgate_build_info. All packages register in it.
func NewRegistry(version, commit string) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "roomgate_build_info",
		Help:        "Always 1; the labels are the version and the commit.",
		ConstLabels: prometheus.Labels{"version": version, "commit": commit},
	})
	build.Set(1)
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), build)
	return registry
}

// counters returns the gateway's own counters, each summed over its labels.
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

// laneCounts returns how many requests the lane has answered, and how many it has handed over by reason.
func laneCounts(families []*dto.MetricFamily) (taken float64, handedOver map[string]float64) {
	byReason := make(map[string]*reading)
	for _, family := range families {
		if family.GetName() == laneMetric {
			readFamily(byReason, family, "reason")
		}
	}
	handedOver = make(map[string]float64)
	for reason, r := range byReason {
		if reason == "" { // answered: no reason
			taken = r.events
		} else {
			handedOver[reason] = r.events
		}
	}
	return taken, handedOver
}
