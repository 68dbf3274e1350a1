package ops

// This file puts what the status page shows into words: the same value is rendered by the page's template at first, and
// sent to its script from then on. So there is one place that formats, and a script that only sets texts.

import (
	"slices"
	"strings"
	"time"
)

// view is everything on the page that changes.
type view struct {
	About    string   `json:"about"`
	AsOf     string   `json:"-"` // for a page without its script
	State    cell     `json:"state"`
	Problems []string `json:"problems"`
	Tiles    []tile   `json:"tiles"`
	Tables   []table  `json:"tables"`
}

// tile is one figure at the top.
type tile struct {
	Label string `json:"-"`
	Value cell   `json:"v"`
	Note  string `json:"n"`
}

// table is one part of the page. Columns and texts stay as they were at first; the rows change.
type table struct {
	ID      string   `json:"id"`
	Title   string   `json:"-"`
	Empty   string   `json:"-"` // instead of no rows
	Columns []column `json:"-"`
	Rows    [][]cell `json:"rows"`
}

// column is a column's heading and what it holds: text, num or plot.
type column struct{ Label, Kind string }

// cell is one value. It is set as text, whatever it is.
type cell struct {
	Text string `json:"t"`
	// Note stands beside it, smaller.
	Note string `json:"n,omitempty"`
	// Mood colours it: good, warn, bad or "".
	Mood string `json:"c,omitempty"`
	Plot *plot  `json:"p,omitempty"`
}

// newView describes a moment.
func newView(w words, s Status, ready bool, past Past) view {
	v := view{About: about(w, s), AsOf: w.Say("as of", time.Now().UTC().Format(time.TimeOnly))}
	v.State = cell{Text: w.Say("well"), Mood: "good"}
	v.Problems = problems(w, s)
	switch {
	case !ready:
		v.State = cell{Text: w.Say("draining"), Mood: "warn"}
	case len(s.Reasons) > 0:
		v.State = cell{Text: w.Say("degraded"), Mood: "bad"}
	}
	v.Tiles = tiles(w, s, past)
	v.Tables = []table{
		traffic(w, "routes", "route", past.Routes),
		traffic(w, "upstreams", "upstream", past.Upstreams),
		licenseTable(w, s.Licenses),
		dependencyTable(w, s),
		replicaTable(w, s.Replicas),
		limitTable(w, s.Limits, past),
		refusalTable(w, past.Refusals),
		laneTable(w, s.Lane.On, past.Lane),
	}
	return v
}

// problems says what isn't as it should be, each once, with whom it concerns.
func problems(w words, s Status) []string {
	list := []string{}
	for _, reason := range slices.Compact(slices.Sorted(slices.Values(s.Reasons))) {
		var whom []string
		for _, u := range s.Upstreams {
			if reason == "circuit" && u.Circuit == "open" {
				whom = append(whom, u.Name)
			}
		}
		for _, l := range s.Licenses {
			if reason == "token" && l.LastError != "" && !slices.Contains(whom, l.Name) {
				whom = append(whom, l.Name)
			}
		}
		text := w.known("problem", reason)
		if len(whom) > 0 {
			text += ": " + strings.Join(whom, ", ")
		}
		list = append(list, text)
	}
	return list
}

// about says which replica this is.
func about(w words, s Status) string {
	text := w.Say("version", s.Version) + " · " + w.Say("about", w.span(s.UptimeSeconds))
	for _, r := range s.Replicas {
		if r.Self && r.Host != "" {
			text = r.Host + " · " + text
		}
	}
	return text
}

func tiles(w words, s Status, past Past) []tile {
	rate, refused, closed, usable := 0.0, 0.0, 0, 0
	for _, r := range past.Routes {
		rate += r.Now.Rate
	}
	for _, r := range past.Refusals {
		refused += r.Total
	}
	for _, u := range s.Upstreams {
		if u.Circuit == "closed" {
			closed++
		}
	}
	for _, l := range s.Licenses {
		if l.ExpiresInSeconds > 0 {
			usable++
		}
	}
	redis := state(w, s.Redis.State)
	return []tile{
		{w.Say("requests"), cell{Text: w.Say("per second", w.rate(rate))}, w.Say("in flight") + " " + w.inFlight(past)},
		{w.Say("refused"), cell{Text: w.count(refused)}, w.Say("15 minutes")},
		{w.Say("tokens"), cell{Text: w.Say("of all", usable, len(s.Licenses))}, ""},
		{w.Say("redis"), redis, s.Redis.LastError},
		{w.Say("circuits"), state(w, worst(s.Upstreams)), w.Say("of all", closed, len(s.Upstreams)) + " " + w.Say("state closed")},
		{w.Say("replicas"), cell{Text: w.count(float64(len(s.Replicas)))}, ""},
	}
}

// worst is open if some circuit is, and else not closed if some isn't.
func worst(upstreams []Upstream) string {
	found := "closed"
	for _, u := range upstreams {
		if u.Circuit == "open" || found == "closed" {
			found = u.Circuit
		}
	}
	return found
}

// state is a word for one of the states of licenses, Redis and circuits.
func state(w words, name string) cell {
	c := cell{Text: w.known("state", name)}
	switch name {
	case "fresh", "up", "closed":
		c.Mood = "good"
	case "due", "half-open":
		c.Mood = "warn"
	case "failing", "down", "open":
		c.Mood = "bad"
	}
	return c
}
