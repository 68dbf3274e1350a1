package ops

// This file remembers the last 15 minutes of the metrics that the status page draws, in bounded memory. Whoever wants more
// asks a Prometheus.

import (
	"cmp"
	"context"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

const (
	historyEvery  = time.Second      // between two looks at the metrics
	historyStep   = 5                // looks to a point that is kept
	historyWindow = 10               // looks that a rate and a quantile are taken over
	historyPoints = 180              // 15 minutes
	historySpan   = 15 * time.Minute // historyPoints · historyStep · historyEvery
	historySeries = 64               // most names of one kind; their sets are fixed, so that this is a second fence
)

// The kinds of series.
const (
	routes = iota
	upstreams
	refusals
	lane // by the reason of a hand-over; "" is what was taken
	kinds
)

// byKind is something by kind and name.
type byKind[T any] [kinds]map[string]T

func newByKind[T any]() (k byKind[T]) {
	for i := range k {
		k[i] = make(map[string]T)
	}
	return k
}

// History looks at a registry once a second. It is safe for concurrent use.
type History struct {
	from     prometheus.Gatherer
	degraded func() []Degradation

	mu       sync.Mutex // guards what follows
	looks    int
	point    time.Time // of the last point that was kept
	states   states
	kinds    byKind[*track]
	inFlight float64
	dropped  float64
}

// Past is what the last 15 minutes have shown. Metrics that don't exist leave their part empty.
type Past struct {
	Routes, Upstreams, Refusals []Series  // by name
	Lane                        []Series  // by reason of hand-overs; "" is what the lane has taken
	InFlight                    float64   // NaN: not known
	LogDropped                  float64   // lines, since the start
	At                          time.Time // of the last point of each series
	Changes                     []Change  // the oldest first
}

// Series is one name's 15 minutes.
type Series struct {
	Name   string
	Now    Point   // over the last 10 s
	Points []Point // 5 s apart, the oldest first; at most 180
	Total  float64 // events of the 15 minutes
	// Minute and Five are the failed answers of the last minute and the last five. Of refusals they mean nothing.
	Minute, Five Share
}

// Point is 10 s of a series. Its quantiles are in seconds; NaN where nothing was measured. Failed is the share of failed answers in
// the minute before; NaN without an answer.
type Point struct{ Rate, P50, P95, P99, Failed float64 }

// NewHistory returns an empty one. Run fills it. degraded lists what isn't as it should be; nil: nothing is ever.
func NewHistory(from prometheus.Gatherer, degraded func() []Degradation) *History {
	if degraded == nil {
		degraded = func() []Degradation { return nil }
	}
	return &History{from: from, degraded: degraded, kinds: newByKind[*track](), inFlight: math.NaN()}
}

// Run looks once a second until ctx ends; it returns nil.
func (h *History) Run(ctx context.Context) error {
	tick := time.NewTicker(historyEvery)
	defer tick.Stop()
	for {
		h.look(time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Past returns what is known now. The caller may keep it.
func (h *History) Past() Past {
	h.mu.Lock()
	defer h.mu.Unlock()
	var lists [kinds][]Series
	for kind, tracks := range h.kinds {
		for name, t := range tracks {
			lists[kind] = append(lists[kind], t.series(name))
		}
		slices.SortFunc(lists[kind], func(a, b Series) int { return cmp.Compare(a.Name, b.Name) })
	}
	return Past{
		Routes: lists[routes], Upstreams: lists[upstreams], Refusals: lists[refusals], Lane: lists[lane],
		InFlight: h.inFlight, LogDropped: h.dropped, At: h.point, Changes: slices.Clone(h.states.changes),
	}
}

// look takes one reading of every series.
func (h *History) look(now time.Time) {
	families, _ := h.from.Gather() // what could be gathered counts; /status tells of an error
	seen, inFlight := readFamilies(families)
	degraded := h.degraded() // which asks this history
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looks++
	due := h.looks%historyStep == 0
	if due {
		h.point = now
	}
	h.states.take(now, degraded)
	h.inFlight = inFlight
	h.dropped = readDropped(families)
	for kind, readings := range seen {
		for _, name := range slices.Sorted(maps.Keys(readings)) {
			t := h.kinds[kind][name]
			if t == nil {
				if len(h.kinds[kind]) >= historySeries {
					continue
				}
				t = newTrack(h.looks == 1, readings[name], now)
				h.kinds[kind][name] = t
			}
			t.take(readings[name], now, due)
		}
	}
}

// readFamilies picks what is needed, summed over all labels but one.
func readFamilies(families []*dto.MetricFamily) (seen byKind[*reading], inFlight float64) {
	seen, inFlight = newByKind[*reading](), math.NaN()
	for _, f := range families {
		switch f.GetName() {
		case "roomgate_requests_total", "roomgate_request_duration_seconds":
			readFamily(seen[routes], f, "route")
		case "roomgate_upstream_requests_total", "roomgate_upstream_duration_seconds":
			readFamily(seen[upstreams], f, "upstream")
		case "roomgate_refusals_total":
			readFamily(seen[refusals], f, "reason")
		case laneMetric:
			readFamily(seen[lane], f, "reason")
		case "roomgate_requests_in_flight":
			inFlight = 0
			for _, m := range f.GetMetric() {
				inFlight += m.GetGauge().GetValue()
			}
		}
	}
	return seen, inFlight
}

// readDropped is how many lines of the log were dropped since the start.
func readDropped(families []*dto.MetricFamily) (dropped float64) {
	for _, f := range families {
		if f.GetName() == "roomgate_log_dropped_total" {
			for _, m := range f.GetMetric() {
				dropped += m.GetCounter().GetValue()
			}
		}
	}
	return dropped
}

// readFamily adds a counter's or a histogram's values to the readings by label.
func readFamily(into map[string]*reading, f *dto.MetricFamily, label string) {
	for _, m := range f.GetMetric() {
		i := slices.IndexFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == label })
		if i < 0 {
			continue
		}
		name := m.GetLabel()[i].GetValue()
		if into[name] == nil {
			into[name] = &reading{}
		}
		into[name].add(m)
	}
}

// track is one series as it goes on.
type track struct {
	recent []reading // of the window, the oldest first
	tallies
	points []Point
	totals []float64 // events counted up to each point
	base   float64   // events counted before the first point
}

// newTrack begins one. What a metric tells at the first look of all is from before; one that comes into being later
// begins at nothing, a second ago.
func newTrack(first bool, r *reading, now time.Time) *track {
	if first {
		return &track{base: r.events}
	}
	begin := now.Add(-historyEvery)
	return &track{recent: []reading{{at: begin}}, tallies: tallies{{at: begin}}}
}

// take adds a reading, and a point if one is due.
func (t *track) take(r *reading, now time.Time, due bool) {
	r.at = now
	if len(t.recent) > historyWindow {
		t.recent = slices.Delete(t.recent, 0, len(t.recent)-historyWindow)
	}
	t.recent = append(t.recent, *r)
	t.tallies.add(r)
	if !due {
		return
	}
	if len(t.points) == historyPoints {
		t.base = t.totals[0]
		t.points, t.totals = slices.Delete(t.points, 0, 1), slices.Delete(t.totals, 0, 1)
	}
	t.points, t.totals = append(t.points, t.now()), append(t.totals, r.events)
}

// now is the point over the window.
func (t *track) now() Point {
	first, last := t.recent[0], t.recent[len(t.recent)-1]
	p := Point{P50: quantile(.5, first, last), P95: quantile(.95, first, last), P99: quantile(.99, first, last), Failed: t.over(shortWindow).Of()}
	if took := last.at.Sub(first.at).Seconds(); took > 0 {
		p.Rate = max(0, last.events-first.events) / took
	}
	return p
}

func (t *track) series(name string) Series {
	last := t.recent[len(t.recent)-1]
	return Series{Name: name, Now: t.now(), Points: slices.Clone(t.points), Total: max(0, last.events-t.base), Minute: t.over(shortWindow), Five: t.over(longWindow)}
}
