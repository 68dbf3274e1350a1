package main

// Secrets stay on the server side. A gateway runs with secrets that can be recognised, and the test searches all that leaves the
// process.

import (
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"roomgate/internal/sandbox"
)

// newMarkedStands starts both upstreams with secrets that can be recognised. It returns the secrets, with a password for Redis.
func newMarkedStands(t *testing.T) (*sandbox.Sandbox, map[string]string) {
	t.Helper()
	secrets := map[string]string{
		"access key":     "marker-access-key-3f9a",
		"secret key":     "marker-secret-key-77b1",
		"JWT secret":     "marker-jwt-secret-0123456789abcdef0123456789abcdef",
		"redis password": "marker-redis-password",
	}
	stands, err := sandbox.Start(sandbox.Options{
		JWTSecret: secrets["JWT secret"],
		Licenses:  []sandbox.License{{AccessKey: secrets["access key"], SecretKey: secrets["secret key"]}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stands.Close() })
	return stands, secrets
}

func TestNoSecretLeaves(t *testing.T) {
	t.Parallel()
	redisServer, client := newRedis(t, "--requirepass", "marker-redis-password"), newClient(t)
	stands, secrets := newMarkedStands(t)
	secrets["password"] = "marker-member-password"
	collector := newCollector(t)
	r, _ := startProcess(t, settings(stands, "", "REDIS_URL=redis://:marker-redis-password@"+redisServer.Addr, "LOG_LEVEL=debug", "SERVER_TIMING=true",
		"OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL, "OTEL_EXPORTER_OTLP_HEADERS=authorization=marker-collector-key"))
	secrets["collector's key"] = "marker-collector-key"

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
	note(get(t, client, r.url+"//v1/auth?token=marker-in-query", member).want(t, 400))
	for _, fault := range []sandbox.Fault{
		{Kind: sandbox.KindReset}, {Kind: sandbox.KindCut}, {Kind: sandbox.KindGarbage, Status: 500}, {Status: 401},
		{Redirect: "http://127.0.0.1:1/"}, {Kind: sandbox.KindTrailer}, {Kind: sandbox.KindEarlyHints}, {Kind: sandbox.KindCookie},
	} {
		stands.Interwater.SetFaults(fault)
		// An answer that breaks off is an error, and has nothing to note.
		if a, err := call(t.Context(), client, http.MethodGet, r.url+"/v1/info", member, ""); err == nil {
			note(a)
		}
	}
	secrets["second access token"] = stands.Interwater.LastRoomRequest().Header.Get("s-connector-jwt")
	for _, path := range []string{"/", "/status", "/metrics", "/readyz", "/livez", "/debug/pprof/goroutine?debug=2", "/debug/pprof/cmdline"} {
		note(get(t, client, r.admin+path, ""))
	}
	openMetrics := openMetricsOf(t, client, r.admin)
	r.stop()
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	spans, sent := collector.received()
	if len(spans) < 30 || !strings.Contains(openMetrics, "trace_id=") {
		t.Errorf("%d spans; exemplars: %v", len(spans), strings.Contains(openMetrics, "trace_id="))
	}
	sinks := map[string]string{
		"answers": seen.String(), "log": r.log.String(), "redis": dumpRedis(t, ":marker-redis-password@"+redisServer.Addr),
		"OpenMetrics": openMetrics, "spans": sent,
	}
	scan(t, sinks, secrets)
}

// openMetricsOf returns /metrics as OpenMetrics, which has exemplars.
func openMetricsOf(t *testing.T, client *http.Client, admin string) string {
	t.Helper()
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, admin+"/metrics", nil)
	request.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || !strings.HasSuffix(string(text), "# EOF\n") {
		t.Fatalf("no OpenMetrics: %v: %.200s", err, text)
	}
	return string(text)
}

// scan fails the test if a sink has one of the secrets, in clear or in a usual encoding.
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
				// Without the last letters, which depend on the text that follows.
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

// slowly returns a fault that delays a route's answers.
func slowly(path string, by time.Duration) sandbox.Fault {
	return sandbox.Fault{Path: path, Delay: by}
}
