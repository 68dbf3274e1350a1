package main

// This file gathers what the operations listener tells of the gateway.

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"roomgate/internal/bridge"
	"roomgate/internal/config"
	"roomgate/internal/fleet"
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
		Degraded: g.degraded(),
		Facts:    g.facts(),
	}
	if down, reason := g.cache.RedisDown(); down {
		s.Redis = ops.Redis{State: "down", LastError: reason}
	}
	for _, t := range append(g.tokens(), g.unasked()...) {
		s.Licenses = append(s.Licenses, ops.License{
			Name: t.license, Role: t.role, State: t.State,
			AgeSeconds: t.Age.Seconds(), ExpiresInSeconds: t.ExpiresIn.Seconds(), LastError: t.LastError,
			NextTrySeconds: t.NextTry.Seconds(),
		})
	}
	s.Limits = g.limits()
	s.Replicas, s.ReplicasKnown = g.replicas()
	return s
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

// replicas is the fleet as Redis shows it, this replica first. known is false where Redis doesn't show it.
func (g *gateway) replicas() (list []ops.Replica, known bool) {
	entries := g.roster.All()
	known = slices.ContainsFunc(entries, func(r fleet.Replica) bool { return r.Self })
	if !known { // Redis is down, or knows nothing of it yet
		self := g.self()
		self.Self, self.Seen = true, time.Now()
		entries = slices.Insert(entries, 0, self)
	}
	for _, r := range entries {
		if r.Self {
			r.Figures = g.figures() // the latest
		}
		list = append(list, ops.Replica{
			ID: r.ID, Host: r.Host, Version: r.Version, Self: r.Self, Figures: (*ops.Figures)(r.Figures),
			UptimeSeconds: max(0, time.Since(r.Started).Seconds()), SeenSecondsAgo: max(0, time.Since(r.Seen).Seconds()),
		})
	}
	return list, known
}

// figures is what this replica tells of itself; nil where nobody could see it.
func (g *gateway) figures() *fleet.Figures {
	if g.cfg.AdminAddr == "" {
		return nil
	}
	rate, minute := g.history.Totals()
	return &fleet.Figures{Rate: rate, Answered: minute.Answered, Failed: minute.Failed, Level: ops.LevelOf(g.degraded())}
}

// facts answers what else is asked of a replica.
func (g *gateway) facts() ops.Facts {
	f := ops.Facts{Verification: "remote", Time: time.Now().UTC(), LastReload: g.reloaded.Load(), PID: os.Getpid()}
	if ahead, known := g.redis.Ahead(); known {
		seconds := ahead.Round(time.Millisecond).Seconds()
		f.RedisClockSeconds = &seconds
	}
	if len(g.cfg.GloryJWTSecrets) > 0 {
		f.Verification = "local"
	}
	if g.tls != nil {
		end := g.tls.Expires()
		f.TLSExpires = &end
	}
	return f
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
