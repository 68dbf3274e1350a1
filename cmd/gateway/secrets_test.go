package main

// What must stay on the server side stays there: a run with recognisable secrets, and a look into everything that leaves
// the process.

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"roomgate/internal/sandbox"
)

func TestNoSecretLeaves(t *testing.T) {
	redisServer, client := newRedis(t, "--requirepass", "marker-redis-password"), newClient(t)
	secrets := map[string]string{
		"access key":     "marker-access-key-3f9a",
		"secret key":     "marker-secret-key-77b1",
		"JWT secret":     "marker-jwt-secret-0123456789abcdef0123456789abcdef",
		"redis password": "marker-redis-password",
		"password":       "marker-member-password",
	}
	stands, err := sandbox.Start(sandbox.Options{
		JWTSecret: secrets["JWT secret"],
		Licenses:  []sandbox.License{{AccessKey: secrets["access key"], SecretKey: secrets["secret key"]}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stands.Close() })
	r := startReplica(t, settings(stands, "", "REDIS_URL=redis://:marker-redis-password@"+redisServer.Addr, "LOG_LEVEL=debug"))

	seen := &strings.Builder{}
	note := func(a answer) {
		for name, values := range a.header {
			seen.WriteString(name + ": " + strings.Join(values, ",") + "\n")
		}
		seen.WriteString(a.body + "\n")
	}
	join := `{"id":"m1","password":"marker-member-password","name":"a","nickname":"b","email":"c@example.com"}`
	if _, err := call(t.Context(), client, http.MethodPost, r.url+"/public-api/v1/join", "", join); err != nil {
		t.Fatal(err)
	}
	member := login(t, client, r.url, "m1", "marker-member-password")
	secrets["member token"] = member
	secrets["forged member token"] = member[:len(member)-4] + "AAAA"
	note(get(t, client, r.url+"/v1/sessions?token=marker-in-query", member).want(t, 200))
	secrets["query"] = "marker-in-query"
	secrets["access token"] = stands.Interwater.LastRoomRequest().Header.Get("s-connector-jwt")
	note(get(t, client, r.url+"/v1/sessions", secrets["forged member token"]).want(t, 401))
	for _, fault := range []sandbox.Fault{
		{Kind: sandbox.KindReset}, {Kind: sandbox.KindCut}, {Kind: sandbox.KindGarbage, Status: 500}, {Status: 401},
		{Redirect: "http://127.0.0.1:1/"}, {Kind: sandbox.KindTrailer}, {Kind: sandbox.KindEarlyHints}, {Kind: sandbox.KindCookie},
	} {
		stands.Interwater.SetFaults(fault)
		// A cut answer breaks off: that is its answer.
		if a, err := call(t.Context(), client, http.MethodGet, r.url+"/v1/info", member, ""); err == nil {
			note(a)
		}
	}
	secrets["second access token"] = stands.Interwater.LastRoomRequest().Header.Get("s-connector-jwt")
	for _, path := range []string{"/", "/status", "/metrics", "/readyz", "/livez", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline"} {
		note(get(t, client, r.admin+path, ""))
	}
	r.stop()
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	sinks := map[string]string{"answers": seen.String(), "log": r.log.String(), "redis": dumpRedis(t, ":marker-redis-password@"+redisServer.Addr)}
	scan(t, sinks, secrets)
}

// scan looks for each secret as it is and in the encodings that it could have slipped through in.
func scan(t *testing.T, sinks, secrets map[string]string) {
	t.Helper()
	for where, text := range sinks {
		if len(text) < 100 {
			t.Errorf("%s: nothing to scan: %q", where, text)
		}
		for name, secret := range secrets {
			if secret == "" {
				t.Fatalf("no %s to look for", name)
			}
			for how, form := range map[string]string{
				"clear": secret, "hex": hex.EncodeToString([]byte(secret)), "URL": url.QueryEscape(secret),
				// Without the last letters: they change with what follows.
				"base64":    strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(secret)), "=")[:len(secret)],
				"base64url": base64.RawURLEncoding.EncodeToString([]byte(secret))[:len(secret)],
			} {
				if strings.Contains(text, form) {
					t.Errorf("%s: %s in %s", where, name, how)
				}
			}
		}
	}
}

// slowly is a fault that delays a route's answer.
func slowly(path string, by time.Duration) sandbox.Fault {
	return sandbox.Fault{Path: path, Delay: by}
}
