package config

// docs/settings.md and the samples in configs/ must be true.

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"roomgate/tests"
)

var update = flag.Bool("update", false, "write docs/settings.md")

const settingsPage = "../../docs/settings.md"

// settingsTable returns the content of docs/settings.md.
func settingsTable() string {
	var b strings.Builder
	b.WriteString(`# Settings

<!-- Written by go generate ./internal/config, from the tags in config.go. -->

Environment variables. Every ` + "`NAME`" + ` can be given as ` + "`NAME_FILE`" + ` instead: a path whose content, less one newline at its
end, is the value (Docker and Kubernetes secrets). A variable that is set but empty counts as absent unless the table
says otherwise. Lists are separated by commas, durations are in Go syntax (` + "`250ms`, `1m30s`" + `). Several licenses are
numbered, n = 0, 1, … without a gap, and replace the single license. All problems are reported at once, with exit status 2.

| variable | default | meaning |
| --- | --- | --- |
`)
	for _, s := range Settings() {
		def := ""
		if s.Default != "" {
			def = "`" + s.Default + "`"
		}
		if s.Required {
			def = "required"
			if s.Name == "INTERWATER_ACCESS_KEY" || s.Name == "INTERWATER_SECRET_KEY" {
				def = "required, or licenses below"
			}
		}
		fmt.Fprintf(&b, "| `%s` |%s | %s |\n", s.Name, strings.TrimRight(" "+def, " "), strings.ReplaceAll(s.Doc, "*", `\*`))
	}
	b.WriteString("| `OTEL_…` | | the OpenTelemetry standard variables; tracing is off until an exporter is named |\n")
	return b.String()
}

func TestSettingsPage(t *testing.T) {
	if *update {
		if err := os.WriteFile(settingsPage, []byte(settingsTable()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(settingsPage)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != settingsTable() {
		t.Fatal("docs/settings.md is not up to date: run go generate ./internal/config")
	}
}

// samples returns the paths of the samples in configs/.
func samples(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("../../configs/*.env")
	if err != nil || len(paths) < 3 {
		t.Fatalf("found only %q, %v", paths, err)
	}
	return paths
}

// readSample reads the .env syntax that our samples use: NAME=value, NAME='value', # comments.
func readSample(t *testing.T, path string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		name, value, ok := strings.Cut(line, "=")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if _, twice := vars[name]; !ok || twice {
			t.Fatalf("%s: %q", path, line)
		}
		vars[name] = unquote(t, value)
	}
	return vars
}

// TestSamples loads each file of configs/. Secrets in /run/secrets are replaced by the test's own.
func TestSamples(t *testing.T) {
	for _, path := range samples(t) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			vars, dir := readSample(t, path), t.TempDir()
			known := map[string]bool{}
			for _, s := range Settings() {
				known[s.Name] = true
			}
			for name, value := range vars {
				base := strings.TrimSuffix(name, "_FILE")
				if !known[base] && !known[name] && !strings.HasPrefix(name, licensePrefix) {
					t.Errorf("%s is not a setting", name)
				}
				file, ok := strings.CutPrefix(value, "/run/secrets/")
				if !ok {
					continue
				}
				secret := "dummy"
				switch base {
				case "REDIS_URL":
					secret = "rediss://user:dummy@redis.example.com:6379/0"
				case "GLORY_JWT_SECRETS":
					secret = strings.Repeat("dummy", 10)
				}
				vars[name] = filepath.Join(dir, file)
				if err := os.WriteFile(vars[name], []byte(secret+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := Load(environ(vars)); err != nil {
				t.Errorf("%v", err)
			}
		})
	}
}

// The samples must also work with `set -a; . file`.
func TestSamplesInShell(t *testing.T) {
	tests.Need(t, "sh")
	for _, path := range samples(t) {
		for name, want := range readSample(t, path) {
			out, err := exec.Command("sh", "-c", `set -eua; . "$1"; eval "printf %s \"\$$2\""`, "sh", path, name).CombinedOutput()
			if string(out) != want || err != nil {
				t.Errorf("%s: %s is %q for a shell, want %q (%v)", path, name, out, want, err)
			}
		}
	}
}
