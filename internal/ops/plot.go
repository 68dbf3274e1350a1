package ops

// This file turns a series into the outlines of a small plot. The page draws them with the browser's own SVG, so that they
// are there without a script too.

import (
	"math"
	"strconv"
	"strings"
)

// The plane of a plot, stretched by the page to its place: a step to the right for each point, now at the right end.
const (
	plotWidth  = historyPoints - 1
	plotHeight = 100
)

// plot is one picture.
type plot struct {
	Label string `json:"l"` // in words, for who doesn't see it
	Peak  string `json:"m"` // what the upper edge stands for; "" for nothing drawn
	// Area and Lines are the d of paths: of the fill, where there is one, and of the lines above it.
	Area  string   `json:"a,omitempty"`
	Lines []string `json:"d"`
}

// outline draws one quantity of points up to top; it has gaps where nothing was measured.
func outline(points []Point, of func(Point) float64, top float64) string {
	var d strings.Builder
	pen := false
	for i, p := range points {
		v := of(p)
		if math.IsNaN(v) || top <= 0 {
			pen = false
			continue
		}
		at := strconv.Itoa(historyPoints-len(points)+i) + " " + strconv.Itoa(int(math.Round(plotHeight*(1-min(1, v/top)))))
		if !pen {
			d.WriteString("M" + at) // and a line to itself: a lone point is seen as a dot
		}
		d.WriteString(" " + at)
		pen = true
	}
	return d.String()
}

// area closes an outline without gaps down to the base.
func area(line string, points int) string {
	if line == "" {
		return ""
	}
	return line + "V" + strconv.Itoa(plotHeight) + "H" + strconv.Itoa(historyPoints-points) + "Z"
}

// most is the greatest of a quantity; 0 for none.
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
func p50Of(p Point) float64    { return p.P50 }
func p95Of(p Point) float64    { return p.P95 }
func p99Of(p Point) float64    { return p.P99 }

// ratePlot draws events per second.
func ratePlot(w words, points []Point) *plot {
	top := most(points, rateOf)
	line := outline(points, rateOf, top)
	p := &plot{Lines: []string{line}, Area: area(line, len(points)), Label: w.Say("peak", w.Say("column rate"), w.rate(top))}
	if line != "" {
		p.Peak = w.rate(top)
	}
	return p
}

// latencyPlot draws the three quantiles on one scale.
func latencyPlot(w words, points []Point) *plot {
	top := most(points, p99Of)
	p := &plot{Label: w.Say("peak", "p99", w.latency(top))}
	for _, of := range []func(Point) float64{p99Of, p95Of, p50Of} {
		p.Lines = append(p.Lines, outline(points, of, top))
	}
	if p.Lines[0] != "" {
		p.Peak = w.latency(top)
	}
	return p
}

// errorPlot draws the share of failed answers; nothing where none has failed.
func errorPlot(w words, points []Point) *plot {
	top := most(points, failedOf)
	p := &plot{Lines: []string{outline(points, failedOf, top)}, Label: w.Say("peak", w.Say("column errors"), w.percent(top))}
	if top > 0 {
		p.Peak = w.percent(top)
	}
	return p
}
