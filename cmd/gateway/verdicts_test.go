package main

// Remote mode while Glory fails: members are served by their last verdict, and /status and the metrics say so.

import (
	"strings"
	"testing"
	"time"

	"roomgate/internal/sandbox"
)

func TestMembersGoOnWhileGloryFails(t *testing.T) {
	t.Parallel()
	stands, client := newStands(t), newClient(t)
	r := startReplica(t, settings(stands, newRedis(t).Addr, "GLORY_JWT_SECRETS=", "MEMBER_CACHE_TTL=5s", "MEMBER_RATE_LIMIT=0"))
	known := stands.Glory.MintToken("1", time.Hour)
	served := func() { get(t, client, r.url+"/v1/info", known).want(t, 200) }
	runsOut := func() bool {
		return strings.Contains(get(t, client, r.admin+"/status", "").body, "members are let in by verdicts that have run out") &&
			strings.Contains(get(t, client, r.admin+"/metrics", "").body, `roomgate_degraded{reason="verdicts"} 1`)
	}
	served()
	if runsOut() {
		t.Error("degraded though Glory answers")
	}
	stands.Glory.SetFaults(sandbox.Fault{Path: "/api/v1/check_login", Kind: sandbox.KindGarbage})
	eventually(t, "a verdict that has run out is used", func() bool { served(); return runsOut() })
	get(t, client, r.url+"/v1/info", stands.Glory.MintToken("2", time.Hour)).want(t, 502)
	stands.Glory.SetFaults()
	eventually(t, "Glory is asked again", func() bool { served(); return !runsOut() })
}
