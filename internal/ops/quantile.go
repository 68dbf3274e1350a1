package ops

// This file takes quantiles out of two readings of a histogram's classic buckets, as Prometheus's histogram_quantile does.

import (
	"math"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// reading is one name's metrics at a moment.
type reading struct {
	at     time.Time
	events float64 // of the counter
	share  Share   // of them
	// Observations of the histogram: how many up to each bound, and all.
	bounds, upTo []float64
	observed     float64
}

// add sums up children of the same name. Those of one histogram have the same bounds; of others the first count.
func (r *reading) add(m *dto.Metric) {
	r.events += m.GetCounter().GetValue()
	histogram := m.GetHistogram()
	if histogram == nil {
		r.share.count(m)
		return
	}
	var bounds, upTo []float64
	for _, b := range histogram.GetBucket() {
		if !math.IsInf(b.GetUpperBound(), 1) {
			bounds, upTo = append(bounds, b.GetUpperBound()), append(upTo, float64(b.GetCumulativeCount()))
		}
	}
	switch {
	case r.bounds == nil:
		r.bounds, r.upTo = bounds, upTo
	case len(r.bounds) != len(bounds):
		return
	default:
		for i, n := range upTo {
			r.upTo[i] += n
		}
	}
	r.observed += float64(histogram.GetSampleCount())
}

// quantile is that of the observations between two readings, interpolated within its bucket; NaN for none. Above the last
// bound nothing is known but that, so that it is the answer there.
func quantile(q float64, from, to reading) float64 {
	before := func(i int) float64 {
		if i < len(from.upTo) {
			return from.upTo[i]
		}
		return 0
	}
	observed := to.observed - from.observed
	if observed <= 0 || len(to.bounds) == 0 {
		return math.NaN()
	}
	rank, low, below := q*observed, 0.0, 0.0
	for i, bound := range to.bounds {
		here := to.upTo[i] - before(i)
		if here >= rank && here > below {
			return low + (bound-low)*(rank-below)/(here-below)
		}
		low, below = bound, here
	}
	return to.bounds[len(to.bounds)-1]
}
