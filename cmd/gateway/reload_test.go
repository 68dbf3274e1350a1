package main

// Secrets that change in their files while requests go on.

import (
	"crypto/tls"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"roomgate/internal/sandbox"
	"roomgate/tests"
)

// put writes files into a folder.
func put(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// mounted lays files out as Kubernetes mounts a Secret: links into ..data, which is a link to the folder version.
func mounted(t *testing.T, dir, version string, files map[string]string) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, version), files)
	if err := os.Symlink(version, filepath.Join(dir, "..next")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "..next"), filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	for name := range files {
		_ = os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)) // fails after the first version: the links are there
	}
}

// inTwoWays returns two ways to change a secret's files: in place, and as Kubernetes does. The default run has only the way plain.
func inTwoWays(plain string) map[string]func(t *testing.T, dir, version string, files map[string]string) {
	ways := map[string]func(t *testing.T, dir, version string, files map[string]string){
		"files":   func(t *testing.T, dir, _ string, files map[string]string) { put(t, dir, files) },
		"symlink": mounted,
	}
	maps.DeleteFunc(ways, func(how string, _ func(*testing.T, string, string, map[string]string)) bool {
		return how != plain && !tests.Whole()
	})
	return ways
}

// newRotation starts a gateway with its license keys in files of dir. Interwater knows an old and a new license.
func newRotation(t *testing.T, dir string) (*sandbox.Sandbox, *replica) {
	t.Helper()
	stands, err := sandbox.Start(sandbox.Options{Licenses: []sandbox.License{
		{AccessKey: "old-key", SecretKey: "old-secret"}, {AccessKey: "new-key", SecretKey: "new-secret"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stands.Close() })
	stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/auth", Token: &sandbox.TokenFault{TTL: 2 * time.Second}})
	return stands, startReplica(t, append(settings(stands, newRedis(t).Addr), "INTERWATER_ACCESS_KEY=", "INTERWATER_SECRET_KEY=", "MEMBER_RATE_LIMIT=0",
		"INTERWATER_ACCESS_KEY_FILE="+filepath.Join(dir, "access"), "INTERWATER_SECRET_KEY_FILE="+filepath.Join(dir, "secret")))
}

func TestLicenseKeysRotateWithoutALostRequest(t *testing.T) {
	t.Parallel()
	old := map[string]string{"access": "old-key\n", "secret": "old-secret\n"}
	fresh := map[string]string{"access": "new-key\n", "secret": "new-secret\n"}
	for how, write := range inTwoWays("symlink") {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, "..1", old)
			stands, r := newRotation(t, dir)
			token := stands.Glory.MintToken("1", time.Hour)
			got, stop := openLoad(t, 200, []string{r.url + "/v1/info"}, token)
			eventually(t, "the old key in use", func() bool { return len(got.all()) > 100 })

			write(t, dir, "..2", map[string]string{"access": "new-key\n", "secret": "wrong\n"})
			eventually(t, "the failure is told", func() bool {
				return strings.Contains(get(t, newClient(t), r.admin+"/status", "").body, "changed secrets are not used")
			})
			if key, _ := licenseSeen(t, stands); key != "old-key" {
				t.Errorf("license %s in use after a wrong new one", key)
			}
			write(t, dir, "..3", fresh)
			eventually(t, "the new key in use", func() bool { key, _ := licenseSeen(t, stands); return key == "new-key" })
			swapped := stands.Interwater.AuthCalls()
			eventually(t, "the new key's token is refreshed", func() bool { return stands.Interwater.AuthCalls() > swapped })
			sent := stands.Interwater.RoomCalls()
			eventually(t, "as many requests as Interwater remembers", func() bool { return stands.Interwater.RoomCalls() > sent+256 })
			stop()
			if failed := failures(got.all()); len(failed) > 0 {
				t.Errorf("%d of %d failed, the first: %s", len(failed), len(got.all()), failed[0])
			}
			for _, request := range stands.Interwater.RoomRequests() {
				if key, _ := readLicense(t, request.Header.Get("s-connector-jwt")); key != "new-key" {
					t.Fatalf("%s is still used long after the swap", key)
				}
			}
			if strings.Contains(get(t, newClient(t), r.admin+"/status", "").body, "changed secrets") {
				t.Error("still degraded after the rotation")
			}
		})
	}
}

