package main

// Connections with certificates: a private authority, and a Redis that asks the gateway for a client certificate.

import (
	"crypto/x509"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"roomgate/internal/sandbox"
	"roomgate/tests"
)

// findings runs gateway check in its own process, because a process reads SSL_CERT_FILE only once.
func findings(t *testing.T, environ []string) map[string]finding {
	t.Helper()
	stdout, stderr, _ := program(t, environ, "check", "-json")
	var list []finding
	if err := json.Unmarshal([]byte(stdout), &list); err != nil {
		t.Fatalf("%v: %s%s", err, stdout, stderr)
	}
	byName := map[string]finding{}
	for _, f := range list {
		byName[f.Check] = f
	}
	return byName
}

func TestAPrivateAuthorityIsTrusted(t *testing.T) {
	t.Parallel()
	a, stands, client := newAuthority(t, "private"), newStands(t), newClient(t)
	_, redisURL := newTLSRedis(t, a, nil)
	environ := settings(stands, "", "REDIS_URL="+redisURL, "INTERWATER_URL="+a.overTLS(t, stands.InterwaterURL),
		"GLORY_URL="+a.overTLS(t, stands.GloryURL), "GLORY_JWT_SECRETS=") // Glory is asked about members
	found := findings(t, environ)
	for _, check := range []string{"redis", "glory", "interwater"} {
		if f := found[check]; f.Result != failed || !strings.Contains(f.Hint, "SSL_CERT_FILE") {
			t.Errorf("not trusted: %+v", f)
		}
	}
	environ = append(environ, "SSL_CERT_FILE="+a.file)
	for check, f := range findings(t, environ) {
		if f.Result == failed {
			t.Errorf("trusted: %s: %+v", check, f)
		}
	}
	r, _ := startProcess(t, environ)
	get(t, client, r.url+"/v1/info", stands.Glory.MintToken("1", time.Hour)).want(t, 200)
	if page := get(t, client, r.admin+"/readyz", "").want(t, 200).body; strings.Contains(page, "redis") {
		t.Errorf("Redis isn't in use: %s", page)
	}
}

