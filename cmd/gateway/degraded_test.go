package main

// What /status reports while upstreams or Redis fail.

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"roomgate/internal/sandbox"
)

// trouble is one entry of degraded in /status.
type trouble struct {
	Reason, Subject, Text, Level string
	Since                        time.Time
	Share                        float64
}

// troublesOf returns what /status lists as degraded.
func troublesOf(t *testing.T, r *replica) []trouble {
	t.Helper()
	var s struct{ Degraded []trouble }
	text := get(t, newClient(t), r.admin+"/status", "").want(t, 200).body
	if err := json.Unmarshal([]byte(text), &s); err != nil || s.Degraded == nil {
		t.Fatalf("%v: %s", err, text)
	}
	return s.Degraded
}

// find returns the trouble with this reason and subject; the zero value if there is none.
func find(list []trouble, reason, subject string) trouble {
	for _, x := range list {
		if x.Reason == reason && x.Subject == subject {
			return x
		}
	}
	return trouble{}
}

// An upstream that answers with errors opens no circuit, but members get the errors.
func TestStatusFollowsWhatMembersGet(t *testing.T) {
	t.Parallel()
	redisServer, stands, client := newRedis(t), newStands(t), newClient(t)
	r := startReplica(t, settings(stands, redisServer.Addr, "MEMBER_RATE_LIMIT=0", "ROOM_COALESCE=false"))
	token := stands.Glory.MintToken("1", time.Hour)
	get(t, client, r.url+"/v1/info", token).want(t, 200)
	if list := troublesOf(t, r); len(list) != 0 {
		t.Errorf("while all is well: %+v", list)
	}
	if page := get(t, client, r.admin+"/?lang=en", "").body; !strings.Contains(page, "Well: members are served") {
		t.Error("the page doesn't say that members are served")
	}
	began := time.Now().Truncate(time.Second)
	stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Status: 503})
	eventually(t, "the failed answers are told", func() bool {
		get(t, client, r.url+"/v1/info", token).want(t, 503)
		return find(troublesOf(t, r), "answers", "GET /v1/info").Level == "down"
	})
	list := troublesOf(t, r)
	route, calls := find(list, "answers", "GET /v1/info"), find(list, "calls", "interwater")
	if route.Share < .5 || route.Since.Before(began) || route.Since.After(time.Now()) || !strings.Contains(route.Text, "GET /v1/info: ") || calls.Level != "down" {
		t.Errorf("%+v", list)
	}
	page := get(t, client, r.admin+"/?lang=en", "").body
	if !strings.Contains(page, "Down: members get errors") || !strings.Contains(page, "failed answers: GET /v1/info ") {
		t.Error("the page doesn't say that members get errors")
	}
	metrics := get(t, client, r.admin+"/metrics", "").body
	for _, want := range []string{`roomgate_degraded{reason="answers"} 1`, `roomgate_degraded{reason="calls"} 1`, `roomgate_degraded{reason="redis"} 0`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s", want)
		}
	}
	if since := find(troublesOf(t, r), "answers", "GET /v1/info").Since; !since.Equal(route.Since) {
		t.Errorf("it began at %v, and a little later at %v", route.Since, since)
	}
}

// Members are served without Redis, and the page says so.
func TestRedisDownIsARiskAndNoOutage(t *testing.T) {
	t.Parallel()
	redisServer, stands, client := newRedis(t), newStands(t), newClient(t)
	r := startReplica(t, settings(stands, redisServer.Addr, "REDIS_TIMEOUT=250ms"))
	token := stands.Glory.MintToken("1", time.Hour)
	get(t, client, r.url+"/v1/info", token).want(t, 200)
	if err := redisServer.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "Redis is seen to be down", func() bool { return find(troublesOf(t, r), "redis", "").Level == "risk" })
	get(t, client, r.url+"/v1/info", token).want(t, 200)
	page := get(t, client, r.admin+"/?lang=en", "").body
	if !strings.Contains(page, "At risk: members are served") || strings.Contains(page, "Down: members") {
		t.Error("the page doesn't say that members are served")
	}
	if n := neighbours(t, r); n != 1 {
		t.Errorf("%d replicas are listed, want this one", n)
	}
}

// Every room request fails, and the status says why.
func TestRefusedLicenseIsDown(t *testing.T) {
	t.Parallel()
	redisServer, stands, client := newRedis(t), newStands(t), newClient(t)
	r := startReplica(t, settings(stands, redisServer.Addr, "INTERWATER_SECRET_KEY=wrong"))
	token := stands.Glory.MintToken("1", time.Hour)
	eventually(t, "both are told", func() bool {
		get(t, client, r.url+"/v1/info", token).want(t, 502)
		list := troublesOf(t, r)
		return find(list, "answers", "GET /v1/info").Level == "down" && find(list, "token", "default (member)").Level == "down"
	})
}

// Without a warning, a misspelt name would silently leave the default.
func TestUnknownSettingsAreWarnedOfAtTheStart(t *testing.T) {
	t.Parallel()
	r := startReplica(t, settings(newStands(t), newRedis(t).Addr, "ROOM_CACHE_TLL=1s", "GLORY_TIMOUT=3s"))
	told := map[any]any{}
	for _, line := range r.log.events("no such setting") {
		told[line["name"]] = line["did_you_mean"]
	}
	if len(told) != 2 || told["ROOM_CACHE_TLL"] != "ROOM_CACHE_TTL" || told["GLORY_TIMOUT"] != "GLORY_TIMEOUT" {
		t.Errorf("%v", told)
	}
}
