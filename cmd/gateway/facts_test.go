package main

// The facts about a replica in /status, and SIGHUP for a license that fails.

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"roomgate/internal/ops"
	"roomgate/internal/sandbox"
)

// statusOf asks for /status.
func statusOf(t *testing.T, r *replica) (s ops.Status) {
	t.Helper()
	text := get(t, newClient(t), r.admin+"/status", "").want(t, 200).body
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return s
}

// Interwater refuses a license with a Retry-After of ten minutes. Then its operators mend the license, and ours sends SIGHUP.
func TestSIGHUPTriesAFailingLicenseAtOnce(t *testing.T) {
	t.Parallel()
	stands, client := newStands(t), newClient(t)
	stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/auth", Status: 403, Header: map[string]string{"Retry-After": "600"}})
	r, process := startProcess(t, settings(stands, newRedis(t).Addr))
	token := stands.Glory.MintToken("1", time.Hour)
	get(t, client, r.url+"/v1/info", token).want(t, 502)
	failing := statusOf(t, r)
	if l := failing.Licenses[0]; l.State != "failing" || l.NextTrySeconds < 500 || l.NextTrySeconds > 601 {
		t.Errorf("%+v", l)
	}
	if failing.Facts.PID != process.Pid {
		t.Errorf("the process is said to be %d, and is %d", failing.Facts.PID, process.Pid)
	}
	stands.Interwater.SetFaults()
	process.Signal(syscall.SIGHUP)
	eventually(t, "members are served", func() bool { return get(t, client, r.url+"/v1/info", token).status == 200 })
	if l := statusOf(t, r).Licenses[0]; l.State != "fresh" || l.NextTrySeconds != 0 {
		t.Errorf("%+v", l)
	}
}

func TestStatusTellsOfClockAndReloads(t *testing.T) {
	t.Parallel()
	stands, dir := newStands(t), t.TempDir()
	jwt := filepath.Join(dir, "jwt")
	put(t, dir, map[string]string{"jwt": stands.Glory.Secret()})
	r := startReplica(t, append(settings(stands, newRedis(t).Addr), "GLORY_JWT_SECRETS=", "GLORY_JWT_SECRETS_FILE="+jwt))
	eventually(t, "Redis's clock is known", func() bool { return statusOf(t, r).Facts.RedisClockSeconds != nil })
	f := statusOf(t, r).Facts
	if f.Verification != "local" || time.Since(f.Time).Abs() > time.Minute || math.Abs(*f.RedisClockSeconds) > 5 || f.LastReload != nil {
		t.Errorf("at the start: %+v", f)
	}
	changed := func(to string) ops.Reload {
		began := time.Now().Add(-time.Millisecond)
		if err := os.WriteFile(jwt, []byte(to), 0o600); err != nil {
			t.Fatal(err)
		}
		var last *ops.Reload
		eventually(t, "a reload", func() bool { last = statusOf(t, r).Facts.LastReload; return last != nil && last.At.After(began) })
		return *last
	}
	if last := changed("short"); last.Error == "" {
		t.Errorf("of a secret that is too short: %+v", last)
	}
	if last := changed(stands.Glory.Secret() + ",another-member-jwt-secret-of-more-than-48-bytes-000000"); last.Error != "" {
		t.Errorf("%+v", last)
	}
}
