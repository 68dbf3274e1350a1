package ops

// This file tells what members get: the share of failed answers by route, and of failed calls by upstream, from the counters alone.

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
	// failingShare and failingCount make a failure: fewer failed answers than that are bad luck.
	failingShare = .01
	failingCount = 3
)

// Share is how many answers or calls of a time there were, and how many of them failed. Those whose client has left, or has failed
// itself, are in neither.
type Share struct{ Answered, Failed float64 }

// Of is the share that failed; NaN where there was no answer.
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
	Now      bool   // it fails within the last minute, or failed when it was last asked
	Share           // of the last minute where it fails now, else of the last five
}

// tally is what was counted up to a moment.
type tally struct {
	at time.Time
	Share
}

// tallies are those of the last five minutes, the oldest first.
type tallies []tally

// add keeps one.
func (t *tallies) add(r *reading) {
	old := 0
	for old < len(*t)-1 && r.at.Sub((*t)[old+1].at) >= longWindow {
		old++
	}
	*t = append(slices.Delete(*t, 0, old), tally{r.at, r.share})
}

// over is the share of the time before the last tally.
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

// failing judges a series. now: it fails within the last minute, or nothing says that it doesn't any more.
func (t tallies) failing() (is, now bool, share Share) {
	short, long := t.over(shortWindow), t.over(longWindow)
	if long.Failed < failingCount {
		return false, false, Share{}
	}
	if short.Of() >= failingShare {
		return true, true, short
	}
	if long.Of() < failingShare {
		return false, false, Share{}
	}
	return true, short.Answered < failingCount, long
}

// Failing lists what fails, routes first, by name.
func (h *History) Failing() (list []Failing) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, kind := range []int{routes, upstreams} {
		for name, t := range h.kinds[kind] {
			if is, now, share := t.tallies.failing(); is {
				list = append(list, Failing{kind == upstreams, name, now, share})
			}
		}
	}
	slices.SortFunc(list, func(a, b Failing) int {
		return cmp.Or(cmp.Compare(strconv.FormatBool(a.Upstream), strconv.FormatBool(b.Upstream)), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// Totals are the requests a second of the last 10 s, and the answers of the last minute, of all routes together.
func (h *History) Totals() (rate float64, minute Share) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, t := range h.kinds[routes] {
		rate += t.now().Rate
		minute = minute.plus(t.over(shortWindow))
	}
	return rate, minute
}

// count adds a counter's value to the share, as its code or result says.
func (s *Share) count(m *dto.Metric) {
	n := m.GetCounter().GetValue()
	for _, l := range m.GetLabel() {
		switch l.GetName() {
		case "code":
			if l.GetValue() == "499" {
				return // nobody was there to get it
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
