package main

// gateway check tries the settings. It asks everything that the gateway depends on once, all at the same time.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"roomgate/internal/bridge"
	"roomgate/internal/config"
	"roomgate/internal/tokencache"
	"roomgate/internal/upstream"
)

// probe checks one thing within the settings' timeouts.
type probe struct {
	name string
	run  func(ctx context.Context) []finding
}

// runCheck takes the first line of stdin as a member JWT, if there is one.
func runCheck(ctx context.Context, stdin io.Reader, args, environ []string, stdout, stderr io.Writer) error {
	flags := newFlags("check [-json] [< member-jwt]", stderr)
	asJSON := flags.Bool("json", false, "print JSON")
	if done, err := parseFlags(flags, args); done || err != nil {
		return err
	}
	cfg, err := loadSettings(environ)
	if err != nil {
		return refuseSettings(err, environ, *asJSON, stdout, stderr)
	}
	token := firstLine(stdin)
	findings := runProbes(ctx, probes(cfg, environ, token), newProgress(stderr))
	veil(findings, cfg)
	if *asJSON {
		return reportJSON(stdout, findings)
	}
	return report(stdout, findings)
}

// probes returns all probes in the order of the table. token is a member token; "" is none.
func probes(cfg *config.Config, environ []string, token string) []probe {
	one := func(check func(context.Context) finding) func(context.Context) []finding {
		return func(ctx context.Context) []finding { return []finding{check(ctx)} }
	}
	list := []probe{{"settings", one(func(context.Context) finding { return checkNames(environ) })}}
	if cfg.TLSCertFile != "" {
		list = append(list, probe{"tls", one(func(context.Context) finding {
			return checkOwnCertificate("tls certificate", "TLS_CERT_FILE", cfg.TLSCertFile)
		})})
	}
	glory := probed{
		name: "glory", setting: "GLORY_URL", base: cfg.GloryURL, timeout: cfg.GloryTimeout,
		path: "/public-api/v1/health", healthy: isOK,
	}
	if len(cfg.GloryJWTSecrets) > 0 {
		glory.mostSkew = cfg.GloryJWTLeeway
	}
	interwater := probed{
		name: "interwater", setting: "INTERWATER_URL", base: cfg.InterwaterURL, timeout: cfg.InterwaterTimeout,
		path: "/v1/info", healthy: asksForCredential,
	}
	list = append(list,
		probe{"redis", func(ctx context.Context) []finding { return checkRedis(ctx, cfg) }})
	if cfg.RedisCertFile != "" {
		list = append(list, probe{"redis client certificate", one(func(context.Context) finding {
			return checkOwnCertificate("redis client certificate", "REDIS_CERT_FILE", cfg.RedisCertFile)
		})})
	}
	list = append(list,
		probe{"glory", glory.check},
		probe{"member token", one(func(ctx context.Context) finding { return checkMember(ctx, cfg, token) })},
		probe{"interwater", interwater.check})
	for _, l := range licenses(cfg) {
		list = append(list, probe{"license " + l.Name, one(func(ctx context.Context) finding { return checkLicense(ctx, cfg, l) })})
	}
	return list
}

// runProbes runs all probes at the same time and returns their findings in order.
func runProbes(ctx context.Context, list []probe, shown *progress) []finding {
	results := make([][]finding, len(list))
	var group sync.WaitGroup
	for i, p := range list {
		shown.begin(p.name)
		group.Go(func() {
			defer shown.end(p.name)
			results[i] = p.run(ctx)
		})
	}
	group.Wait()
	shown.erase()
	var all []finding
	for _, r := range results {
		all = append(all, r...)
	}
	return all
}

// refuseSettings reports invalid settings, with hints on misspelt names. It returns err, so that check fails like serve.
func refuseSettings(err error, environ []string, asJSON bool, stdout, stderr io.Writer) error {
	names := checkNames(environ)
	if asJSON {
		bad := finding{Check: "settings", Result: failed, Detail: err.Error(), Hint: "correct these; docs/settings.md lists all settings"}
		if names.Result == warning {
			bad.Hint = names.Hint
		}
		return errors.Join(err, printJSON(stdout, []finding{bad}))
	}
	if names.Result == warning {
		_, _ = fmt.Fprintf(stderr, "%s: %s\n", names.Detail, names.Hint)
	}
	return err
}

// checkNames looks for misspelt settings.
func checkNames(environ []string) finding {
	f := finding{Check: "settings", Result: ok, Detail: "complete, and no unknown ones"}
	var names, hints []string
	for _, u := range config.Unknowns(environ) {
		names = append(names, u.Name)
		hint := "no setting is called " + u.Name
		if u.Meant != "" {
			hint = "did you mean " + u.Meant + "?"
		}
		hints = append(hints, hint)
	}
	if len(names) > 0 {
		f = f.warn("unknown: "+strings.Join(names, ", "), strings.Join(hints, " "))
	}
	return f
}

// checkLicense fetches an access token and drops it.
func checkLicense(ctx context.Context, cfg *config.Config, l bridge.License) finding {
	ctx, cancel := context.WithTimeout(ctx, cfg.TokenFetchTimeout)
	defer cancel()
	f := begin("license " + l.Name)
	interwater, err := upstream.New(upstream.Options{Name: "interwater", Base: cfg.InterwaterURL, Timeout: cfg.TokenFetchTimeout, Slots: 1})
	if err != nil {
		return f.fail(err.Error(), "is INTERWATER_URL right?")
	}
	defer interwater.Close()
	life, err := bridge.TryLicense(ctx, interwater, l)
	if err == nil {
		return f.end(fmt.Sprintf("issues access tokens that live %s", life))
	}
	hint := "is INTERWATER_URL right, and reachable from here within TOKEN_FETCH_TIMEOUT?"
	if failure, isFetch := errors.AsType[*tokencache.FetchError](err); isFetch {
		switch failure.Class {
		case tokencache.Denied:
			hint = "are the license's access key and secret key right, and is the license in force at Interwater?"
		case tokencache.Garbage:
			hint = "does INTERWATER_URL lead to Interwater? Something else seems to answer"
		case tokencache.Throttled:
			hint = fmt.Sprintf("Interwater wants fewer requests; try again in %s", max(failure.RetryAfter, time.Second))
		}
	}
	return f.fail(err.Error(), hint)
}
