package main

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

// ready reports whether balancers should send traffic, and why not. Dependencies don't count: when one is down, all replicas would
// be taken out at once.
func (g *gateway) ready() (bool, string) {
	if g.draining.Load() {
		return false, "draining"
	}
	return true, ""
}

// status returns the replica's state. Package ops fills in Counters.
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

// limits lists the limits for clients. Each name is the reason of refusals in roomgate_refusals_total.
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

// rateText writes a rate limit in short: 10/1m, not 10/1m0s.
func rateText(r config.RateLimit) string {
	text := strings.TrimSuffix(r.String(), "0s")
	if !strings.HasSuffix(text, "m") { // such as 10/10s, which needs its 0s
		text = r.String()
	}
	if short := strings.TrimSuffix(text, "h0m"); short != text {
		text = short + "h"
	}
	return text
}

// replicas lists the fleet from Redis, this replica first. known is false if the list from Redis isn't available or lacks this
// replica.
func (g *gateway) replicas() (list []ops.Replica, known bool) {
	entries := g.roster.All()
	known = slices.ContainsFunc(entries, func(r fleet.Replica) bool { return r.Self })
	if !known { // Redis is down, or this replica isn't in it yet
		self := g.self()
		self.Self, self.Seen = true, time.Now()
		entries = slices.Insert(entries, 0, self)
	}
	for _, r := range entries {
		if r.Self {
			r.Figures = g.figures() // newer than those in Redis
		}
		list = append(list, ops.Replica{
			ID: r.ID, Host: r.Host, Version: r.Version, Self: r.Self, Figures: (*ops.Figures)(r.Figures),
			UptimeSeconds: max(0, time.Since(r.Started).Seconds()), SeenSecondsAgo: max(0, time.Since(r.Seen).Seconds()),
		})
	}
	return list, known
}

// figures returns the figures that this replica shares with the others. nil without an operations listener: there is no history.
func (g *gateway) figures() *fleet.Figures {
	if g.cfg.AdminAddr == "" {
		return nil
	}
	rate, minute := g.history.Totals()
	return &fleet.Figures{Rate: rate, Answered: minute.Answered, Failed: minute.Failed, Level: ops.LevelOf(g.degraded())}
}

// facts returns what else operators ask about a replica.
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

// tokenStatus is the state of the access token for one license and role.
type tokenStatus struct {
	license, role string
	tokencache.Status
}

// tokens returns the states of all access tokens that a request has asked for.
func (g *gateway) tokens() []tokenStatus {
	var list []tokenStatus
	for _, s := range g.cache.Status() {
		list = append(list, tokenStatus{s.Labels[0], s.Labels[1], s}) // in the order of bridge.TokenLabels
	}
	return list
}

// unasked returns an empty state, with the role member, for each license without a token in tokens.
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
