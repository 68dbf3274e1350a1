package main

// This file gathers what the operations listener tells of the gateway.

import (
	"fmt"
	"slices"
	"time"

	"roomgate/internal/bridge"
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
	v, _ := build()
	s := ops.Status{
		Version: v, UptimeSeconds: time.Since(g.started).Seconds(), Draining: g.draining.Load(),
		Upstreams: []ops.Upstream{
			{Name: "glory", URL: g.cfg.GloryURL.String(), Circuit: g.handler.Circuits()["glory"]},
			{Name: "interwater", URL: g.cfg.InterwaterURL.String(), Circuit: g.handler.Circuits()["interwater"]},
		},
		Redis:    ops.Redis{State: "up"},
		Degraded: []string{},
	}
	if down, reason := g.cache.RedisDown(); down {
		s.Redis = ops.Redis{State: "down", LastError: reason}
		s.Degraded = append(s.Degraded, "redis is down")
	}
	if reason := g.reloadFailed.Load(); reason != nil {
		s.Degraded = append(s.Degraded, *reason)
	}
	for _, u := range s.Upstreams {
		if u.Circuit == "open" {
			s.Degraded = append(s.Degraded, u.Name+" is failing; its circuit is open")
		}
	}
	for _, t := range g.tokens() {
		s.Licenses = append(s.Licenses, ops.License{
			Name: t.License, Role: t.Role, State: t.State,
			AgeSeconds: t.Age.Seconds(), ExpiresInSeconds: t.ExpiresIn.Seconds(), LastError: t.LastError,
		})
		switch {
		case t.LastError != "":
			s.Degraded = append(s.Degraded, fmt.Sprintf("license %s (%s): no new access token: %s", t.License, t.Role, t.LastError))
		case t.Refused:
			s.Degraded = append(s.Degraded, fmt.Sprintf("license %s (%s): access token refused", t.License, t.Role))
		}
	}
	return s
}

// tokens is where every license's token stands, also of those that nobody has asked for yet.
func (g *gateway) tokens() []tokencache.Status {
	known := g.cache.Status()
	for _, l := range g.cfg.Licenses {
		asked := slices.ContainsFunc(known, func(s tokencache.Status) bool { return s.License == l.Name })
		if !asked {
			known = append(known, tokencache.Status{License: l.Name, Role: bridge.RoleMember, State: tokencache.StateEmpty})
		}
	}
	return known
}
