package ops

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
	historyEvery  = time.Second      // between two readings of the metrics
	historyStep   = 5                // readings per kept point
	historyWindow = 10               // readings that rates and quantiles cover
	historyPoints = 180              // 15 minutes
	historySpan   = 15 * time.Minute // historyPoints · historyStep · historyEvery
	historySeries = 64               // maximum names of one kind; a second bound, since the names come from fixed sets
)

// The kinds of series.
const (
	routes = iota
	upstreams
	refusals
	lane // by the reason of a hand-over; "": answered by the lane
	kinds
)

// byKind holds a T for each kind and name.
type byKind[T any] [kinds]map[string]T

func newByKind[T any]() (k byKind[T]) {
	for i := range k {
		k[i] = make(map[string]T)
	}
	return k
}

// History keeps the last 15 minutes of the metrics that the status page draws, in bounded memory. Prometheus keeps more. It reads
// the registry once a second. It is safe for concurrent use.
type History struct {
	from     prometheus.Gatherer
	degraded func() []Degradation

	mu       sync.Mutex // guards the fields below
	looks    int
	point    time.Time // time of the last kept point
	states   states
	kinds    byKind[*track]
	inFlight float64
	dropped  float64
}

// Past is the content of a History. Metrics that don't exist leave their part empty.
type Past struct {
	Routes, Upstreams, Refusals []Series  // by name
	Lane                        []Series  // by reason of hand-overs; "": answered by the lane
	InFlight                    float64   // NaN: unknown
	LogDropped                  float64   // lines since the start
	At                          time.Time // time of the last point of each series
	Changes                     []Change  // oldest first
}

// Series is 15 minutes of one name.
type Series struct {
	Name   string
	Now    Point   // over the last 10 s
	Points []Point // 5 s apart, oldest first; at most 180
	Total  float64 // events in the 15 minutes
	// Minute and Five are the answers of the last minute and of the last five, and how many failed. They mean nothing for
	// refusals.
	Minute, Five Share
}

// Point is 10 s of a series. Quantiles are in seconds; NaN: nothing was measured. Failed is the share of failed answers in the
// minute before; NaN: there was no answer.
type Point struct{ Rate, P50, P95, P99, Failed float64 }

// NewHistory returns an empty History. Run fills it. degraded returns the current degradations; nil: there are none.
func NewHistory(from prometheus.Gatherer, degraded func() []Degradation) *History {
	if degraded == nil {
		degraded = func() []Degradation { return nil }
	}
	return &History{from: from, degraded: degraded, kinds: newByKind[*track](), inFlight: math.NaN()}
}

// Run reads the metrics once a second until ctx ends. It returns nil.
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

// Past returns a copy of what is known now.
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

// look reads every series once.
func (h *History) look(now time.Time) {
	families, _ := h.from.Gather() // use what could be gathered; /status reports errors
	seen, inFlight := readFamilies(families)
	degraded := h.degraded() // before mu is locked: it calls this History
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

// readFamilies reads the metrics that are needed, summed over all labels but one.
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

// readDropped returns how many log lines were dropped since the start.
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

// readFamily adds the values of a counter or histogram to the readings of each label value.
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

// track is the running record of one series.
type track struct {
	recent []reading // the window's, oldest first
	tallies
	points []Point
	totals []float64 // events counted up to each point
	base   float64   // events counted before the first point
}

// newTrack begins a track. What a metric counts at the very first reading is from before. A metric that appears later began at
// zero a second ago.
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

// now returns the point of the current window.
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
