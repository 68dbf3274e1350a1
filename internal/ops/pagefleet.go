package ops

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

func replicaTable(w words, s Status) table {
	t := newTable(w, "replicas", "t replica", "t state", "n rate", "n errors", "t version", "n uptime", "n seen")
	mixed, rate := len(versions(s)) > 1, 0.0
	for _, r := range s.Replicas {
		seen := w.Say("ago", w.span(r.SeenSecondsAgo))
		if r.Self {
			seen = w.Say("this one")
		}
		level, requests, errors := cell{Text: w.Say("not told")}, cell{Text: "–"}, cell{Text: "–"}
		if f := r.Figures; f != nil {
			level, requests.Text, errors = levelCell(w, "change", f.Level), w.rate(f.Rate), errorCell(w, Share{f.Answered, f.Failed})
			rate += f.Rate
		}
		version := cell{Text: r.Version}
		if mixed {
			version.Mood = "warn"
		}
		t.Rows = append(t.Rows, []cell{
			{Text: or(r.Host, "–"), Note: r.ID[:min(6, len(r.ID))]}, level, requests, errors, version, {Text: w.span(r.UptimeSeconds)}, {Text: seen},
		})
	}
	if len(s.Replicas) > 1 {
		none := cell{}
		t.Rows = append(t.Rows, []cell{{Text: w.Say("all together")}, none, {Text: w.rate(rate)}, errorCell(w, fleetShare(s.Replicas)), none, none, none})
	}
	if !s.ReplicasKnown {
		t.Hint = w.Say("others hidden")
	}
	return t
}

// versions returns how many of the known replicas have each version.
func versions(s Status) map[string]int {
	found := make(map[string]int)
	for _, r := range s.Replicas {
		found[r.Version]++
	}
	return found
}

// factTable shows the remaining facts about this replica.
func factTable(w words, s Status, past Past) table {
	t := newTable(w, "facts", "t fact", "t value")
	row := func(name string, value cell) { t.Rows = append(t.Rows, []cell{{Text: w.Say("fact " + name)}, value}) }
	row("verification", cell{Text: w.known("verification", s.Facts.Verification)})
	row("certificate", certificateCell(w, s.Facts.TLSExpires))
	row("clock", clockCell(w, s.Facts))
	reload := cell{Text: w.Say("never reloaded")}
	if last := s.Facts.LastReload; last != nil {
		reload = cell{Text: w.Say("reload ok"), Note: w.Say("ago", w.span(time.Since(last.At).Seconds()))}
		if last.Error != "" {
			reload.Text, reload.Mood = w.Say("reload failed"), "warn"
			reload.Note += " · " + last.Error
		}
	}
	row("reload", reload)
	row("lane", cell{Text: laneShare(w, s.Lane.On, past.Lane)})
	dropped := cell{Text: w.count(past.LogDropped)}
	if past.LogDropped > 0 {
		dropped.Mood = "warn"
	}
	row("dropped", dropped)
	mix := cell{}
	var all []string
	count := versions(s)
	for _, version := range slices.Sorted(maps.Keys(count)) {
		all = append(all, fmt.Sprintf("%s × %d", version, count[version]))
	}
	if mix.Text = strings.Join(all, ", "); len(all) > 1 {
		mix.Mood = "warn"
	}
	row("versions", mix)
	return t
}

// certificateSoon is how long before its end a certificate becomes a warning: there is still time to renew it.
const certificateSoon = 14 * 24 * time.Hour

// certificateCell shows the certificate's end; nil means there is no certificate.
func certificateCell(w words, end *time.Time) cell {
	if end == nil {
		return cell{Text: w.Say("no certificate")}
	}
	left := time.Until(*end)
	c := cell{Text: end.UTC().Format(time.DateOnly), Note: w.Say("in", w.span(left.Seconds()))}
	switch {
	case left <= 0:
		c.Mood, c.Note = "bad", w.Say("expired")
	case left < certificateSoon:
		c.Mood = "warn"
	}
	return c
}

// clockApart is the clock difference, in seconds, from which valid tokens may count as expired or not valid yet.
const clockApart = 2.0

// clockCell shows this replica's time, and how far Redis's clock differs from it.
func clockCell(w words, f Facts) cell {
	c := cell{Text: f.Time.UTC().Format(time.DateTime) + " UTC", Note: w.Say("clock alone")}
	if f.RedisClockSeconds == nil {
		return c
	}
	switch ahead := *f.RedisClockSeconds; {
	case math.Abs(ahead) < clockApart:
		c.Note = w.Say("clock same")
	case ahead > 0:
		c.Mood, c.Note = "warn", w.Say("clock ahead", w.span(ahead))
	default:
		c.Mood, c.Note = "warn", w.Say("clock behind", w.span(-ahead))
	}
	return c
}

// laneShare returns the share of HTTP/1 requests that the lane has answered itself.
func laneShare(w words, on bool, list []Series) string {
	if !on {
		return w.Say("lane off")
	}
	all, taken := 0.0, 0.0
	for _, s := range list {
		all += s.Total
		if s.Name == "" {
			taken = s.Total
		}
	}
	return w.percent(taken / all) // without requests: NaN, shown as a dash
}

// changesShown is the maximum number of changes listed. The log and Prometheus have more.
const changesShown = 10

// changeTable lists the latest changes of state, latest first.
func changeTable(w words, list []Change) table {
	t := newTable(w, "changes", "t time", "t state", "t what")
	for _, c := range slices.Backward(list) {
		if len(t.Rows) == changesShown {
			break
		}
		t.Rows = append(t.Rows, []cell{{Text: c.At.UTC().Format(time.TimeOnly)}, levelCell(w, "change", c.Level), {Text: what(w, c)}})
	}
	return t
}

// what describes a change.
func what(w words, c Change) string {
	var all []string
	for _, d := range c.Began {
		all = append(all, problem(w, d))
	}
	for _, d := range c.Ended {
		all = append(all, w.Say("over", problem(w, d)))
	}
	return strings.Join(all, "; ")
}

// marks returns the changes for the plots.
func marks(w words, list []Change) []mark {
	all := make([]mark, len(list))
	for i, c := range list {
		level := levelCell(w, "change", c.Level)
		all[i] = mark{c.At.UnixMilli(), level.Mood, level.Text + ": " + what(w, c)}
	}
	return all
}
