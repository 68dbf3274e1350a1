package ops

import (
	"math"
	"strconv"
)

// newTable returns a table without rows. The first letter of a column sets its kind: t for text, n for numbers, p for plots. Its
// name follows.
func newTable(w words, id string, columns ...string) table {
	t := table{ID: id, Title: w.Say(id), Empty: w.Say("none " + id), Rows: [][]cell{}}
	kinds := map[byte]string{'t': "text", 'n': "num", 'p': "plot"}
	for _, c := range columns {
		t.Columns = append(t.Columns, column{w.Say("column " + c[2:]), kinds[c[0]]})
	}
	return t
}

// traffic shows rates, failures and latencies by name.
func traffic(w words, id, label string, list []Series) table {
	t := newTable(w, id, "t "+label, "n rate", "p rates", "n errors", "p failures", "n p50", "n p95", "n p99", "p latencies")
	t.Legend = true
	for _, s := range list {
		name := s.Name
		if name == "none" {
			name = w.Say("no route")
		}
		errors := errorCell(w, s.Minute)
		if worst := max(most(s.Points, failedOf), share(s.Minute)); worst > 0 {
			errors.Note = w.Say("worst minute", w.percent(worst))
		}
		t.Rows = append(t.Rows, []cell{
			{Text: name}, {Text: w.rate(s.Now.Rate)}, {Plot: ratePlot(w, name, s.Points)}, errors, {Plot: errorPlot(w, name, s.Points)},
			{Text: w.latency(s.Now.P50)}, {Text: w.latency(s.Now.P95)}, {Text: w.latency(s.Now.P99)}, {Plot: latencyPlot(w, name, s.Points)},
		})
	}
	return t
}

// share is Of, but 0 if there was no answer.
func share(s Share) float64 {
	if s.Answered <= 0 {
		return 0
	}
	return s.Of()
}

func licenseTable(w words, s Status) table {
	t := newTable(w, "licenses", "t license", "t state", "n age", "n expiry", "t error", "n next")
	for _, l := range s.Licenses {
		age, expiry, failure, next := cell{Text: "–"}, cell{Text: "–"}, cell{Text: "–"}, cell{Text: "–"}
		if l.ExpiresInSeconds > 0 {
			age.Text, expiry.Text = w.span(l.AgeSeconds), w.span(l.ExpiresInSeconds)
		}
		if l.LastError != "" {
			failure = cell{Text: w.known("error", l.LastError), Mood: "bad"}
			next.Text = w.Say("now")
			t.Hint = w.Say("try now", s.Facts.PID)
		}
		if l.NextTrySeconds > 0 {
			next.Text = w.Say("in", w.span(math.Ceil(l.NextTrySeconds)))
		}
		standing := state(w, l.State)
		if l.State == "failing" && l.ExpiresInSeconds > 0 {
			standing.Mood = "warn" // the current token stays in use
		}
		t.Rows = append(t.Rows, []cell{{Text: l.Name, Note: w.known("role", l.Role)}, standing, age, expiry, failure, next})
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
				{Text: w.known("reason", s.Name), Note: s.Name}, {Text: w.count(s.Total)}, {Plot: ratePlot(w, w.known("reason", s.Name), s.Points)},
			})
		}
	}
	return t
}

// laneTable shows which HTTP/1 requests the lane has answered, and why it has handed the others over.
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
			t.Rows = append(t.Rows, []cell{{Text: text, Note: s.Name}, {Text: w.count(s.Total)}, {Text: w.percent(s.Total / all)}, {Plot: ratePlot(w, text, s.Points)}})
		}
	}
	return t
}

// inFlight returns the number of requests being served, or a dash if it isn't measured.
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
