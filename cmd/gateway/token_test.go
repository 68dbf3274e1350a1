package main

// One access token for everybody, while Interwater revokes it, refuses it, or issues none.

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"roomgate/internal/sandbox"
)

func TestARevokedTokenIsRepairedOnce(t *testing.T) {
	t.Parallel()
	redisServer, stands, client := newRedis(t), newStands(t), newClient(t)
	r := startReplica(t, settings(stands, redisServer.Addr))
	token := stands.Glory.MintToken("1", time.Hour)
	get(t, client, r.url+"/v1/info", token).want(t, 200)
	stands.Interwater.RevokeTokens()
	before := stands.Interwater.RoomCalls()
	get(t, client, r.url+"/v1/info", token).want(t, 200)
	if calls := stands.Interwater.AuthCalls(); calls != 2 {
		t.Errorf("%d calls of v1/auth, want 2", calls)
	}
	if calls := stands.Interwater.RoomCalls() - before; calls != 2 {
		t.Errorf("%d room calls for one request, want the rejected one and its repeat", calls)
	}
}

func TestARefusedLicenseIsNeverTheMembersFault(t *testing.T) {
	t.Parallel()
	redisServer, stands, client := newRedis(t), newStands(t), newClient(t)
	r := startReplica(t, settings(stands, redisServer.Addr))
	token := stands.Glory.MintToken("1", time.Hour)
	for _, status := range []int{401, 403} {
		stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Status: status})
		for range 20 {
			a := get(t, client, r.url+"/v1/info", token).want(t, 502)
			if a.header.Get("Retry-After") == "" || !strings.Contains(a.body, `"code":"502"`) {
				t.Errorf("%+v", a)
			}
		}
	}
	// The first token, and one to replace it after the rejection. The second is remembered as refused for TOKEN_REFUSED_TTL.
	if calls := stands.Interwater.AuthCalls(); calls != 2 {
		t.Errorf("%d calls of v1/auth, want 2", calls)
	}
	stands.Interwater.SetFaults()
	get(t, client, r.url+"/v1/info", token).want(t, 200)
}

func TestTokenEndpointDown(t *testing.T) {
	t.Parallel()
	redisServer, stands, client := newRedis(t), newStands(t), newClient(t)
	token := stands.Glory.MintToken("1", time.Hour)
	for i, c := range []struct {
		want int
		sandbox.Fault
	}{
		{503, sandbox.Fault{Status: 500}},
		{503, sandbox.Fault{Kind: sandbox.KindReset}},
		{503, sandbox.Fault{Kind: sandbox.KindGarbage}},
		{503, sandbox.Fault{Redirect: "http://127.0.0.1:1/", Status: 307}},
		{502, sandbox.Fault{Status: 401}},
		{503, sandbox.Fault{Status: 503, RetryAfter: 7}},
		{503, sandbox.Fault{Kind: sandbox.KindEmpty}},
		{503, sandbox.Fault{Kind: sandbox.KindHuge, Size: 1 << 20}},
		{503, sandbox.Fault{Kind: sandbox.KindCut}},
		{503, sandbox.Fault{Token: &sandbox.TokenFault{StatusFalse: true}}},
		{503, sandbox.Fault{Token: &sandbox.TokenFault{Expired: true, NoIat: true}}},
		{503, sandbox.Fault{Token: &sandbox.TokenFault{Raw: []byte(`""`)}}},
		{503, sandbox.Fault{Token: &sandbox.TokenFault{Raw: []byte(`123`)}}},
	} {
		fault, want := c.Fault, c.want
		fault.Path = "/v1/auth"
		stands.Interwater.Reset()
		stands.Interwater.SetFaults(fault)
		r := startReplica(t, settings(stands, redisServer.Addr, "REDIS_KEY_PREFIX=case"+strconv.Itoa(i)+":"))
		for range 3 {
			a := get(t, client, r.url+"/v1/info", token)
			if a.status != want || a.header.Get("Retry-After") == "" {
				t.Errorf("%+v: %d with Retry-After %q, want %d", fault, a.status, a.header.Get("Retry-After"), want)
			}
			if fault.RetryAfter > 0 && a.header.Get("Retry-After") != "7" {
				t.Errorf("Retry-After %s, want the endpoint's", a.header.Get("Retry-After"))
			}
		}
		if calls := stands.Interwater.RoomCalls(); calls != 0 {
			t.Errorf("%+v: %d room requests were sent without a token", fault, calls)
		}
		r.stop()
		r.ended()
	}
}

func TestARevokedTokenThatAnotherReplicaFetchedBeforeIsRepaired(t *testing.T) {
	t.Parallel()
	redisServer, stands, client := newRedis(t), newStands(t), newClient(t)
	environ := settings(stands, redisServer.Addr)
	idle, busy := startReplica(t, environ), startReplica(t, environ)
	token := stands.Glory.MintToken("1", time.Hour)
	for _, r := range []*replica{idle, busy} {
		get(t, client, r.url+"/v1/info", token).want(t, 200)
	}
	stands.Interwater.RevokeTokens()
	get(t, client, busy.url+"/v1/info", token).want(t, 200)
	stands.Interwater.RevokeTokens() // idle holds the first token, Redis the second
	for _, r := range []*replica{idle, busy} {
		get(t, client, r.url+"/v1/info", token).want(t, 200)
	}
	if calls := stands.Interwater.AuthCalls(); calls != 3 {
		t.Errorf("%d calls of v1/auth, want 3", calls)
	}
}
