package main

// Denied members are turned away on every replica, soon, under load and without Redis.

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"roomgate/internal/fleet"
)

func TestADeniedMemberIsSoonOutEverywhere(t *testing.T) {
	t.Parallel()
	redisServer, stands, client := newRedis(t), newStands(t), newClient(t)
	environ := settings(stands, redisServer.Addr, "MEMBER_RATE_LIMIT=0")
	f := startFleet(t, 3, environ)
	banned, other := stands.Glory.MintToken("7", time.Hour), stands.Glory.MintToken("8", time.Hour)
	for _, url := range f.urls("/v1/info") {
		get(t, client, url, banned).want(t, 200)
	}
	got, stop := openLoad(t, 100, f.urls("/v1/info"), banned)
	eventually(t, "some answers", func() bool { return len(got.all()) > 50 })
	stdout, stderr, status := program(t, environ, "deny", "7", "-for", "1h")
	if status != 0 || !strings.Contains(stdout, "7 is denied for 1h") {
		t.Fatalf("deny: %d %s%s", status, stdout, stderr)
	}
	done := time.Now()
	eventually(t, "only refusals", func() bool {
		recent := got.between(time.Now().Add(-300*time.Millisecond), time.Now())
		return len(recent) > 10 && len(failures(recent)) == len(recent)
	})
	stop()
	for _, x := range got.all() {
		// DenyDelay is the promise; the rest is for a slow machine.
		if late := x.at.Sub(done); x.status == 200 && late > 5*fleet.DenyDelay {
			t.Errorf("still served %v after the command", late)
		}
		if x.status != 200 && x.status != 403 {
			t.Errorf("%d %v", x.status, x.err)
		}
	}
	get(t, client, f.replicas[0].url+"/v1/info", other).want(t, 200)

	if stdout, _, _ := program(t, environ, "denied"); !strings.HasPrefix(stdout, "7  20") {
		t.Errorf("denied: %q", stdout)
	}
	if err := redisServer.Kill(); err != nil {
		t.Fatal(err)
	}
	for _, r := range f.replicas {
		eventually(t, "redis is seen to be down", func() bool { return strings.Contains(get(t, client, r.admin+"/readyz", "").body, "redis is down") })
		get(t, client, r.url+"/v1/info", banned).want(t, 403)
	}
	// Redis comes back empty, and gets the list back.
	if err := redisServer.Restart(); err != nil {
		t.Fatal(err)
	}
	direct := redis.NewClient(&redis.Options{Addr: redisServer.Addr})
	defer direct.Close()
	eventually(t, "the list is in Redis again", func() bool {
		return direct.ZCard(t.Context(), "roomgate:deny:v1:{deny}:names").Val() == 1
	})
	get(t, client, f.replicas[0].url+"/v1/info", banned).want(t, 403)
	if _, stderr, status := program(t, environ, "allow", "7"); status != 0 {
		t.Fatal(stderr)
	}
	for _, url := range f.urls("/v1/info") {
		eventually(t, "allowed again", func() bool { return get(t, client, url, banned).status == 200 })
	}
}

func TestDenyOneTokenAndForAWhile(t *testing.T) {
	t.Parallel()
	redisServer, stands, client := newRedis(t), newStands(t), newClient(t)
	environ := settings(stands, redisServer.Addr)
	r := startReplica(t, environ)
	stolen, fresh := stands.Glory.MintToken("7", time.Hour), stands.Glory.MintToken("7", 2*time.Hour)
	digest := sha256.Sum256([]byte(stolen))
	if _, stderr, status := program(t, environ, "deny", "-for", "3s", "token:"+hex.EncodeToString(digest[:])); status != 0 {
		t.Fatal(stderr)
	}
	eventually(t, "the token is denied", func() bool { return get(t, client, r.url+"/v1/info", stolen).status == 403 })
	get(t, client, r.url+"/v1/info", fresh).want(t, 200)
	eventually(t, "the denial has ended", func() bool { return get(t, client, r.url+"/v1/info", stolen).status == 200 })
	if _, stderr, status := program(t, environ, "deny", "9"); status != 0 {
		t.Fatal(stderr)
	}
	if out, _ := explainFor(t, environ, stands.Glory.MintToken("9", time.Hour), "GET", "/v1/info"); !strings.Contains(out, "result   403: on the deny list") {
		t.Error(out)
	}
	for _, args := range [][]string{{"deny"}, {"deny", "7", "8"}, {"deny", "7", "-for", "x"}, {"deny", "7", "-for", "-1s"}, {"deny", "7", "-for", "-1d"}, {"deny", "7", "-for", "1d-1h"}, {"deny", "7", "-for", "d"}, {"deny", "7", "-for", "99999d"}, {"deny", "token:7"}, {"allow"}, {"denied", "7"}} {
		if _, _, status := program(t, environ, args...); status != 2 {
			t.Errorf("%v: exit status %d, want 2", args, status)
		}
	}
}

