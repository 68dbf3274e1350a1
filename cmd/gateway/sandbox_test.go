package main

// The sandbox: what it prints, which settings it takes, and how other commands find it.

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// startSandbox starts a sandbox on free ports. It writes no files outside the test's folder.
func startSandbox(t *testing.T, environ []string, flags ...string) (*replica, *os.Process) {
	t.Helper()
	environ = append([]string{"LOG_LEVEL=info", "LOG_FORMAT=json", "TMPDIR=" + t.TempDir()}, environ...)
	return startProcess(t, environ, append([]string{
		"sandbox", "-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-glory", "127.0.0.1:0", "-interwater", "127.0.0.1:0"}, flags...)...)
}

// demoToken logs the demo member in with the body that the sandbox prints. It returns the member token and that body.
func demoToken(t *testing.T, r *replica) (token, body string) {
	t.Helper()
	body = regexp.MustCompile(`(?m)^\{"id":.*\}$`).FindString(r.log.String())
	var member struct{ ID, Password string }
	if err := json.Unmarshal([]byte(body), &member); err != nil {
		t.Fatalf("the sandbox prints no member: %v\n%s", err, r.log)
	}
	return login(t, newClient(t), r.url, member.ID, member.Password), body
}

// settingsOf returns the settings that a running sandbox has written to a file, and the file's path.
func settingsOf(t *testing.T, r *replica) (environ []string, path string) {
	t.Helper()
	found := regexp.MustCompile(`set -a; \. (\S+); set \+a`).FindStringSubmatch(r.log.String())
	if found == nil {
		t.Fatalf("the sandbox doesn't say where its settings are:\n%s", r.log)
	}
	text, err := os.ReadFile(found[1])
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		environ = append(environ, name+"="+strings.ReplaceAll(strings.Trim(value, "'"), `'\''`, "'"))
	}
	return environ, found[1]
}

// The sandbox needs no settings, and what it prints works, with and without -remote.
func TestSandbox(t *testing.T) {
	t.Parallel()
	for _, remote := range []bool{false, true} {
		t.Run(fmt.Sprintf("remote=%v", remote), func(t *testing.T) { playSandbox(t, remote) })
	}
}

func playSandbox(t *testing.T, remote bool) {
	r, process := startSandbox(t, nil, fmt.Sprintf("-remote=%v", remote))
	client := newClient(t)
	if !strings.Contains(r.log.String(), "curl -sw '\\n' $GATE/v1/sessions/"+koreanRoom()) {
		t.Errorf("no line for the room:\n%s", r.log)
	}
	token, _ := demoToken(t, r)
	get(t, client, r.url+"/v1/sessions/"+koreanRoom(), token).want(t, 200)
	asked := strings.Contains(get(t, client, r.admin+"/metrics", "").body, `roomgate_member_verifications_total{mode="remote",result="admitted"} 1`)
	if asked != remote {
		t.Errorf("Glory was asked about the member: %v", asked)
	}
	process.Signal(os.Interrupt)
	if err := r.ended(); err != nil {
		t.Errorf("exit: %v", err)
	}
}

func TestSandboxPrintsTheSessionOfTheReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, session, _ := strings.Cut(string(readme), "\nGATE=http://127.0.0.1:8080\n")
	session, _, found := strings.Cut(session, "\n```")
	if !found {
		t.Fatal("README.md has no session that begins with GATE=http://127.0.0.1:8080")
	}
	r, _ := startSandbox(t, nil)
	if !strings.Contains(r.log.String(), "\nGATE="+r.url+"\n") {
		t.Errorf("no GATE=%s:\n%s", r.url, r.log)
	}
	for line := range strings.Lines(session) {
		if !strings.Contains(r.log.String(), strings.TrimRight(line, "\n")) {
			t.Errorf("README.md has a line that the sandbox doesn't print: %s", line)
		}
	}
}

