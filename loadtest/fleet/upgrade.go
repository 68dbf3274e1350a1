package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// previous is the version that the upgrade starts from: a tag or commit of this repository. Each release sets it to the tag before it.
const previous = "e56b2b41679e1d585abe6cdb6862bf8e498346af"

// denyDelay is the time after which a replica that doesn't know a denial fails the run. A second is promised; the rest is slack.
const denyDelay = 5 * time.Second

// buildPrevious builds the gateway of a commit and returns the binary's path.
func (f *fleet) buildPrevious(ctx context.Context, commit string) (string, error) {
	top, err := exec.CommandContext(ctx, "git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return "", fmt.Errorf("find the repository of the previous version: %w", err)
	}
	source, program := filepath.Join(f.dir, "previous"), filepath.Join(f.dir, "gateway-previous")
	if err := os.Mkdir(source, 0o700); err != nil {
		return "", fmt.Errorf("a folder for the previous version: %w", err)
	}
	for _, args := range [][]string{
		{"git", "-C", strings.TrimSpace(string(top)), "archive", "--format=tar", "--output=" + source + ".tar", commit},
		{"tar", "-xf", source + ".tar", "-C", source},
		{"go", "build", "-C", source, "-o", program, "./cmd/gateway"},
	} {
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("build the previous version, %s (a shallow clone lacks it): %w\n%s", commit, err, out)
		}
	}
	return program, nil
}

// upgrade takes a fleet from the previous version to today's, one replica after the other, and back. No request may fail, and all
// replicas have to know a denied member, whichever version denied them.
func upgrade(ctx context.Context, f *fleet, o options, progress io.Writer) (string, error) {
	old, err := f.buildPrevious(ctx, o.from)
	if err != nil {
		return "", err
	}
	today := f.binary()
	for i := range f.gateways {
		if err := f.change(ctx, i, old); err != nil {
			return "", err
		}
	}
	if err := f.control.setFaults(ctx, shortLife()); err != nil {
		return "", err
	}
	l, err := f.startLoad(ctx, o.rate)
	if err != nil {
		return "", err
	}
	defer l.stop()
	before, err := f.control.authCalls(ctx)
	if err != nil {
		return "", err
	}
	began := time.Now()
	var denials []error
	for _, program := range []string{today, old} {
		for i := range f.gateways {
			if err := f.change(ctx, i, program); err != nil {
				return "", err
			}
			_, _ = fmt.Fprintf(progress, "%s gateway %d is %s now\n", clock(), i+1, filepath.Base(program))
			if err := pause(ctx, tokenLife); err != nil { // so that each mixture refreshes a token
				return "", err
			}
			if i+1 < replicas {
				denials = append(denials, f.denied(ctx, old), f.denied(ctx, today))
			}
		}
	}
	lasted := time.Since(began)
	l.stop()
	after, err := f.control.authCalls(ctx)
	if err != nil {
		return "", err
	}
	t := tallyOf(l.samples())
	table := fmt.Sprintf(`%s. %d requests/s for %.0f s; tokens live %v. From %s to today's and back, one replica after the other.

| requests | of these HTTP/2 | failed | repeated by the clients | p50 | p99 | max | v1/auth | of ideal |
| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| %d | %d | %d | %d | %d ms | %d ms | %d ms | %d | %.2f |
`, stamp(), o.rate, lasted.Seconds(), tokenLife, o.from, t.requests, t.h2, t.failed, t.repeated,
		t.quantile(.5), t.quantile(.99), t.quantile(1), after-before, float64(after-before)*tokenLife.Seconds()/lasted.Seconds())
	missed := errors.Join(denials...)
	if t.failed > 0 {
		missed = errors.Join(missed, fmt.Errorf("%d requests have failed: %s", t.failed, t.why()))
	}
	return table, missed
}

// change restarts replica i with another binary.
func (f *fleet) change(ctx context.Context, i int, program string) error {
	f.programs[i] = program
	return f.restart(ctx, i)
}

// denied lets a program deny a new member, who isn't one of the load's, and waits until every replica knows.
func (f *fleet) denied(ctx context.Context, program string) error {
	joined, err := f.join(ctx, 1)
	if err != nil {
		return err
	}
	sub, err := subject(joined[0].token)
	if err != nil {
		return err
	}
	deny := exec.CommandContext(ctx, program, "deny", sub)
	deny.Env = f.environ
	if out, err := deny.CombinedOutput(); err != nil {
		return fmt.Errorf("%s deny: %w: %s", filepath.Base(program), err, out)
	}
	limit, cancel := context.WithTimeout(ctx, denyDelay)
	defer cancel()
	for i := range f.gateways {
		for {
			status, _, err := ask(ctx, http.DefaultClient, http.MethodGet, "http://"+f.addr(portGateway+i)+"/v1/info", joined[0].token, "")
			if err == nil && status == http.StatusForbidden {
				break
			}
			if pause(limit, 50*time.Millisecond) != nil {
				mixture := slices.Clone(f.programs)
				for j := range mixture {
					mixture[j] = filepath.Base(mixture[j])
				}
				return fmt.Errorf("denied by %s, gateway %d of %v still answers %d", filepath.Base(program), i+1, mixture, status)
			}
		}
	}
	return nil
}

// subject returns the sub of a member token.
func subject(token string) (string, error) {
	var claims struct {
		Subject string `json:"sub"`
	}
	_, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	text, err := base64.RawURLEncoding.DecodeString(payload)
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	if err != nil {
		return "", fmt.Errorf("the stand-in's member token: %w", err)
	}
	return claims.Subject, nil
}
