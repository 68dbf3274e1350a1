package main

// The sandbox has its own defaults for the gateway's settings. The environment overrides them, where the setting fits a sandbox.

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"roomgate/internal/config"
	"roomgate/internal/sandbox"
)

// The sandbox's keys are public and the same everywhere, so that configs/local.env fits.
const (
	sandboxJWTSecret = "sandbox-member-jwt-secret-for-local-use-only-000000"
	sandboxAccessKey = "sandbox-access-key"
	sandboxSecretKey = "sandbox-secret-key-for-local-use-only"
	sandboxSessions  = "sandbox-session-secret-for-local-use-only"
)

// sandboxCookie is the name of the session cookie without TLS: not all browsers accept sessionCookie from http://localhost.
const sandboxCookie = "session"

// Glory's stand-in signs member tokens with these.
const (
	sandboxAlgorithm = "HS384"
	sandboxIssuer    = "com.smarth"
)

// sandboxSettings are the settings of a sandbox's gateway.
type sandboxSettings struct {
	environ  []string // without the addresses of what the sandbox starts
	remote   bool     // check_login verifies members
	ownRedis bool     // REDIS_URL is set: the sandbox starts no Redis
}

// newSandboxSettings adds the sandbox's defaults to the environment. Of two entries of one name the last counts.
func newSandboxSettings(f sandboxFlags, environ []string) sandboxSettings {
	given := func(name string) bool { return settingIn(environ, name) }
	defaults := []string{"LISTEN_ADDR=127.0.0.1:8080", "ADMIN_ADDR=127.0.0.1:9090", "LOG_LEVEL=warn", "LOG_FORMAT=text", "DRAIN_DELAY=0s"}
	if !slices.Contains(environ, "CORS_ALLOWED_ORIGINS=*") { // sessions need listed origins
		defaults = append(defaults, "SESSION_SECRETS="+sandboxSessions)
	}
	s := sandboxSettings{remote: f.remote, ownRedis: given("REDIS_URL")}
	all := environ
	add := func(name, value string) { all = append(all, name+"="+value) }
	all = append(slices.DeleteFunc(defaults, func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return given(name + "_FILE") // together they would be a mistake
	}), all...)
	if f.listen != "" {
		add("LISTEN_ADDR", f.listen)
		add("LISTEN_ADDR_FILE", "")
	}
	if f.admin != "" {
		add("ADMIN_ADDR", f.admin)
		add("ADMIN_ADDR_FILE", "")
	}
	if !f.remote && !given("GLORY_JWT_SECRETS") {
		add("GLORY_JWT_SECRETS", sandboxJWTSecret)
	}
	for prefix, keys := range sandboxLicenses(environ) {
		for name, value := range keys {
			if !given(prefix + name) {
				add(prefix+name, value)
			}
		}
	}
	s.environ = all
	return s
}

// sandboxLicenses returns default keys for each license that has a setting in environ, by the prefix of its settings. So rules can be
// tried without keys.
func sandboxLicenses(environ []string) map[string]map[string]string {
	const prefix = "INTERWATER_LICENSE_"
	licenses := map[string]map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		number, _, found := strings.Cut(strings.TrimPrefix(name, prefix), "_")
		if _, err := strconv.Atoi(number); err != nil || value == "" || !found || !strings.HasPrefix(name, prefix) {
			continue
		}
		licenses[prefix+number+"_"] = map[string]string{
			"NAME": "license-" + number, "ACCESS_KEY": sandboxAccessKey + "-" + number, "SECRET_KEY": sandboxSecretKey + "-" + number,
		}
	}
	if len(licenses) == 0 {
		licenses["INTERWATER_"] = map[string]string{"ACCESS_KEY": sandboxAccessKey, "SECRET_KEY": sandboxSecretKey}
	}
	return licenses
}

// settingIn reports whether environ sets name or name_FILE.
func settingIn(environ []string, name string) bool {
	return slices.ContainsFunc(environ, func(entry string) bool {
		set, value, _ := strings.Cut(entry, "=")
		return value != "" && (set == name || set == name+"_FILE")
	})
}

// with returns all settings, including the addresses of what the sandbox has started.
func (s sandboxSettings) with(gloryURL, interwaterURL, redis string) []string {
	all := append(slices.Clone(s.environ), "GLORY_URL="+gloryURL, "INTERWATER_URL="+interwaterURL)
	if !s.ownRedis {
		all = append(all, "REDIS_URL=redis://"+redis)
	}
	return all
}

