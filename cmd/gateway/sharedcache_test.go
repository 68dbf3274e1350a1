package main

// A real nginx as a shared cache before the gateway: the catalogue's row A10. It caches all that it may for ten minutes. Its key is path
// and query, whoever asks.

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomgate/tests"
)

const nginxConfig = `
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
%[3]s
events {}
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	proxy_cache_path kept keys_zone=kept:1m;
	server {
		listen 127.0.0.1:%[1]s;
		location / {
			proxy_pass %[2]s;
			proxy_cache kept;
			proxy_cache_valid any 10m;
			add_header X-Cache $upstream_cache_status always;
		}
	}
}
`

// newNginx starts an nginx before upstream, in its own folder, and returns its URL.
func newNginx(t *testing.T, upstream string) string {
	t.Helper()
	user := ""
	if os.Geteuid() == 0 { // else its worker runs as a user who can't write here
		user = "user root;"
	}
	dir, port, log := t.TempDir(), freePort(t), newLogs(t)
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, port, upstream, user), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("nginx", "-e", "stderr", "-p", dir, "-c", config)
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		command.Process.Signal(syscall.SIGTERM) // it ends its worker, too; SIGKILL would leave the worker behind
		if err := command.Wait(); err != nil || t.Failed() {
			t.Logf("nginx: %v\n%s", err, log)
		}
	})
	client, url := newClient(t), "http://127.0.0.1:"+port
	eventually(t, "nginx answers", func() bool {
		a, err := call(t.Context(), client, http.MethodGet, url+"/public-api/v1/health?first", "", "")
		return err == nil && a.status == http.StatusOK
	})
	return url
}

func TestSharedCacheKeepsNoMembersAnswer(t *testing.T) {
	tests.Need(t, "nginx")
	stands, client := newStands(t), newClient(t)
	own := []string{"MEMBER_RATE_LIMIT=0", "ROOM_COALESCE=false", "INTERWATER_ALLOW=member.sub != 'c'", "TRUSTED_PROXIES=127.0.0.0/8"}
	r := startReplica(t, settings(stands, newRedis(t).Addr, own...))
	cache := newNginx(t, r.url)
	tokens := map[string]string{"nobody": ""}
	for _, sub := range []string{"a", "b", "c"} {
		tokens[sub] = stands.Glory.MintToken(sub, time.Hour)
	}
	// The cache works: a public answer without Cache-Control comes from Glory once.
	for _, want := range []string{"MISS", "HIT"} {
		if a := get(t, client, cache+"/public-api/v1/health", "").want(t, 200); a.header.Get("X-Cache") != want {
			t.Fatalf("X-Cache %q, want %q: this cache proves nothing", a.header.Get("X-Cache"), want)
		}
	}
	for _, path := range []string{"/v1/sessions", "/v1/info", "/v1/sessions/" + koreanRoom(), "/v1/sessions/x.css", "/v1/sessions/logo.png?v=1"} {
		there := http.StatusOK
		if strings.Contains(path, ".") {
			there = http.StatusNotFound // no room has that name
		}
		want := map[string]int{"a": there, "b": there, "c": http.StatusForbidden, "nobody": http.StatusUnauthorized}
		// Everybody asks before and after everybody else, so that a cached answer would be seen.
		for _, who := range []string{"nobody", "a", "nobody", "b", "c", "a", "a", "nobody", "c", "b"} {
			before := stands.Interwater.RoomCalls()
			a := get(t, client, cache+path, tokens[who])
			if a.status != want[who] || a.header.Get("X-Cache") != "MISS" || !strings.Contains(a.header.Get("Cache-Control"), "no-store") {
				t.Errorf("%s asks for %s: %d, X-Cache %q, Cache-Control %q", who, path, a.status, a.header.Get("X-Cache"), a.header["Cache-Control"])
			}
			asked := stands.Interwater.RoomCalls() - before
			if admitted := who == "a" || who == "b"; admitted && asked != 1 || !admitted && asked != 0 {
				t.Errorf("%s asks for %s: Interwater was asked %d times", who, path, asked)
			}
		}
	}
	// Glory's answers have no Cache-Control. Glory knows only member 1.
	tokens["1"], tokens["2"] = stands.Glory.MintToken("1", time.Hour), stands.Glory.MintToken("2", time.Hour)
	for _, who := range []string{"nobody", "1", "2", "nobody", "1"} {
		status := http.StatusForbidden
		if who == "1" {
			status = http.StatusOK
		}
		before := stands.Glory.Calls("/api/v1/profile")
		a := get(t, client, cache+"/api/v1/profile", tokens[who])
		if a.status != status || a.header.Get("X-Cache") != "MISS" || stands.Glory.Calls("/api/v1/profile") != before+1 {
			t.Errorf("%s asks for a profile: %d, X-Cache %q", who, a.status, a.header.Get("X-Cache"))
		}
	}
}
