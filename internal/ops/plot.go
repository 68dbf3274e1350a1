package ops

import (
	"math"
	"strconv"
)

// plot is one small plot. The page's script draws it, and shows the values of a moment.
type plot struct {
	Label string `json:"l"` // description for screen readers
	Peak  string `json:"m"` // text of the upper edge's value; "": nothing is drawn
	Unit  string `json:"u"` // of the values: rate, ms or percent
	Lines []line `json:"d"`
}

// line is one quantity. Its last value is that of the view's End. Values are historyStep readings apart.
type line struct {
	Name   string `json:"n"` // as shown; p50, p95 and p99 also select the line style
	Values values `json:"v"`
}

// values are numbers with gaps, which are NaN.
type values []float64

// MarshalJSON writes three significant digits of each value, since nobody sees more, and null for a gap.
func (v values) MarshalJSON() ([]byte, error) {
	text := []byte{'['}
	for i, n := range v {
		if i > 0 {
			text = append(text, ',')
		}
		if math.IsNaN(n) || math.IsInf(n, 0) {
			text = append(text, "null"...)
			continue
		}
		text = appendShort(text, n)
	}
	return append(text, ']'), nil
}

// appendShort appends three significant digits, and all digits before the decimal point.
func appendShort(text []byte, n float64) []byte {
	if math.Abs(n) >= 100 {
		return strconv.AppendFloat(text, math.Round(n), 'f', -1, 64)
	}
	short, _ := strconv.ParseFloat(strconv.FormatFloat(n, 'g', 3, 64), 64) // can't fail: parses its own output
	return strconv.AppendFloat(text, short, 'f', -1, 64)
}

// lineOf returns the line of one quantity of points.
func lineOf(name string, points []Point, of func(Point) float64) line {
	l := line{Name: name, Values: make(values, len(points))}
	for i, p := range points {
		l.Values[i] = of(p)
	}
	return l
}

// most returns the greatest value of a quantity; 0 if there is none.
func most(points []Point, of func(Point) float64) float64 {
	top := 0.0
	for _, p := range points {
		if v := of(p); v > top { // never NaN
			top = v
		}
	}
	return top
}

func rateOf(p Point) float64   { return p.Rate }
func failedOf(p Point) float64 { return p.Failed }
func p99Of(p Point) float64    { return p.P99 }

// ratePlot draws events per second.
func ratePlot(w words, name string, points []Point) *plot {
	p := &plot{Unit: "rate", Lines: []line{lineOf(w.Say("column rate"), points, rateOf)}}
	return p.about(w, name, w.Say("column rate"), w.rate(most(points, rateOf)), len(points) > 0)
}

// errorPlot draws the share of failed answers.
func errorPlot(w words, name string, points []Point) *plot {
	p := &plot{Unit: "percent", Lines: []line{lineOf(w.Say("column errors"), points, func(p Point) float64 { return 100 * p.Failed })}}
	return p.about(w, name, w.Say("column errors"), w.percent(most(points, failedOf)), len(points) > 0)
}

// latencyPlot draws the three quantiles on one scale.
func latencyPlot(w words, name string, points []Point) *plot {
	p := &plot{Unit: "ms", Lines: []line{
		lineOf("p99", points, func(p Point) float64 { return 1000 * p.P99 }),
		lineOf("p95", points, func(p Point) float64 { return 1000 * p.P95 }),
		lineOf("p50", points, func(p Point) float64 { return 1000 * p.P50 }),
	}}
	top := most(points, p99Of)
	return p.about(w, name, w.Say("column latencies"), w.latency(top), top > 0)
}

// about sets the texts of a plot.
func (p *plot) about(w words, name, quantity, peak string, drawn bool) *plot {
	p.Label = w.Say("peak", quantity, name, peak)
	if drawn {
		p.Peak = w.Say("top", peak)
	}
	return p
}
