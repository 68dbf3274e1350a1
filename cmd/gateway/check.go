package main

// This file tries the settings for real: one call to each dependency, and a table of what came of it.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"text/tabwriter"
	"time"

	"roomgate/internal/bridge"
	"roomgate/internal/config"
	"roomgate/internal/tokencache"
)

// finding is one line of the table.
type finding struct {
	what   string
	detail string // of success
	err    error
	hint   string // what to look at after a failure
	took   time.Duration
}

func runCheck(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	if done, err := parseFlags(newFlags("check", stderr), args); done || err != nil {
		return err
	}
	cfg, err := config.Load(environ)
	if err != nil {
		return err
	}
	findings := []finding{
		timed("redis", "is REDIS_URL right, and may this user write?", func() (string, error) { return checkRedis(ctx, cfg) }),
		timed("glory", "is GLORY_URL right, and reachable from here?", func() (string, error) { return checkGlory(ctx, cfg) }),
	}
	for _, l := range licenses(cfg) {
		findings = append(findings, timed("license "+l.Name, "are INTERWATER_URL and the license's two keys right?",
			func() (string, error) { return checkLicense(ctx, cfg, l) }))
	}
	return report(stdout, findings)
}

func timed(what, hint string, check func() (string, error)) finding {
	began := time.Now()
	detail, err := check()
	return finding{what: what, detail: detail, err: err, hint: hint, took: time.Since(began)}
}

// report prints the table; the error says that some line of it failed.
func report(stdout io.Writer, findings []finding) error {
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "CHECK\tRESULT\tTIME\tDETAIL")
	var failed error
	for _, f := range findings {
		result, detail := "ok", f.detail
		if f.err != nil {
			result, detail, failed = "FAILED", f.err.Error()+" — "+f.hint, errReported
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", f.what, result, f.took.Round(time.Millisecond), detail)
	}
	return errors.Join(failed, table.Flush())
}

func checkRedis(ctx context.Context, cfg *config.Config) (string, error) {
	client, err := tokencache.OpenRedis(cfg.RedisMode, cfg.RedisURL.Reveal(), cfg.RedisTimeout, nil)
	if err != nil {
		return "", err
	}
	defer func() { _ = client.Close() }()
	// What the gateway needs: writing, under its prefix.
	if err := client.Set(ctx, cfg.RedisKeyPrefix+"check", "1", time.Second).Err(); err != nil {
		return "", fmt.Errorf("write: %w", err)
	}
	return "takes writes", nil
}

func checkGlory(ctx context.Context, cfg *config.Config) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.GloryTimeout)
	defer cancel()
	// The health route of Glory's document.
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, cfg.GloryURL.JoinPath("/public-api/v1/health").String(), nil)
	if err != nil {
		return "", fmt.Errorf("health: %w", err)
	}
	transport := bridge.NewTransport()
	defer transport.CloseIdleConnections()
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return "", fmt.Errorf("health: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		return "", fmt.Errorf("health: status %d", answer.StatusCode)
	}
	return "healthy", nil
}

func checkLicense(ctx context.Context, cfg *config.Config, l bridge.License) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.TokenFetchTimeout)
	defer cancel()
	life, err := bridge.TryLicense(ctx, cfg.InterwaterURL, l)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("issues access tokens that live %s", life), nil
}