// options checks the settings before anything starts, and returns the secret and the keys that the stand-ins need from them.
func (s sandboxSettings) options() (sandbox.Options, error) {
	const later = "http://127.0.0.1:1" // their addresses aren't known yet
	cfg, err := config.Load(s.with(later, later, "127.0.0.1:1"), checkRules, s.check)
	if err != nil {
		return sandbox.Options{}, err
	}
	o := sandbox.Options{JWTSecret: sandboxJWTSecret}
	if len(cfg.GloryJWTSecrets) > 0 {
		o.JWTSecret = cfg.GloryJWTSecrets[0].Reveal()
	}
	for _, l := range cfg.Licenses {
		o.Licenses = append(o.Licenses, sandbox.License{AccessKey: l.AccessKey.Reveal(), SecretKey: l.SecretKey.Reveal()})
	}
	return o, nil
}

// sandboxHas lists the settings that a sandbox refuses, because it starts these services itself.
func sandboxHas() []string { return []string{"GLORY_URL", "INTERWATER_URL"} }

// withSettings adds the settings that count in the sandbox to a usage.
func withSettings(usage func(), w io.Writer) func() {
	return func() {
		usage()
		_, _ = fmt.Fprintln(w, "\nSettings come from the environment, as for serve (docs/settings.md says what each does). These count here:")
		line := " "
		for _, s := range config.Settings() {
			if slices.Contains(sandboxHas(), s.Name) {
				continue
			}
			if len(line)+len(s.Name) >= 110 {
				_, _ = fmt.Fprintln(w, line)
				line = " "
			}
			line += " " + s.Name
		}
		_, _ = fmt.Fprintln(w, line)
		_, _ = fmt.Fprintf(w, "Not %s: the sandbox brings its own. It has a Redis in memory where REDIS_URL isn't set, and keys for each license.\n",
			strings.Join(sandboxHas(), " and "))
	}
}

// check reports the settings that don't fit a sandbox.
func (s sandboxSettings) check(cfg *config.Config, report func(name string, err error)) {
	for _, name := range sandboxHas() {
		if settingIn(s.environ, name) {
			report(name, errors.New("the sandbox brings its own; unset it, or use gateway serve (gateway sandbox -upstreams starts stand-ins for it)"))
		}
	}
	if s.remote && settingIn(s.environ, "GLORY_JWT_SECRETS") {
		report("GLORY_JWT_SECRETS", errors.New("-remote works without it; give one of the two"))
	}
	if len(cfg.GloryJWTAlgorithms) > 0 && !slices.Contains(cfg.GloryJWTAlgorithms, sandboxAlgorithm) {
		report("GLORY_JWT_ALGORITHMS", fmt.Errorf("the sandbox's Glory signs with %s; add it", sandboxAlgorithm))
	}
	if cfg.GloryJWTIssuer != "" && cfg.GloryJWTIssuer != sandboxIssuer {
		report("GLORY_JWT_ISSUER", fmt.Errorf("the sandbox's Glory issues tokens as %s; use that, or leave it empty to accept any", sandboxIssuer))
	}
	if cfg.RedisMode != "" && cfg.RedisMode != "single" && !s.ownRedis {
		report("REDIS_MODE", errors.New("the sandbox's Redis is a single server; set REDIS_URL to your own"))
	}
}

// writeSettings writes the settings of a running sandbox to a file that a shell can source, so that other commands find the sandbox.
// It returns the file's path. The caller removes the file.
func writeSettings(environ []string) (path string, err error) {
	f, err := os.CreateTemp("", "roomgate-sandbox-*.env") // only its owner can read it
	if err != nil {
		return "", fmt.Errorf("file with the sandbox's settings: %w", err)
	}
	values := map[string]string{}
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		values[name] = value
	}
	var text strings.Builder
	for _, name := range config.Names(environ) {
		fmt.Fprintf(&text, "%s='%s'\n", name, strings.ReplaceAll(values[name], "'", `'\''`))
	}
	_, err = io.WriteString(f, text.String())
	if err := errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(fmt.Errorf("file with the sandbox's settings: %w", err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}
