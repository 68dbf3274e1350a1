package ops

import (
	"math"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// reading is the metrics of one name at a moment.
type reading struct {
	at     time.Time
	events float64 // the counter's value
	share  Share   // of the events
	// The histogram's observations: the number up to each bound, and in all.
	bounds, upTo []float64
	observed     float64
}

// add adds a metric of the same name. All metrics of one histogram have the same bounds. If another has different bounds, only
// the first counts.
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

// quantile returns a quantile of the observations between two readings, like Prometheus's histogram_quantile. It interpolates
// within a bucket. Above the last bound it returns that bound. NaN: there are no observations.
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
