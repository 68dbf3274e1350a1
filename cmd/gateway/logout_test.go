package main

// A logout counts on every replica within a second, in rooms and under /api/, for as long as the token would live.

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"roomgate/internal/fleet"
)

// logOut logs a token out, or with the query "?all=true" all tokens of its member.
func logOut(t *testing.T, client *http.Client, gate, query, token string) {
	t.Helper()
	a, err := call(t.Context(), client, http.MethodPost, gate+"/session/logout"+query, token, "")
	if err != nil || a.status != 200 || a.body != `{"data":{"result":"ok"}}` {
		t.Fatalf("log out: %v %+v", err, a)
	}
}

// out reports whether the gateway refuses a token in rooms and under /api/.
func out(t *testing.T, client *http.Client, gate, token string) bool {
	t.Helper()
	room, api := get(t, client, gate+"/v1/info", token).status, get(t, client, gate+"/api/v1/profile", token).status
	return room == 401 && api == 401
}

func TestALoggedOutTokenIsSoonOutEverywhere(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"local", "remote"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			redisServer, stands, client := newRedis(t), newStands(t), newClient(t)
			environ := settings(stands, redisServer.Addr)
			if mode == "remote" {
				environ = append(environ, "GLORY_JWT_SECRETS=")
			}
			f := startFleet(t, 2, environ)
			token, phone, other := stands.Glory.MintToken("1", time.Hour), stands.Glory.MintToken("1", 2*time.Hour), stands.Glory.MintToken("1", 3*time.Hour)
			for _, r := range f.replicas {
				for _, any := range []string{token, phone} {
					get(t, client, r.url+"/v1/info", any).want(t, 200)
					get(t, client, r.url+"/api/v1/profile", any).want(t, 200)
				}
			}
			logOut(t, client, f.replicas[0].url, "", token)
			done := time.Now()
			if !out(t, client, f.replicas[0].url, token) {
				t.Error("the replica that logged the token out still takes it")
			}
			for _, r := range f.replicas {
				eventually(t, "the token is out", func() bool { return out(t, client, r.url, token) })
				get(t, client, r.url+"/v1/info", phone).want(t, 200)
				get(t, client, r.url+"/api/v1/profile", phone).want(t, 200)
			}
			if took := time.Since(done); took > 5*fleet.DenyDelay { // DenyDelay is the promise; the rest is for a slow machine
				t.Errorf("out after %v", took)
			}
			before := len(stands.Glory.Requests())
			a := get(t, client, f.replicas[1].url+"/v1/info", token).want(t, 401)
			if a.body != `{"code":"401","message":"Full authentication is required to access this resource"}` || a.header.Get("WWW-Authenticate") != `Bearer error="invalid_token"` {
				t.Errorf("%s %v", a.body, a.header)
			}
			get(t, client, f.replicas[1].url+"/api/v1/profile", token).want(t, 401)
			if mode == "local" && len(stands.Glory.Requests()) != before {
				t.Error("Glory was called")
			}
			logOut(t, client, f.replicas[1].url, "", token) // again

			logOut(t, client, f.replicas[1].url, "?all=true", other)
			if !out(t, client, f.replicas[1].url, phone) {
				t.Error("the replica that logged all tokens out still takes one")
			}
			for _, r := range f.replicas {
				for _, any := range []string{phone, other} {
					eventually(t, "all tokens are out", func() bool { return out(t, client, r.url, any) })
				}
			}
			next := time.Now().Truncate(time.Second).Add(time.Second) // a token of the same second counts as issued before
			eventually(t, "the next second", func() bool { return time.Now().After(next) })
			fresh := stands.Glory.MintToken("1", time.Hour)
			get(t, client, f.replicas[0].url+"/v1/info", fresh).want(t, 200)
			get(t, client, f.replicas[0].url+"/api/v1/profile", fresh).want(t, 200)
			if stdout, stderr, status := program(t, environ, "denied"); status != 0 || stdout != "logged out: 2 tokens, and all tokens of 1 members\n" {
				t.Errorf("denied: %d %q %s", status, stdout, stderr)
			}
			if dump := dumpRedis(t, redisServer.Addr); strings.Contains(dump, token) {
				t.Error("the token is in Redis")
			}
		})
	}
}

// As the documentation promises, Redis gets a lost deny list back while one replica that knew it runs, even if somebody logs out right
// after the loss. So replicas that start later know the list.
func TestALogoutOutlivesRedisAndAllReplicas(t *testing.T) {
	t.Parallel()
	redisServer, stands, client := newRedis(t), newStands(t), newClient(t)
	environ := settings(stands, redisServer.Addr)
	const life = 60 * 24 * time.Hour
	token, another := stands.Glory.MintToken("1", life), stands.Glory.MintToken("2", life)
	old := []*replica{startReplica(t, environ), startReplica(t, environ)}
	logOut(t, client, old[0].url, "", token)
	for _, r := range old {
		eventually(t, "the token is out", func() bool { return out(t, client, r.url, token) })
	}
	direct := redis.NewClient(&redis.Options{Addr: redisServer.Addr})
	defer direct.Close()
	if err := direct.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	logOut(t, client, old[1].url, "", another)
	eventually(t, "redis has both again", func() bool {
		return direct.ZCard(t.Context(), "roomgate:deny:v1:{deny}:names").Val() == 2
	})
	for _, r := range old {
		if !out(t, client, r.url, token) {
			t.Error("in again after the flush")
		}
		r.stop()
		if err := r.ended(); err != nil {
			t.Fatal(err)
		}
		fresh := startReplica(t, environ)
		for _, any := range []string{token, another} {
			if !out(t, client, fresh.url, any) {
				t.Error("a new replica's first requests are let in")
			}
		}
	}
}
