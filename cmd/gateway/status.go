package main

// This file gathers what the operations listener tells of the gateway.

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roomgate/internal/bridge"
	"roomgate/internal/config"
	"roomgate/internal/ops"
	"roomgate/internal/tokencache"
)

// ready is whether balancers should send traffic. No dependency takes part: with one down, all replicas would be out.
func (g *gateway) ready() (bool, string) {
	if g.draining.Load() {
		return false, "draining"
	}
	return true, ""
}

// status is the replica's state; Counters are left to package ops.
func (g *gateway) status() ops.Status {
	s := ops.Status{
		Version: g.version, UptimeSeconds: time.Since(g.started).Seconds(), Draining: g.draining.Load(),
		Upstreams: []ops.Upstream{
			{Name: "glory", URL: g.cfg.GloryURL.String(), Circuit: g.upstreams.circuits()["glory"]},
			{Name: "interwater", URL: g.cfg.InterwaterURL.String(), Circuit: g.upstreams.circuits()["interwater"]},
		},
		Redis:    ops.Redis{State: "up"},
		Lane:     ops.Lane{On: g.cfg.FastLane},
		Degraded: []string{},
	}
	if down, reason := g.cache.RedisDown(); down {
		s.Redis = ops.Redis{State: "down", LastError: reason}
	}
	for _, d := range g.degraded() {
		s.Degraded, s.Reasons = append(s.Degraded, d.text), append(s.Reasons, d.reason)
	}
	for _, t := range append(g.tokens(), g.unasked()...) {
		s.Licenses = append(s.Licenses, ops.License{
			Name: t.license, Role: t.role, State: t.State,
			AgeSeconds: t.Age.Seconds(), ExpiresInSeconds: t.ExpiresIn.Seconds(), LastError: t.LastError,
		})
	}
	s.Limits, s.Replicas = g.limits(), g.replicas()
	return s
}

// degradation is something that isn't as it should be, though requests go on.
type degradation struct {
	reason string // redis, redis_part, secrets, circuit, verdicts, token, refused_token or log
	text   string
}

func (g *gateway) degraded() (all []degradation) {
	all = append(all, g.redisDegraded()...)
	if g.reloadFailed.Load() {
		all = append(all, degradation{"secrets", "changed secrets are not used"})
	}
	circuits := g.upstreams.circuits()
	for _, upstream := range slices.Sorted(maps.Keys(circuits)) {
		if circuits[upstream] == "open" {
			all = append(all, degradation{"circuit", upstream + " is failing; its circuit is open"})
		}
	}
	if g.members.VerdictsRunOut() {
		all = append(all, degradation{"verdicts", "members are let in by verdicts that have run out; Glory can't be asked"})
	}
	if g.members.ProfilesRunOut() {
		all = append(all, degradation{"verdicts", "licenses are chosen by members' profiles that have run out; Glory can't be asked"})
	}
	for _, t := range g.tokens() {
		switch {
		case t.LastError != "":
			all = append(all, degradation{"token", fmt.Sprintf("license %s (%s): no new access token: %s", t.license, t.role, t.LastError)})
		case t.Refused:
			all = append(all, degradation{"refused_token", fmt.Sprintf("license %s (%s): access token refused", t.license, t.role)})
		}
	}
	if g.output.Dropping() {
		all = append(all, degradation{"log", "log lines are dropped"})
	}
	return all
}

// redisDegraded tells what Redis doesn't do. Redis is down if it is for tokens: then the rest goes without saying.
func (g *gateway) redisDegraded() (all []degradation) {
	down, _ := g.cache.RedisDown()
	if down {
		all = append(all, degradation{"redis", "redis is down"})
	}
	for _, use := range g.redis.Uses() {
		if err := use.Refusal(); err != nil {
			all = append(all, degradation{"redis_part", fmt.Sprintf("redis refuses the %s: %v", use.Name(), err)})
		} else if err := use.Outage(); err != nil && !down {
			all = append(all, degradation{"redis_part", fmt.Sprintf("redis fails the %s: %v", use.Name(), err)})
		}
	}
	return all
}

