package ops

// This file lays out the status page's tables.

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// newTable is one without rows. A column's kind is the letter before its name: t for text, n for numbers, p for plots.
func newTable(w words, id string, columns ...string) table {
	t := table{ID: id, Title: w.Say(id), Empty: w.Say("none " + id), Rows: [][]cell{}}
	kinds := map[byte]string{'t': "text", 'n': "num", 'p': "plot"}
	for _, c := range columns {
		t.Columns = append(t.Columns, column{w.Say("column " + c[2:]), kinds[c[0]]})
	}
	return t
}

// traffic is rates and latencies by name.
func traffic(w words, id, label string, list []Series) table {
	t := newTable(w, id, "t "+label, "n rate", "p rates", "n errors", "p failures", "n p50", "n p95", "n p99", "p latencies")
	for _, s := range list {
		name := s.Name
		if name == "none" {
			name = w.Say("no route")
		}
		errors := errorCell(w, s.Minute)
		if worst := most(s.Points, failedOf); worst > 0 {
			errors.Note = w.Say("worst minute", w.percent(worst))
		}
		t.Rows = append(t.Rows, []cell{
			{Text: name}, {Text: w.rate(s.Now.Rate)}, {Plot: ratePlot(w, s.Points)}, errors, {Plot: errorPlot(w, s.Points)},
			{Text: w.latency(s.Now.P50)}, {Text: w.latency(s.Now.P95)}, {Text: w.latency(s.Now.P99)}, {Plot: latencyPlot(w, s.Points)},
		})
	}
	return t
}

func licenseTable(w words, list []License) table {
	t := newTable(w, "licenses", "t license", "t state", "n age", "n expiry", "t error")
	for _, l := range list {
		age, expiry, failure := cell{Text: "–"}, cell{Text: "–"}, cell{Text: "–"}
		if l.ExpiresInSeconds > 0 {
			age.Text, expiry.Text = w.span(l.AgeSeconds), w.span(l.ExpiresInSeconds)
		}
		if l.LastError != "" {
			failure = cell{Text: w.known("error", l.LastError), Mood: "bad"}
		}
		standing := state(w, l.State)
		if l.State == "failing" && l.ExpiresInSeconds > 0 {
			standing.Mood = "warn" // the present token serves on
		}
		t.Rows = append(t.Rows, []cell{{Text: l.Name, Note: w.known("role", l.Role)}, standing, age, expiry, failure})
	}
	return t
}

func dependencyTable(w words, s Status) table {
	t := newTable(w, "dependencies", "t dependency", "t state", "t detail")
	t.Rows = append(t.Rows, []cell{{Text: "Redis"}, state(w, s.Redis.State), {Text: or(s.Redis.LastError, "–")}})
	for _, u := range s.Upstreams {
		t.Rows = append(t.Rows, []cell{{Text: u.Name}, state(w, u.Circuit), {Text: u.URL}})
	}
	return t
}

func limitTable(w words, list []Limit, past Past) table {
	t := newTable(w, "limits", "t limit", "n setting", "n now", "n refused")
	refused := make(map[string]float64)
	for _, r := range past.Refusals {
		refused[r.Name] = r.Total
	}
	for _, l := range list {
		now, value := "–", l.Value
		if l.Name == "overload" {
			now = w.inFlight(past)
		}
		if value == "0" {
			value = w.Say("off")
		} else if n, err := strconv.ParseFloat(value, 64); err == nil {
			value = w.count(n)
		}
		t.Rows = append(t.Rows, []cell{
			{Text: w.known("limit", l.Name), Note: l.Setting}, {Text: value}, {Text: now}, {Text: w.count(refused[l.Name])},
		})
	}
	return t
}

func refusalTable(w words, list []Series) table {
	t := newTable(w, "refusals", "t reason", "n count", "p rates")
	for _, s := range list {
		if s.Total > 0 {
			t.Rows = append(t.Rows, []cell{
				{Text: w.known("reason", s.Name), Note: s.Name}, {Text: w.count(s.Total)}, {Plot: ratePlot(w, s.Points)},
			})
		}
	}
	return t
}

// laneTable is where HTTP/1 requests have gone, of which the lane has had the first look.
func laneTable(w words, on bool, list []Series) table {
	t := newTable(w, "lane", "t lane", "n count", "n share", "p rates")
	if !on {
		t.Empty = w.Say("lane off")
		return t
	}
	all := 0.0
	for _, s := range list {
		all += s.Total
	}
	for _, s := range list {
		if s.Total > 0 {
			text := w.known("lane", or(s.Name, "taken"))
			t.Rows = append(t.Rows, []cell{{Text: text, Note: s.Name}, {Text: w.count(s.Total)}, {Text: w.count(100*s.Total/all) + " %"}, {Plot: ratePlot(w, s.Points)}})
		}
	}
	return t
}

func replicaTable(w words, list []Replica) table {
	t := newTable(w, "replicas", "t replica", "t version", "n uptime", "n seen")
	for _, r := range list {
		seen := w.Say("ago", w.span(r.SeenSecondsAgo))
		if r.Self {
			seen = w.Say("this one")
		}
		t.Rows = append(t.Rows, []cell{
			{Text: or(r.Host, "–"), Note: r.ID[:min(6, len(r.ID))]}, {Text: r.Version}, {Text: w.span(r.UptimeSeconds)}, {Text: seen},
		})
	}
	return t
}

// factTable answers what else an operator asks.
func factTable(w words, s Status, past Past) table {
	t := newTable(w, "facts", "t fact", "t value")
	row := func(name string, value cell) { t.Rows = append(t.Rows, []cell{{Text: w.Say("fact " + name)}, value}) }
	row("verification", cell{Text: w.known("verification", s.Facts.Verification)})
	if end := s.Facts.TLSExpires; end != nil {
		left := time.Until(*end)
		c := cell{Text: end.UTC().Format(time.DateOnly), Note: w.span(left.Seconds())}
		if left < certificateSoon {
			c.Mood = "warn"
		}
		row("certificate", c)
	}
	reload := cell{Text: "–"}
	if at := s.Facts.LastReload; at != nil {
		reload.Text = w.Say("ago", w.span(time.Since(at.At).Seconds()))
	}
	row("reload", reload)
	dropped := cell{Text: w.count(past.LogDropped)}
	if past.LogDropped > 0 {
		dropped.Mood = "warn"
	}
	row("dropped", dropped)
	versions := map[string]bool{s.Version: true}
	for _, r := range s.Replicas {
		versions[r.Version] = true
	}
	mix := cell{Text: strings.Join(slices.Sorted(maps.Keys(versions)), ", ")}
	if len(versions) > 1 {
		mix.Mood = "warn"
	}
	row("versions", mix)
	return t
}

// certificateSoon is when there is still time to renew one.
const certificateSoon = 14 * 24 * time.Hour

// inFlight is the requests being served, where that is measured.
func (w words) inFlight(past Past) string {
	if math.IsNaN(past.InFlight) {
		return "–"
	}
	return w.count(past.InFlight)
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
