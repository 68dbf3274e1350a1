package main

// Degradations: what is wrong, since when, and whether members notice.

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roomgate/internal/ops"
)

// troubles remembers when each degradation began. With an operations listener it is updated once a second, because the history
// reads roomgate_degraded.
type troubles struct {
	mu    sync.Mutex
	since map[[2]string]time.Time // by reason and subject
}

// date sets Since in all, and forgets the degradations that have ended.
func (t *troubles) date(all []ops.Degradation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	since := make(map[[2]string]time.Time, len(all))
	for i := range all {
		d := &all[i]
		key := [2]string{d.Reason, d.Subject}
		var known bool
		if d.Since, known = t.since[key]; !known {
			d.Since = time.Now().UTC().Truncate(time.Second)
		}
		since[key] = d.Since
	}
	t.since = since
}

// degraded lists all degradations. Those that members notice come first.
func (g *gateway) degraded() []ops.Degradation {
	all := append(g.failing(), g.redisDegraded()...)
	risk := func(reason, subject, text string) {
		all = append(all, ops.Degradation{Reason: reason, Subject: subject, Text: text, Level: ops.LevelRisk})
	}
	down := func(reason, subject, text string) {
		all = append(all, ops.Degradation{Reason: reason, Subject: subject, Text: text, Level: ops.LevelDown})
	}
	if g.reloadFailed.Load() {
		risk("secrets", "", "changed secrets are not used")
	}
	circuits := g.upstreams.circuits()
	for _, upstream := range slices.Sorted(maps.Keys(circuits)) {
		if circuits[upstream] == "open" {
			down("circuit", upstream, upstream+" is failing; its circuit is open")
		}
	}
	if g.members.VerdictsRunOut() {
		risk("verdicts", "members", "members are let in by verdicts that have run out; Glory can't be asked")
	}
	if g.members.ProfilesRunOut() {
		risk("verdicts", "profiles", "licenses are chosen by members' profiles that have run out; Glory can't be asked")
	}
	for _, t := range g.tokens() {
		subject := t.license + " (" + t.role + ")"
		switch {
		case t.LastError != "" && t.ExpiresIn > 0:
			risk("token", subject, fmt.Sprintf("license %s: no new access token: %s; the present one expires in %s", subject, t.LastError, t.ExpiresIn.Round(time.Second)))
		case t.LastError != "":
			down("token", subject, fmt.Sprintf("license %s: no new access token: %s", subject, t.LastError))
		case t.Refused:
			down("refused_token", subject, fmt.Sprintf("license %s: access token refused", subject))
		}
	}
	if g.output.Dropping() {
		risk("log", "", "log lines are dropped")
	}
	slices.SortStableFunc(all, func(a, b ops.Degradation) int { return strings.Compare(a.Level, b.Level) }) // down, then risk
	g.troubles.date(all)
	return all
}

// failing lists the routes and upstreams that fail. While no route fails, an upstream that fails is only a risk.
func (g *gateway) failing() []ops.Degradation {
	all, membersFail := []ops.Degradation{}, false
	for _, f := range g.history.Failing() {
		d := ops.Degradation{Reason: "answers", Subject: f.Name, Level: ops.LevelRisk, Share: f.Of()}
		if f.Upstream {
			d.Reason = "calls"
		}
		during := "last 5 minutes; under 1% in the last minute"
		if f.Now {
			during = "last minute"
			if !f.Minute {
				during = "last 5 minutes; too few in the last minute to tell"
			}
			membersFail = membersFail || !f.Upstream
			if !f.Upstream || membersFail { // Failing lists routes first
				d.Level = ops.LevelDown
			}
		}
		d.Text = fmt.Sprintf("%s: %.3g%% of %s failed (%.0f of %.0f, %s)", f.Name, 100*f.Of(), d.Reason, f.Failed, f.Answered, during)
		all = append(all, d)
	}
	return all
}

// redisDegraded lists what Redis fails at. If Redis is down for tokens, it counts as down, and outages of its other uses aren't
// listed.
func (g *gateway) redisDegraded() (all []ops.Degradation) {
	down, _ := g.cache.RedisDown()
	if down {
		all = append(all, ops.Degradation{Reason: "redis", Text: "redis is down", Level: ops.LevelRisk})
	}
	for _, use := range g.redis.Uses() {
		d := ops.Degradation{Reason: "redis_part", Subject: use.Name(), Level: ops.LevelRisk}
		if err := use.Refusal(); err != nil {
			d.Text = fmt.Sprintf("redis refuses the %s: %v", use.Name(), err)
		} else if err := use.Outage(); err != nil && !down {
			d.Text = fmt.Sprintf("redis fails the %s: %v", use.Name(), err)
		} else {
			continue
		}
		all = append(all, d)
	}
	return all
}

// degradations collects roomgate_degraded.
type degradations struct{ of *gateway }

// Describe implements prometheus.Collector.
func (degradations) Describe(ch chan<- *prometheus.Desc) { ch <- degradedDesc() }

// Collect implements prometheus.Collector.
func (d degradations) Collect(ch chan<- prometheus.Metric) {
	counts := map[string]float64{
		"answers": 0, "calls": 0, "redis": 0, "redis_part": 0, "secrets": 0, "circuit": 0, "verdicts": 0, "token": 0, "refused_token": 0, "log": 0,
	}
	for _, found := range d.of.degraded() {
		counts[found.Reason]++
	}
	for reason, count := range counts {
		ch <- prometheus.MustNewConstMetric(degradedDesc(), prometheus.GaugeValue, min(1, count), reason)
	}
}

func degradedDesc() *prometheus.Desc {
	return prometheus.NewDesc("roomgate_degraded", "1 while something is wrong, by reason (answers: a route fails, calls: an upstream fails, "+
		"redis: it is down, redis_part: it fails or refuses one use, such as the deny list, secrets: changed ones are not used, "+
		"circuit: one is open, verdicts: members are let in by verdicts or profiles that have run out, token: a license gets no new "+
		"access token, refused_token: Interwater refuses a fresh one, log: lines were dropped within the last minute).",
		[]string{"reason"}, nil)
}
