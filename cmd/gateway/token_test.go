package main

// One access token for everybody, through what may happen to it: crowds, clients that leave, revocation, and the loss of
// Redis.

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"roomgate/internal/sandbox"
)

func TestACrowdMakesOneTokenCall(t *testing.T) {
	redisServer, stands, client := newRedis(t), newStands(t), newClient(t)
	// The answer takes a while, so that the crowd is there before it.
	stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/auth", Delay: 300 * time.Millisecond})
	gate := startReplica(t, settings(stands, redisServer.Addr, "MEMBER_RATE_LIMIT=0")).url
	token := stands.Glory.MintToken("1", time.Hour)
	var wg sync.WaitGroup
	for range 500 {
		wg.Go(func() {
			if a, err := call(t.Context(), client, http.MethodGet, gate+"/v1/info", token, ""); err != nil || a.status != 200 {
				t.Errorf("%v %+v", err, a)
			}
		})
	}
	wg.Wait()
	if calls := stands.Interwater.AuthCalls(); calls != 1 {
		t.Errorf("%d calls of v1/auth, want 1", calls)
	}
}

func TestAClientThatLeavesFailsNobody(t *testing.T) {
	redisServer, stands, client := newRedis(t), newStands(t), newClient(t)
	stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/auth", Delay: 500 * time.Millisecond})
	gate := startReplica(t, settings(stands, redisServer.Addr)).url
	token := stands.Glory.MintToken("1", time.Hour)
	impatient, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := call(impatient, client, http.MethodGet, gate+"/v1/info", token, "")
		gone <- err
	}()
	eventually(t, "the fetch has begun", func() bool { return stands.Interwater.AuthCalls() == 1 })
	patient := make(chan answer, 1)
	go func() {
		a, _ := call(t.Context(), client, http.MethodGet, gate+"/v1/info", token, "")
		patient <- a
	}()
	leave()
	if err := <-gone; err == nil {
		t.Error("the first client was to leave before its answer")
	}
	if a := <-patient; a.status != 200 {
		t.Errorf("the one who stayed got %+v", a)
	}
	if calls := stands.Interwater.AuthCalls(); calls != 1 {
		t.Errorf("%d calls of v1/auth, want 1", calls)
	}
}

func TestARevokedTokenIsRepairedOnce(t *testing.T) {
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
	// One at first, and one in place of the rejected: the second is remembered as refused for TOKEN_REFUSED_TTL.
	if calls := stands.Interwater.AuthCalls(); calls != 2 {
		t.Errorf("%d calls of v1/auth, want 2", calls)
	}
	stands.Interwater.SetFaults()
	get(t, client, r.url+"/v1/info", token).want(t, 200)
}

func TestTokenEndpointDown(t *testing.T) {
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

// Redis going away in mid-run fails no request, also when the token runs out meanwhile.
func TestRedisLossFailsNoRequest(t *testing.T) {
	for name, lose := range map[string]func(*sandbox.RedisServer) error{
		"killed": (*sandbox.RedisServer).Kill,
		"frozen": (*sandbox.RedisServer).Freeze,
	} {
		t.Run(name, func(t *testing.T) {
			redisServer, stands := newRedis(t), newStands(t)
			stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/auth", Token: &sandbox.TokenFault{TTL: 3 * time.Second}})
			r := startReplica(t, settings(stands, redisServer.Addr, "MEMBER_RATE_LIMIT=0"))
			_, stop := load(t, 8, r.url+"/v1/info", stands.Glory.MintToken("1", time.Hour))
			eventually(t, "the first token", func() bool { return stands.Interwater.AuthCalls() >= 1 })
			if err := lose(redisServer); err != nil {
				t.Fatal(err)
			}
			eventually(t, "three more tokens without Redis", func() bool { return stands.Interwater.AuthCalls() >= 4 })
			sent, failed := stop()
			if len(failed) > 0 {
				t.Errorf("%d of %d requests failed, the first: %s", len(failed), sent, failed[0])
			}
			if lines := len(r.log.events("redis is down; going on without it")); lines != 1 {
				t.Errorf("%d log lines of the outage, want 1", lines)
			}
		})
	}
}
