package ops

// This file puts what the status page shows into words: the same value is rendered by the page's template at first, and
// sent to its script from then on. So there is one place that formats, and a script that only sets texts.

import "time"

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
	v.State = headline(w, s, ready)
	v.Problems = problems(w, s)
	v.Tiles = tiles(w, s, past)
	v.Tables = []table{
		traffic(w, "routes", "route", past.Routes),
		traffic(w, "upstreams", "upstream", past.Upstreams),
		licenseTable(w, s.Licenses),
		dependencyTable(w, s),
		replicaTable(w, s.Replicas),
		factTable(w, s, past),
		limitTable(w, s.Limits, past),
		refusalTable(w, past.Refusals),
		laneTable(w, s.Lane.On, past.Lane),
	}
	return v
}

// headline answers whether members are served. Each level has a mark and a word of its own beside its colour.
func headline(w words, s Status, ready bool) cell {
	c := cell{Text: w.Say("well"), Mood: "good"}
	for _, d := range s.Degraded {
		if d.Level == LevelDown {
			c = cell{Text: w.Say("down"), Mood: "bad"}
			break
		}
		c = cell{Text: w.Say("risk"), Mood: "warn"}
	}
	if !ready {
		c.Text = w.Say("draining") + " · " + c.Text
		if c.Mood == "good" {
			c.Mood = "warn"
		}
	}
	return c
}

// problems says what isn't as it should be, with whom it concerns and since when.
func problems(w words, s Status) []string {
	list := []string{}
	for _, d := range s.Degraded {
		text := w.known("problem", d.Reason)
		if d.Reason == "answers" && d.Level == LevelRisk {
			text = w.Say("failed before")
		}
		if d.Subject != "" {
			text += ": " + w.known("subject", d.Subject)
		}
		if d.Share > 0 {
			text += " " + w.percent(d.Share)
		}
		list = append(list, text+" ("+w.Say("since", d.Since.UTC().Format(time.TimeOnly))+")")
	}
	return list
}

// about says whose figures these are.
func about(w words, s Status) string {
	text := w.Say("one of", max(1, len(s.Replicas))) + " · " + w.Say("version", s.Version) + " · " + w.Say("about", w.span(s.UptimeSeconds))
	for _, r := range s.Replicas {
		if r.Self && r.Host != "" {
			text = r.Host + " · " + text
		}
	}
	return text
}

func tiles(w words, s Status, past Past) []tile {
	rate, refused, closed := 0.0, 0.0, 0
	var minute, five Share
	for _, r := range past.Routes {
		rate += r.Now.Rate
		minute, five = minute.plus(r.Minute), five.plus(r.Five)
	}
	for _, r := range past.Refusals {
		refused += r.Total
	}
	for _, u := range s.Upstreams {
		if u.Circuit == "closed" {
			closed++
		}
	}
	redis := state(w, s.Redis.State)
	return []tile{
		{w.Say("requests"), cell{Text: w.Say("per second", w.rate(rate))}, w.Say("in flight") + " " + w.inFlight(past)},
		{w.Say("failed"), errorCell(w, minute), w.Say("five minutes", w.percent(five.Of()))},
		{w.Say("refused"), cell{Text: w.count(refused)}, w.Say("15 minutes")},
		{w.Say("tokens"), tokensCell(w, s.Licenses), ""},
		{w.Say("redis"), redis, s.Redis.LastError},
		{w.Say("circuits"), state(w, worst(s.Upstreams)), w.Say("of all", closed, len(s.Upstreams)) + " " + w.Say("state closed")},
		{w.Say("replicas"), cell{Text: w.count(float64(len(s.Replicas)))}, ""},
	}
}

// tokensCell is how many licenses have a token, coloured where one fails.
func tokensCell(w words, list []License) cell {
	usable, mood := 0, ""
	for _, l := range list {
		switch {
		case l.ExpiresInSeconds > 0:
			usable++
			if l.LastError != "" && mood == "" {
				mood = "warn"
			}
		case l.LastError != "":
			mood = "bad"
		}
	}
	return cell{Text: w.Say("of all", usable, len(list)), Mood: mood}
}

// errorCell is a share of failed answers.
func errorCell(w words, s Share) cell {
	c := cell{Text: w.percent(s.Of())}
	if s.Failed >= failingCount && s.Of() >= failingShare {
		c.Mood = "bad"
	} else if s.Failed > 0 {
		c.Mood = "warn"
	}
	return c
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
	case "due", "half-open", "down": // without Redis members are served
		c.Mood = "warn"
	case "failing", "open":
		c.Mood = "bad"
	}
	return c
}