// degradations reports them as a metric.
type degradations struct{ of *gateway }

// Describe implements prometheus.Collector.
func (degradations) Describe(ch chan<- *prometheus.Desc) { ch <- degradedDesc() }

// Collect implements prometheus.Collector.
func (d degradations) Collect(ch chan<- prometheus.Metric) {
	counts := map[string]float64{"redis": 0, "redis_part": 0, "secrets": 0, "circuit": 0, "verdicts": 0, "token": 0, "refused_token": 0, "log": 0}
	for _, found := range d.of.degraded() {
		counts[found.reason]++
	}
	for reason, count := range counts {
		ch <- prometheus.MustNewConstMetric(degradedDesc(), prometheus.GaugeValue, min(1, count), reason)
	}
}

func degradedDesc() *prometheus.Desc {
	return prometheus.NewDesc("roomgate_degraded", "1 where something isn't as it should be, by reason (redis: it is down, redis_part: it "+
		"fails or refuses the deny list or something else, secrets: "+
		"changed ones are not used, circuit: one is open, verdicts: members are let in by "+
		"verdicts or profiles that have run out, token: a license gets none, refused_token: Interwater refuses a fresh one, log: lines were dropped within the last minute).",
		[]string{"reason"}, nil)
}

// limits is what keeps clients within bounds, by the reason that metrics give for their refusals.
func (g *gateway) limits() []ops.Limit {
	return []ops.Limit{
		{Name: "login_limit", Setting: "LOGIN_RATE_LIMIT", Value: rateText(g.cfg.LoginRateLimit)},
		{Name: "account_limit", Setting: "ACCOUNT_RATE_LIMIT", Value: rateText(g.cfg.AccountRateLimit)},
		{Name: "member_limit", Setting: "MEMBER_RATE_LIMIT", Value: rateText(g.cfg.MemberRateLimit)},
		{Name: "overload", Setting: "MAX_IN_FLIGHT", Value: strconv.Itoa(g.cfg.MaxInFlight)},
		{Name: "body", Setting: "MAX_BODY_BYTES", Value: strconv.FormatInt(g.cfg.MaxBodyBytes, 10)},
		{Name: "header", Setting: "MAX_HEADER_BYTES", Value: strconv.Itoa(g.cfg.MaxHeaderBytes)},
	}
}

// rateText writes a limit as people do: 10/1m, not 10/1m0s.
func rateText(r config.RateLimit) string {
	text := strings.TrimSuffix(r.String(), "0s")
	if !strings.HasSuffix(text, "m") { // 10/1s or 10/10s, whose seconds are no rest
		text = r.String()
	}
	if short := strings.TrimSuffix(text, "h0m"); short != text {
		text = short + "h"
	}
	return text
}

// replicas is the fleet as Redis shows it, this replica first.
func (g *gateway) replicas() []ops.Replica {
	list := []ops.Replica{}
	for _, r := range g.roster.All() {
		list = append(list, ops.Replica{
			ID: r.ID, Host: r.Host, Version: r.Version, Self: r.Self,
			UptimeSeconds: max(0, time.Since(r.Started).Seconds()), SeenSecondsAgo: max(0, time.Since(r.Seen).Seconds()),
		})
	}
	return list
}

// tokenStatus is where the access token of one license and role stands.
type tokenStatus struct {
	license, role string
	tokencache.Status
}

// tokens is where every token stands that somebody has asked for.
func (g *gateway) tokens() []tokenStatus {
	var list []tokenStatus
	for _, s := range g.cache.Status() {
		list = append(list, tokenStatus{s.Labels[0], s.Labels[1], s}) // as bridge.TokenLabels says
	}
	return list
}

// unasked is the member's token of each license for which nobody has asked yet.
func (g *gateway) unasked() []tokenStatus {
	var list []tokenStatus
	known := g.tokens()
	for _, l := range g.cfg.Licenses {
		if !slices.ContainsFunc(known, func(s tokenStatus) bool { return s.license == l.Name }) {
			list = append(list, tokenStatus{l.Name, bridge.RoleMember, tokencache.Status{State: tokencache.StateEmpty}})
		}
	}
	return list
}