func TestJWTSecretsOverlap(t *testing.T) {
	t.Parallel()
	stands, client, dir := newStands(t), newClient(t), t.TempDir()
	const other = "another-member-jwt-secret-of-more-than-48-bytes-000000"
	elsewhere, err := sandbox.NewGlory(sandbox.Options{JWTSecret: other})
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, map[string]string{"jwt": stands.Glory.Secret()})
	r, process := startProcess(t, append(settings(stands, newRedis(t).Addr), "GLORY_JWT_SECRETS=", "GLORY_JWT_SECRETS_FILE="+filepath.Join(dir, "jwt")))
	before, after := stands.Glory.MintToken("1", time.Hour), elsewhere.MintToken("1", time.Hour)
	status := func(token string) int { return get(t, client, r.url+"/v1/info", token).status }
	if status(before) != 200 || status(after) != 401 {
		t.Fatal("the start")
	}
	put(t, dir, map[string]string{"jwt": other + "," + stands.Glory.Secret()})
	eventually(t, "both count", func() bool { return status(before) == 200 && status(after) == 200 })
	put(t, dir, map[string]string{"jwt": "short"}) // invalid: both secrets stay in use
	eventually(t, "it is told", func() bool { return strings.Contains(get(t, client, r.admin+"/readyz", "").body, "changed secrets") })
	if status(before) != 200 || status(after) != 200 {
		t.Error("a broken new value was taken over")
	}
	put(t, dir, map[string]string{"jwt": other})
	process.Signal(syscall.SIGHUP) // it reloads at once, and doesn't end the process
	eventually(t, "the old one has gone", func() bool { return status(before) == 401 && status(after) == 200 })
}

func TestTheRedisPasswordRotates(t *testing.T) {
	t.Parallel()
	server, stands, client, dir := newRedis(t, "--requirepass", "old-password"), newStands(t), newClient(t), t.TempDir()
	put(t, dir, map[string]string{"redis": "redis://:old-password@" + server.Addr})
	r := startReplica(t, append(settings(stands, ""), "REDIS_URL=", "REDIS_URL_FILE="+filepath.Join(dir, "redis")))
	direct := redis.NewClient(&redis.Options{Addr: server.Addr, Password: "old-password"})
	defer direct.Close()
	if err := direct.ConfigSet(t.Context(), "requirepass", "new-password").Err(); err != nil {
		t.Fatal(err)
	}
	direct.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal") // open connections would stay logged in
	degraded := func() bool { return strings.Contains(get(t, client, r.admin+"/readyz", "").body, "redis is down") }
	eventually(t, "redis refuses the old password", degraded)
	get(t, client, r.url+"/v1/info", stands.Glory.MintToken("1", time.Hour)).want(t, 200)
	put(t, dir, map[string]string{"redis": "redis://:new-password@" + server.Addr})
	eventually(t, "redis takes the new one", func() bool { return !degraded() })
}

// newPair makes a certificate for name and its key, in PEM. The tests tell certificates apart by name.
func newPair(t *testing.T, name string) map[string]string {
	t.Helper()
	made, err := sandbox.SelfSigned(-time.Hour, time.Hour, name)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"tls.crt": string(made.Cert), "tls.key": string(made.Key)}
}

func TestTheCertificateRotates(t *testing.T) {
	t.Parallel()
	for how, write := range inTwoWays("files") {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			dir, client := t.TempDir(), newClient(t)
			first, second := newPair(t, "first"), newPair(t, "second")
			write(t, dir, "..1", first)
			r := startReplica(t, append(settings(newStands(t), newRedis(t).Addr), "TLS_CERT_FILE="+filepath.Join(dir, "tls.crt"), "TLS_KEY_FILE="+filepath.Join(dir, "tls.key")))
			served := func() string {
				conn, err := tls.Dial("tcp", strings.TrimPrefix(r.url, "http://"), insecure("h2"))
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
			}
			told := func() bool {
				return strings.Contains(get(t, client, r.admin+"/status", "").body, "changed secrets are not used")
			}
			if got := served(); got != "first" {
				t.Errorf("%q at the start", got)
			}
			write(t, dir, "..2", map[string]string{"tls.crt": second["tls.crt"], "tls.key": first["tls.key"]})
			eventually(t, "a pair that doesn't fit is told", told)
			if page := get(t, client, r.admin+"/metrics", "").body; !strings.Contains(page, `roomgate_reloads_total{result="failed"} `) {
				t.Error("the metric doesn't tell it")
			}
			if got := served(); got != "first" {
				t.Errorf("%q after a pair that doesn't fit", got)
			}
			write(t, dir, "..3", second)
			eventually(t, "the new certificate", func() bool { return served() == "second" })
			eventually(t, "no longer told", func() bool { return !told() })
		})
	}
}
