package ops

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	dto "github.com/prometheus/client_model/go"
)

const (
	shortWindow = time.Minute
	longWindow  = 5 * time.Minute
	// A route or upstream fails if at least failingShare and failingCount of its answers fail. Fewer are chance.
	failingShare = .01
	failingCount = 3
)

// Share counts the answers or calls of a period, and how many of them failed. It leaves out those whose client left or was at
// fault itself.
type Share struct{ Answered, Failed float64 }

// Of returns the share that failed; NaN if there was no answer.
func (s Share) Of() float64 {
	if s.Answered <= 0 {
		return math.NaN()
	}
	return s.Failed / s.Answered
}

func (s Share) plus(other Share) Share {
	return Share{s.Answered + other.Answered, s.Failed + other.Failed}
}

// Failing is a route or an upstream that fails, or has failed within the last five minutes.
type Failing struct {
	Upstream bool   // else a route
	Name     string // the route's pattern, or the upstream's
	Now      bool   // it failed in the last minute, or there were too few answers since to tell
	Minute   bool   // Share is of the last minute, else of the last five
	Share
}

// tally is the Share counted up to a moment.
type tally struct {
	at time.Time
	Share
}

// tallies are those of the last five minutes, oldest first.
type tallies []tally

// add adds the reading's tally, and removes old ones.
func (t *tallies) add(r *reading) {
	old := 0
	for old < len(*t)-1 && r.at.Sub((*t)[old+1].at) >= longWindow {
		old++
	}
	*t = append(slices.Delete(*t, 0, old), tally{r.at, r.share})
}

// over returns the Share of the period d before the last tally.
func (t tallies) over(d time.Duration) Share {
	if len(t) == 0 {
		return Share{}
	}
	last := t[len(t)-1]
	from := t[0]
	for _, x := range slices.Backward(t) {
		if from = x; last.at.Sub(x.at) >= d {
			break
		}
	}
	return Share{max(0, last.Answered-from.Answered), max(0, last.Failed-from.Failed)}
}

// failing returns how the series fails, without its name. is: it fails, or has failed within the last five minutes.
func (t tallies) failing() (f Failing, is bool) {
	short, long := t.over(shortWindow), t.over(longWindow)
	if long.Failed < failingCount {
		return Failing{}, false
	}
	if short.Of() >= failingShare {
		return Failing{Now: true, Minute: true, Share: short}, true
	}
	return Failing{Now: short.Answered < failingCount, Share: long}, long.Of() >= failingShare
}

// Failing returns what fails, routes first, sorted by name.
func (h *History) Failing() (list []Failing) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, kind := range []int{routes, upstreams} {
		for name, t := range h.kinds[kind] {
			if f, is := t.tallies.failing(); is {
				f.Upstream, f.Name = kind == upstreams, name
				list = append(list, f)
			}
		}
	}
	slices.SortFunc(list, func(a, b Failing) int {
		return cmp.Or(cmp.Compare(strconv.FormatBool(a.Upstream), strconv.FormatBool(b.Upstream)), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// Totals returns the requests per second over the last 10 s, and the answers of the last minute, of all routes together.
func (h *History) Totals() (rate float64, minute Share) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.kinds[routes] {
		rate += t.now().Rate
		minute = minute.plus(t.over(shortWindow))
	}
	return rate, minute
}

// count adds a counter's value to the share. Its label code or result decides whether it failed.
func (s *Share) count(m *dto.Metric) {
	n := m.GetCounter().GetValue()
	for _, l := range m.GetLabel() {
		switch l.GetName() {
		case "code":
			if l.GetValue() == "499" {
				return // the client has left
			}
			if l.GetValue() >= "500" {
				s.Failed += n
			}
		case "result":
			switch l.GetValue() {
			case "client":
				return
			case "ok":
			default:
				s.Failed += n
			}
		}
	}
	s.Answered += n
}
