package ops

import "time"

// view is everything that the page shows, already as text. The script only sets texts and draws, so formatting and layout are in
// one place.
type view struct {
	Words    map[string]string `json:"words,omitempty"` // only in a page's first view
	About    string            `json:"about"`
	State    cell              `json:"state"`
	Problems []string          `json:"problems"`
	Tiles    []tile            `json:"tiles"`
	Tables   []table           `json:"tables"`
	End      int64             `json:"end"` // time of each plot's last point, in milliseconds since 1970; 0: none
	Marks    []mark            `json:"marks"`
}

// mark is a change of state, shown in every plot.
type mark struct {
	At   int64  `json:"at"` // milliseconds since 1970
	Mood string `json:"c"`
	Text string `json:"t"`
}

// tile is one figure at the top.
type tile struct {
	Label string `json:"l"`
	Value cell   `json:"v"`
	Note  string `json:"n"`
}

// table is one part of the page. After the first view, the script changes only rows and hint.
type table struct {
	ID      string   `json:"id"`
	Title   string   `json:"title"`
	Empty   string   `json:"empty"` // shown if there are no rows
	Columns []column `json:"columns"`
	Rows    [][]cell `json:"rows"`
	Hint    string   `json:"hint"`             // below the rows; "": none
	Legend  bool     `json:"legend,omitempty"` // its plots need a legend
}

// column is a column's heading and kind: text, num or plot.
type column struct {
	Label string `json:"l"`
	Kind  string `json:"k"`
}

// cell is one value. The script sets it as text, never as HTML.
type cell struct {
	Text string `json:"t"`
	// Note is shown beside it, smaller.
	Note string `json:"n,omitempty"`
	// Mood colours it: good, warn, bad or "".
	Mood string `json:"c,omitempty"`
	Plot *plot  `json:"p,omitempty"`
}

// newView returns the view of a moment.
func newView(w words, s Status, ready bool, past Past) view {
	v := view{About: about(w, s), State: headline(w, s, ready), Problems: problems(w, s), Tiles: tiles(w, s, past), Marks: marks(w, past.Changes)}
	if !past.At.IsZero() {
		v.End = past.At.UnixMilli()
	}
	v.Tables = []table{
		traffic(w, "routes", "route", past.Routes),
		traffic(w, "upstreams", "upstream", past.Upstreams),
		licenseTable(w, s),
		replicaTable(w, s),
		changeTable(w, past.Changes),
		factTable(w, s, past),
		dependencyTable(w, s),
		limitTable(w, s.Limits, past),
		refusalTable(w, past.Refusals),
		laneTable(w, s.Lane.On, past.Lane),
	}
	return v
}

// headline says whether members are served. Each level has its own mark and word, so colour isn't needed to tell them apart.
func headline(w words, s Status, ready bool) cell {
	c := levelCell(w, "", LevelOf(s.Degraded))
	if !ready {
		c.Text = w.Say("draining") + " · " + c.Text
		if c.Mood == "good" {
			c.Mood = "warn"
		}
	}
	return c
}

// levelCell shows a level. kind selects the texts; "": the headline's.
func levelCell(w words, kind, level string) cell {
	name, mood := "well", "good"
	switch level {
	case LevelDown:
		name, mood = level, "bad"
	case LevelRisk:
		name, mood = level, "warn"
	}
	if kind != "" {
		name = kind + " " + name
	}
	return cell{Text: w.Say(name), Mood: mood}
}

// problems lists what is wrong, with what it concerns and since when.
func problems(w words, s Status) []string {
	list := []string{}
	for _, d := range s.Degraded {
		text := problem(w, d)
		if d.Share > 0 {
			text += " " + w.percent(d.Share)
		}
		list = append(list, text+" ("+w.Say("since", d.Since.UTC().Format(time.TimeOnly))+")")
	}
	return list
}

// problem names a degradation and what it is about.
func problem(w words, d Degradation) string {
	text := w.known("problem", d.Reason)
	if d.Reason == "answers" && d.Level == LevelRisk {
		text = w.Say("failed before")
	}
	if d.Subject != "" {
		text += ": " + w.known("subject", d.Subject)
	}
	return text
}

// about says which replica's figures are shown.
func about(w words, s Status) string {
	whose := w.Say("one of", max(1, len(s.Replicas)))
	switch {
	case !s.ReplicasKnown:
		whose = w.Say("one of some")
	case len(s.Replicas) < 2:
		whose = w.Say("the only one")
	}
	text := whose + " · " + w.Say("version", s.Version) + " · " + w.Say("about", w.span(s.UptimeSeconds))
	for _, r := range s.Replicas {
		if r.Self && r.Host != "" {
			text = r.Host + ": " + text
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
		replicaTile(w, s),
	}
}

// replicaTile shows the number of replicas, and what the fleet's members get.
func replicaTile(w words, s Status) tile {
	t := tile{w.Say("replicas"), cell{Text: w.count(float64(len(s.Replicas)))}, w.Say("whole fleet", w.percent(fleetShare(s.Replicas).Of()))}
	switch n := len(versions(s)); {
	case !s.ReplicasKnown:
		t.Value.Mood, t.Note = "warn", w.Say("others unknown")
	case n > 1:
		t.Value.Mood, t.Note = "warn", w.Say("some versions", n)
	}
	for _, r := range s.Replicas {
		if r.Figures != nil && r.Figures.Level == LevelDown {
			t.Value.Mood = "bad"
		}
	}
	return t
}

// fleetShare returns the answers of the last minute of all replicas that report theirs.
func fleetShare(list []Replica) (all Share) {
	for _, r := range list {
		if f := r.Figures; f != nil {
			all = all.plus(Share{f.Answered, f.Failed})
		}
	}
	return all
}

// tokensCell shows how many licenses have a token, and a colour if one fails.
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

// errorCell shows a share of failed answers.
func errorCell(w words, s Share) cell {
	c := cell{Text: w.percent(s.Of())}
	if s.Failed >= failingCount && s.Of() >= failingShare {
		c.Mood = "bad"
	} else if s.Failed > 0 {
		c.Mood = "warn"
	}
	return c
}

// worst returns open if any circuit is open, else half-open if any is, else closed.
func worst(upstreams []Upstream) string {
	found := "closed"
	for _, u := range upstreams {
		if u.Circuit == "open" || found == "closed" {
			found = u.Circuit
		}
	}
	return found
}

// state shows a state of a license, Redis or a circuit.
func state(w words, name string) cell {
	c := cell{Text: w.known("state", name)}
	switch name {
	case "fresh", "up", "closed":
		c.Mood = "good"
	case "due", "half-open", "down": // without Redis, members are still served
		c.Mood = "warn"
	case "failing", "open":
		c.Mood = "bad"
	}
	return c
}
