package main

// Browser sessions without a browser: the settings, and stolen or altered cookies.

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roomgate/internal/sandbox"
)

// beginSession logs the demo member in and returns the cookie's value.
func beginSession(t *testing.T, client *http.Client, gate string, demo sandbox.Member) string {
	t.Helper()
	body, _ := json.Marshal(demo)
	return beginBy(t, client, gate+"/session/login", string(body))
}

// beginBy logs in or joins at address and returns the cookie's value.
func beginBy(t *testing.T, client *http.Client, address, body string) string {
	t.Helper()
	a, err := call(t.Context(), client, http.MethodPost, address, "", body)
	if err != nil {
		t.Fatal(err)
	}
	name, rest, _ := strings.Cut(a.want(t, 200).header.Get("Set-Cookie"), "=")
	value, _, _ := strings.Cut(rest, ";")
	if name != sessionCookie || value == "" {
		t.Fatalf("Set-Cookie: %q", a.header["Set-Cookie"])
	}
	return value
}

func TestSessionSecretsRotate(t *testing.T) {
	t.Parallel()
	stands, client, dir := newStands(t), newClient(t), t.TempDir()
	secret := func(name string) string { return strings.Repeat(name, 32) }
	write := func(secrets string) { put(t, dir, map[string]string{"sessions": secrets + "\n"}) }
	write(secret("a"))
	r := startReplica(t, settings(stands, newRedis(t).Addr, "SESSION_SECRETS_FILE="+filepath.Join(dir, "sessions")))
	status := func(session string) int {
		return withCookie(t, client, http.MethodGet, r.url+"/v1/info", sessionCookie+"="+session).status
	}
	old := beginSession(t, client, r.url, stands.Demo)
	if got := status(old); got != 200 {
		t.Fatalf("at first: %d", got)
	}
	reads := 0
	reload := func(secrets string) {
		write(secrets)
		reads++
		eventually(t, "the secrets are read again", func() bool { return len(r.log.events("secrets were read again")) == reads })
	}
	reload(secret("b") + "," + secret("a"))
	fresh := beginSession(t, client, r.url, stands.Demo)
	if status(old) != 200 || status(fresh) != 200 {
		t.Error("with both secrets, not both sessions open")
	}
	reload(secret("b"))
	if status(old) != 401 || status(fresh) != 200 {
		t.Error("without the old secret, the old session opens or the fresh one doesn't")
	}
	write("short")
	r.log.wait(t, "changed secrets can't be used; the old ones stay in use")
	if status(fresh) != 200 {
		t.Error("a secret that is too short has taken the place of the old one")
	}
}

// A cookie is refused under another name (that of a sandbox's cookie), cut short or mixed with another, and after the logout.
func TestAStolenSessionIsOfNoUse(t *testing.T) {
	t.Parallel()
	stands, client, redisServer := newStands(t), newClient(t), newRedis(t)
	r := startReplica(t, settings(stands, redisServer.Addr, "SESSION_SECRETS="+sessionSecret, "SESSION_MAX_AGE=1h"))
	session := beginSession(t, client, r.url, stands.Demo)
	other := beginBy(t, client, r.url+"/session/join", `{"id":"minji","password":"abcd","name":"김민지","nickname":"mj","email":"minji@example.com"}`)
	audited := func(reason string) (n int) { // log lines may be late
		for _, e := range r.log.events("audit") {
			if e["reason"] == reason {
				n++
			}
		}
		return n
	}
	expected := 0
	for name, cookie := range map[string]string{
		"under another name": "session=" + session, "truncated": sessionCookie + "=" + session[:100], "swapped": sessionCookie + "=" + session[:150] + other[150:],
	} {
		for _, path := range []string{"/v1/info", "/api/v1/profile"} {
			withCookie(t, client, http.MethodGet, r.url+path, cookie).want(t, 401)
		}
		expected += 2
		eventually(t, name+" is audited", func() bool { return audited("bad_session") == expected })
	}
	withCookie(t, client, http.MethodPost, r.url+"/session/logout", sessionCookie+"="+session).want(t, 200)
	eventually(t, "the session is out", func() bool {
		return withCookie(t, client, http.MethodGet, r.url+"/v1/info", sessionCookie+"="+session).status == 401
	})
	withCookie(t, client, http.MethodGet, r.url+"/api/v1/profile", sessionCookie+"="+session).want(t, 401)
	withCookie(t, client, http.MethodGet, r.url+"/api/v1/profile", sessionCookie+"="+other).want(t, 200)
	eventually(t, "all of it to be audited", func() bool {
		return audited("bad_session") == 6 && audited("logged_out") >= 2 && audited("login") == 1 && audited("join") == 1 && audited("token") == 1
	})
	if dump := r.log.String() + dumpRedis(t, redisServer.Addr); strings.Contains(dump, session) || strings.Contains(dump, other) {
		t.Error("a session is in the log or in Redis")
	}
	var told struct{ Data struct{ Ends time.Time } }
	text := withCookie(t, client, http.MethodGet, r.url+"/session", sessionCookie+"="+other).want(t, 200).body
	if err := json.Unmarshal([]byte(text), &told); err != nil || time.Until(told.Data.Ends) > time.Hour || time.Until(told.Data.Ends) < time.Hour-patience {
		t.Errorf("SESSION_MAX_AGE doesn't end it: %s, %v", text, err)
	}
}
