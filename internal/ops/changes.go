package ops

// This file remembers when something began to be as it shouldn't, and when that ended.

import (
	"slices"
	"time"
)

const changesMost = 64 // that are remembered: what comes and goes all the time says enough in so many

// Change is a moment at which something began to be degraded, or ceased to be.
type Change struct {
	At    time.Time
	Level string // from then on: LevelDown, LevelRisk, or "" for well
	// Began has what is new, or has another level than before; Ended what isn't there any more.
	Began, Ended []Degradation
}

// states is what is degraded, and the changes of the last 15 minutes.
type states struct {
	last    []Degradation
	changes []Change
}

// take compares what is degraded with what was.
func (s *states) take(now time.Time, list []Degradation) {
	old := 0
	for old < len(s.changes) && now.Sub(s.changes[old].At) > historySpan {
		old++
	}
	s.changes = slices.Delete(s.changes, 0, old)
	about := func(a, b Degradation) bool { return a.Reason == b.Reason && a.Subject == b.Subject }
	c := Change{
		At: now, Level: LevelOf(list),
		Began: without(list, s.last, func(a, b Degradation) bool { return about(a, b) && a.Level == b.Level }),
		Ended: without(s.last, list, about),
	}
	s.last = slices.Clone(list)
	if len(c.Began)+len(c.Ended) == 0 {
		return
	}
	if len(s.changes) == changesMost {
		s.changes = slices.Delete(s.changes, 0, 1)
	}
	s.changes = append(s.changes, c)
}

// without is those of list that are the same as none of others.
func without(list, others []Degradation, same func(a, b Degradation) bool) (rest []Degradation) {
	for _, d := range list {
		if !slices.ContainsFunc(others, func(o Degradation) bool { return same(d, o) }) {
			rest = append(rest, d)
		}
	}
	return rest
}
