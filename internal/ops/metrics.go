package ops

// This file makes the registry that every package's collectors go into, and sums it up for the status answer.

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// namespace begins the names of our own metrics.
const namespace = "roomgate_"

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

// counters sums each of our counters over its labels.
func counters(from prometheus.Gatherer) (map[string]float64, error) {
	families, err := from.Gather()
	if err != nil {
		return nil, fmt.Errorf("gather metrics: %w", err)
	}
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
	return sums, nil
}
