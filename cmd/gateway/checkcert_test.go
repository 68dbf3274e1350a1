package main

// What gateway check says of certificates that expire soon, have expired or don't fit: the gateway's own and an upstream's. Also: its
// line on a terminal, and that it shows no secret.

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"roomgate/internal/sandbox"
)

const day = 24 * time.Hour

// newCertificate makes a certificate for 127.0.0.1, as a pair and as two files. It is valid from begins to ends, counted from now.
func newCertificate(t *testing.T, begins, ends time.Duration) (pair tls.Certificate, certFile, keyFile string) {
	t.Helper()
	made, err := sandbox.SelfSigned(begins, ends, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if pair, err = tls.X509KeyPair(made.Cert, made.Key); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	put(t, dir, map[string]string{"crt": string(made.Cert), "key": string(made.Key)})
	return pair, filepath.Join(dir, "crt"), filepath.Join(dir, "key")
}

func TestCheckOfTheGatewaysCertificate(t *testing.T) {
	t.Parallel()
	stands, redisServer := newStands(t), newRedis(t)
	for name, c := range map[string]struct {
		begins, ends time.Duration
		expected
	}{
		"good":          {-day, 31 * day, expected{"tls certificate", ok, "30 days", ""}},
		"soon":          {-day, 30 * day, expected{"tls certificate", warning, "in 29 days", "renew it"}},
		"expired":       {-2 * day, -day, expected{"tls certificate", failed, "expired on", "renew it"}},
		"not yet valid": {day, 60 * day, expected{"tls certificate", failed, "not valid before", "clock"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, certFile, keyFile := newCertificate(t, c.begins, c.ends)
			want(t, settings(stands, redisServer.Addr, "TLS_CERT_FILE="+certFile, "TLS_KEY_FILE="+keyFile), c.expected)
		})
	}
}

func TestCheckOfAnUpstreamsCertificate(t *testing.T) {
	t.Parallel()
	stands, redisServer := newStands(t), newRedis(t)
	for name, c := range map[string]struct {
		ends    time.Duration
		url     func(string) string
		unknown bool
		check   expected
	}{
		"good":      {ends: 15 * day, check: expected{"glory certificate", ok, "14 days", ""}},
		"soon":      {ends: 14 * day, check: expected{"glory certificate", warning, "in 13 days", "tell those who run glory"}},
		"expired":   {ends: -time.Hour, check: expected{"glory", failed, "expired", "or is this machine's clock wrong"}},
		"untrusted": {ends: 99 * day, unknown: true, check: expected{"glory", failed, "", "SSL_CERT_FILE"}},
		"another's": {ends: 99 * day, url: func(u string) string { return strings.Replace(u, "127.0.0.1", "localhost", 1) },
			check: expected{"glory", failed, "", "does its certificate name the host"}},
	} {
		t.Run(name, func(t *testing.T) {
			pair, certFile, _ := newCertificate(t, -10*day, c.ends)
			glory := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			glory.TLS, glory.Config.ErrorLog = &tls.Config{Certificates: []tls.Certificate{pair}}, quiet()
			glory.StartTLS()
			defer glory.Close()
			environ := settings(stands, redisServer.Addr, "GLORY_URL="+glory.URL)
			if c.url != nil {
				environ = append(environ, "GLORY_URL="+c.url(glory.URL))
			}
			if !c.unknown {
				environ = append(environ, "SSL_CERT_FILE="+certFile) // a process reads it once, so each case runs one
			}
			stdout, stderr, _ := program(t, environ, "check", "-json")
			var list []finding
			if err := json.Unmarshal([]byte(stdout), &list); err != nil {
				t.Fatalf("%v: %s%s", err, stdout, stderr)
			}
			for _, f := range list {
				if f.Check == c.check.check && f.Result == c.check.result && strings.Contains(f.Detail, c.check.detail) && strings.Contains(f.Hint, c.check.hint) {
					return
				}
			}
			t.Errorf("no %+v in %s", c.check, stdout)
		})
	}
}

// Whatever is wrong, the output has no secret.
func TestCheckShowsNoSecret(t *testing.T) {
	t.Parallel()
	stands, secrets := newMarkedStands(t)
	locked := newRedis(t, "--requirepass", "another")
	sinks := map[string]string{}
	for n, addr := range []string{locked.Addr, oldRedis(t), "127.0.0.1:1"} {
		for m, fault := range []sandbox.Fault{
			{}, {Status: 403}, {Kind: sandbox.KindReset}, {Kind: sandbox.KindEcho},
			{Kind: sandbox.KindRaw, Body: "marker-access-key-3f9a marker-secret-key-77b1\r\n\r\n"},
			{Status: 302, Redirect: "http://marker-secret-key-77b1/"}, {Header: map[string]string{"Date": "marker-secret-key-77b1"}},
		} {
			stands.Glory.SetFaults(fault)
			stands.Interwater.SetFaults(fault)
			environ := settings(stands, "", "REDIS_URL=redis://:marker-redis-password@"+addr, "GLORY_JWT_SECRET="+secrets["JWT secret"])
			for _, args := range [][]string{{"check"}, {"check", "-json"}} {
				var out strings.Builder
				_ = run(t.Context(), args, environ, &out, &out)
				sinks[fmt.Sprint(args, n, m)] = out.String()
			}
		}
	}
	scan(t, sinks, secrets)
}

// On a terminal a line shows which checks are running. It is gone at the end. Standard output has only the table.
func TestProgressOfACheckIsForTerminalsOnly(t *testing.T) {
	t.Parallel()
	stands, redisServer := newStands(t), newRedis(t)
	stands.Glory.SetFaults(slowly("", 300*time.Millisecond))
	environ := settings(stands, redisServer.Addr)
	screen, terminal, err := pty.Open() // the command writes to terminal, the test reads from screen
	if err != nil {
		t.Fatal(err)
	}
	defer screen.Close()
	command := exec.CommandContext(t.Context(), os.Args[0], "check")
	var stdout strings.Builder
	command.Env, command.Stdout, command.Stderr = append(environ, asProgram), &stdout, terminal
	if err := command.Run(); err != nil {
		t.Errorf("%v\n%s", err, &stdout)
	}
	terminal.Close()
	shown, _ := io.ReadAll(screen) // it fails when nobody has the terminal open any more
	text := string(shown)
	for _, name := range []string{"settings", "redis", "interwater", "license default"} { // they end in any order
		if !strings.Contains(text, name) {
			t.Errorf("%s is not on the terminal: %q", name, text)
		}
	}
	if !strings.Contains(text, eraseLine+"checking glory"+eraseLine) { // the slowest by far
		t.Errorf("on the terminal: %q", text)
	}
	if !strings.HasSuffix(text, eraseLine) || strings.Contains(text, "\n") || strings.Contains(stdout.String(), "\x1b") {
		t.Errorf("the line is not gone: %q, %q", text, &stdout)
	}
	if _, stderr, _ := program(t, environ, "check"); stderr != "" {
		t.Errorf("without a terminal: %q", stderr)
	}
}
