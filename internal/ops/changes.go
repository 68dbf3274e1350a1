package ops

import (
	"slices"
	"time"
)

const changesMost = 64 // maximum number of changes kept: a state that flaps needs no more

// Change is a moment at which a degradation began, ended or changed its level.
type Change struct {
	At    time.Time
	Level string // since then: LevelDown, LevelRisk, or "" for well
	// Began lists degradations that are new or have another level than before; Ended lists those that are over.
	Began, Ended []Degradation
}

// states holds the current degradations, and the changes of the last 15 minutes.
type states struct {
	last    []Degradation
	changes []Change
}

// take records a change if list differs from the last one.
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

// without returns the elements of list that aren't the same as any of others.
func without(list, others []Degradation, same func(a, b Degradation) bool) (rest []Degradation) {
	for _, d := range list {
		if !slices.ContainsFunc(others, func(o Degradation) bool { return same(d, o) }) {
			rest = append(rest, d)
		}
	}
	return rest
}