func TestSandboxTakesSettings(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	r, process := startSandbox(t, []string{
		`INTERWATER_LICENSE_0_ALLOW=member.sub == "it's nobody"`, // a quote, for the file
		"INTERWATER_LICENSE_1_NAME=all", "INTERWATER_LICENSE_1_TOKEN_MINUTES=1",
		"INTERWATER_ROUTES=GET /v1/sessions", "CORS_ALLOWED_ORIGINS=https://app.example", "LOGIN_RATE_LIMIT=1/1h",
		"GLORY_JWT_SECRETS=" + strings.Repeat("x", 48),
	}, "-member-tokens", "1h")
	environ, path := settingsOf(t, r)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file with secrets: %v, %v", info.Mode(), err)
	}
	token, demo := demoToken(t, r)
	get(t, client, r.url+"/v1/sessions", token).want(t, 200)
	get(t, client, r.url+"/v1/info", token).want(t, 404) // by INTERWATER_ROUTES
	again, err := call(t.Context(), client, http.MethodPost, r.url+"/public-api/v1/login", "", demo)
	if err != nil || again.status != 429 { // by LOGIN_RATE_LIMIT
		t.Errorf("second login: %+v, %v", again, err)
	}
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, r.url+"/v1/sessions", nil)
	request.Header.Set("Origin", "https://app.example")
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if got := answer.Header.Get("Access-Control-Allow-Origin"); got != "https://app.example" {
		t.Errorf("CORS permission: %q", got)
	}

	// Other commands find the sandbox by the file.
	explained, stderr, status := programReading(t, token, environ, "explain", "GET", "/v1/sessions")
	if status != 0 || !strings.Contains(explained, "license all as member") || !strings.Contains(explained, "expires in") {
		t.Errorf("explain: %d\n%s%s", status, explained, stderr)
	}
	if stdout, stderr, status := program(t, environ, "deny", "1"); status != 0 {
		t.Errorf("deny: %d\n%s%s", status, stdout, stderr)
	}
	eventually(t, "the denial", func() bool { return get(t, client, r.url+"/v1/sessions", token).status == 403 })
	process.Signal(os.Interrupt)
	if err := r.ended(); err != nil {
		t.Errorf("exit: %v", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the file is left behind: %v", err)
	}
}

func TestSandboxWithTLSPrintsHTTPS(t *testing.T) {
	t.Parallel()
	_, certFile, keyFile := newCertificate(t, -time.Hour, time.Hour)
	r, _ := startSandbox(t, []string{"TLS_CERT_FILE=" + certFile, "TLS_KEY_FILE=" + keyFile})
	for _, want := range []string{"\nGATE=https://127.0.0.1:", "CURL_CA_BUNDLE='" + certFile + "'"} {
		if !strings.Contains(r.log.String(), want) {
			t.Errorf("no %q:\n%s", want, r.log)
		}
	}
}

func TestSandboxUsesTheRedisThatIsSet(t *testing.T) {
	t.Parallel()
	server := newRedis(t)
	r, _ := startSandbox(t, []string{"REDIS_URL=redis://" + server.Addr})
	environ, _ := settingsOf(t, r)
	if stdout, stderr, status := program(t, environ, "deny", "1"); status != 0 {
		t.Errorf("deny: %d\n%s%s", status, stdout, stderr)
	}
	token, _ := demoToken(t, r)
	eventually(t, "what is in this Redis to count", func() bool { return get(t, newClient(t), r.url+"/v1/sessions", token).status == 403 })
	if !slices.Contains(environ, "REDIS_URL=redis://"+server.Addr) {
		t.Errorf("not the Redis that was set: %v", environ)
	}
}

func TestSandboxRefusesWhatItCannotDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		entry string
		flags []string
		name  string
	}{
		{"GLORY_URL=http://127.0.0.1:1", nil, "GLORY_URL"},
		{"INTERWATER_URL=http://127.0.0.1:1", nil, "INTERWATER_URL"},
		{"GLORY_URL_FILE=/nowhere", nil, "GLORY_URL"},
		{"GLORY_JWT_SECRETS=" + strings.Repeat("x", 48), []string{"-remote"}, "GLORY_JWT_SECRETS"},
		{"GLORY_JWT_ALGORITHMS=HS256", nil, "GLORY_JWT_ALGORITHMS"},
		{"GLORY_JWT_ISSUER=other", nil, "GLORY_JWT_ISSUER"},
		{"REDIS_MODE=cluster", nil, "REDIS_MODE"},
		{"INTERWATER_ALLOW=(", nil, "INTERWATER_ALLOW"},
		{"INTERWATER_LICENSE_1_ALLOW=true", nil, "INTERWATER_LICENSE_1_"}, // there is no 0
		{"A=b", []string{"-member-tokens", "1ms"}, "-member-tokens"},
	} {
		stdout, stderr, status := program(t, []string{c.entry}, append([]string{"sandbox", "-listen", "127.0.0.1:0", "-admin", "127.0.0.1:0"}, c.flags...)...)
		if status != 2 || !strings.Contains(stderr, "gateway: "+c.name) {
			t.Errorf("%s %v: exit status %d, want 2 and a line that begins with %s\n%s%s", c.entry, c.flags, status, c.name, stdout, stderr)
		}
	}
}

func TestSandboxHelpShowsWhatCanBeSet(t *testing.T) {
	t.Parallel()
	_, help, status := program(t, nil, "sandbox", "-h")
	counts, not, found := strings.Cut(help, "\nNot ")
	if status != 0 || !found || !strings.Contains(counts, " INTERWATER_LICENSE_<n>_ALLOW") || strings.Contains(counts, " GLORY_URL") || !strings.Contains(not, "GLORY_URL") {
		t.Errorf("%d\n%s", status, help)
	}
}