// An operator in a hurry may have no other settings at hand.
func TestTheDenyListNeedsRedisSettingsAlone(t *testing.T) {
	t.Parallel()
	environ := []string{"REDIS_URL=redis://" + newRedis(t).Addr}
	for length, want := range map[string]string{"30d": "720h0m0s", "1d12h": "36h0m0s", "90m": "1h30m0s"} {
		stdout, stderr, status := program(t, environ, "deny", "7", "-for", length)
		if status != 0 || !strings.Contains(stdout, "7 is denied for "+want) {
			t.Fatalf("%s: %d %s%s", length, status, stdout, stderr)
		}
	}
	if stdout, stderr, status := program(t, environ, "denied"); status != 0 || !strings.HasPrefix(stdout, "7  20") {
		t.Errorf("%d %s%s", status, stdout, stderr)
	}
	if _, stderr, status := program(t, environ, "allow", "7"); status != 0 {
		t.Errorf("%d %s", status, stderr)
	}
	if _, stderr, status := program(t, nil, "denied"); status != 2 || !strings.Contains(stderr, "REDIS_URL: required") || strings.Contains(stderr, "GLORY") {
		t.Errorf("without any: %d %s", status, stderr)
	}
}

// Glory would accept the token.
func TestDeniedMembersDoNotReachGlorysAPIEither(t *testing.T) {
	t.Parallel()
	redisServer, stands, client := newRedis(t), newStands(t), newClient(t)
	environ := settings(stands, redisServer.Addr)
	r := startReplica(t, environ)
	banned, other := stands.Glory.MintToken("7", time.Hour), stands.Glory.MintToken("8", time.Hour)
	const api = "/api/v1/check_login"
	get(t, client, r.url+api, banned).want(t, 200)
	if _, stderr, status := program(t, environ, "deny", "7"); status != 0 {
		t.Fatal(stderr)
	}
	eventually(t, "the member is denied", func() bool { return get(t, client, r.url+api, banned).status == 403 })
	before := len(stands.Glory.Requests())
	if body := get(t, client, r.url+api, banned).want(t, 403).body; body != `{"code":"403","message":"Not admitted"}` {
		t.Errorf("%s", body)
	}
	if got := len(stands.Glory.Requests()); got != before {
		t.Errorf("Glory saw %d requests", got-before)
	}
	get(t, client, r.url+api, other).want(t, 200)
	get(t, client, r.url+"/public-api/v1/health", banned).want(t, 200)
	// A forged token doesn't reveal that member 7 is denied, in either mode.
	forger := newStands(t).Glory // it has its own secret
	remote := startReplica(t, settings(stands, redisServer.Addr, "GLORY_JWT_SECRETS="))
	eventually(t, "the member is denied", func() bool { return get(t, client, remote.url+api, banned).status == 403 })
	for _, url := range []string{r.url, remote.url} {
		denied := get(t, client, url+api, forger.MintToken("7", time.Hour)).want(t, 403)
		if free := get(t, client, url+api, forger.MintToken("8", time.Hour)).want(t, 403); denied.body != free.body || strings.Contains(denied.body, "Not admitted") {
			t.Errorf("a forged token of a denied member is answered %s, of another %s", denied.body, free.body)
		}
	}

	digest := sha256.Sum256([]byte(other))
	if _, stderr, status := program(t, environ, "deny", "token:"+hex.EncodeToString(digest[:])); status != 0 {
		t.Fatal(stderr)
	}
	eventually(t, "the token is denied", func() bool { return get(t, client, r.url+api, other).status == 403 })
	get(t, client, r.url+api, stands.Glory.MintToken("8", 2*time.Hour)).want(t, 200)
}