func TestCheckTellsWhatRedisThinksOfOurCertificate(t *testing.T) {
	t.Parallel()
	a, other, stands := newAuthority(t, "a"), newAuthority(t, "other"), newStands(t)
	_, redisURL := newTLSRedis(t, a, a)
	shown := func(by *authority, usage x509.ExtKeyUsage) []string {
		dir := t.TempDir()
		put(t, dir, by.issue(t, usage))
		return []string{"REDIS_CERT_FILE=" + filepath.Join(dir, "tls.crt"), "REDIS_KEY_FILE=" + filepath.Join(dir, "tls.key")}
	}
	for name, c := range map[string]struct {
		own  []string
		hint string // "": all is well
	}{
		"good":           {shown(a, x509.ExtKeyUsageClientAuth), ""},
		"none":           {nil, "set REDIS_CERT_FILE and REDIS_KEY_FILE"},
		"another's":      {shown(other, x509.ExtKeyUsageClientAuth), "rejects the certificate in REDIS_CERT_FILE"},
		"not for client": {shown(a, x509.ExtKeyUsageServerAuth), "rejects the certificate in REDIS_CERT_FILE"},
		"not trusted":    {[]string{"SSL_CERT_FILE=" + other.file}, "does this machine know its certificate authority? SSL_CERT_FILE"},
		"another's name": {[]string{"REDIS_URL=" + strings.Replace(redisURL, "127.0.0.1", "localhost", 1)}, "does its certificate name the host"},
	} {
		found := findings(t, settings(stands, "", append([]string{"REDIS_URL=" + redisURL, "SSL_CERT_FILE=" + a.file}, c.own...)...))
		if f := found["redis"]; c.hint == "" && f.Result != ok || c.hint != "" && (f.Result != failed || !strings.Contains(f.Hint, c.hint)) {
			t.Errorf("%s: %+v, want %q", name, f, c.hint)
		}
		if f, there := found["redis client certificate"]; there && f.Result != ok || there != (len(c.own) == 2) {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// The certificates of both sides change, and so does the clients' authority. Each time all connections to Redis are closed. Meanwhile
// members are served, with tokens that replicas share through Redis.
func TestRedisCertificatesRotateUnderLoad(t *testing.T) {
	tests.Long(t)
	t.Parallel()
	servers, old, fresh := newAuthority(t, "servers"), newAuthority(t, "old clients"), newAuthority(t, "new clients")
	server, redisURL := newTLSRedis(t, servers, old)
	stands, client, dir := newStands(t), newClient(t), t.TempDir()
	stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/auth", Token: &sandbox.TokenFault{TTL: 4 * time.Second}})
	mounted(t, dir, "..1", old.issue(t, x509.ExtKeyUsageClientAuth))
	environ := settings(stands, "", "REDIS_URL="+redisURL, "SSL_CERT_FILE="+servers.file, "MEMBER_RATE_LIMIT=0",
		"REDIS_CERT_FILE="+filepath.Join(dir, "tls.crt"), "REDIS_KEY_FILE="+filepath.Join(dir, "tls.key"))
	first, _ := startProcess(t, environ)
	second, _ := startProcess(t, environ)
	direct := redis.NewClient(&redis.Options{Addr: server.Addr, ReadTimeout: patience})
	defer direct.Close()
	// renew closes all connections to Redis. It waits until both gateways use Redis again and tokens have been fetched.
	renew := func(why string) {
		t.Helper()
		if err := direct.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal").Err(); err != nil {
			t.Fatal(err)
		}
		calls := stands.Interwater.AuthCalls()
		eventually(t, why, func() bool {
			for _, r := range []*replica{first, second} {
				if strings.Contains(get(t, client, r.admin+"/readyz", "").body, "redis") {
					return false
				}
			}
			return stands.Interwater.AuthCalls() > calls+1
		})
	}
	set := func(name, value string) {
		t.Helper()
		if err := direct.ConfigSet(t.Context(), name, value).Err(); err != nil {
			t.Fatal(err)
		}
	}
	got, stop := openLoad(t, 100, []string{first.url + "/v1/info", second.url + "/v1/info"}, stands.Glory.MintToken("1", time.Hour))
	renew("the old certificates")

	certFile, keyFile := servers.server(t)
	bundle := filepath.Join(t.TempDir(), "both")
	put(t, filepath.Dir(bundle), map[string]string{"both": read(t, old.file) + read(t, fresh.file)})
	if err := direct.Do(t.Context(), "CONFIG", "SET", "tls-cert-file", certFile, "tls-key-file", keyFile, "tls-ca-cert-file", bundle).Err(); err != nil {
		t.Fatal(err)
	}
	renew("another server certificate")

	reloads := `roomgate_reloads_total{result="ok"}`
	mounted(t, dir, "..2", fresh.issue(t, x509.ExtKeyUsageClientAuth))
	for _, r := range []*replica{first, second} {
		eventually(t, "the new pair was read", func() bool {
			return strings.Contains(get(t, client, r.admin+"/metrics", "").body, reloads+" 1")
		})
	}
	set("tls-ca-cert-file", fresh.file)
	renew("the new client certificate alone")
	stdout, stderr, status := program(t, environ, "denied")
	if status != 0 {
		t.Errorf("denied: %d %s%s", status, stdout, stderr)
	}
	set("tls-ca-cert-file", old.file) // to prove that Redis checks certificates
	if _, _, status := program(t, environ, "denied"); status == 0 {
		t.Error("Redis takes whatever certificate is shown")
	}
	set("tls-ca-cert-file", fresh.file)

	stop()
	if failed := failures(got.all()); len(failed) > 0 {
		t.Errorf("%d of %d failed, the first: %s", len(failed), len(got.all()), failed[0])
	}
	t.Logf("%d requests, %d tokens", len(got.all()), stands.Interwater.AuthCalls())
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
