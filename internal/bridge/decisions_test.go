package bridge

// How long a decision on a license is remembered, and how much that saves.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// many returns n licenses, each for one member: 0 to n-1.
func many(n int) []License {
	all := make([]License, n)
	for i := range all {
		all[i] = license()
		all[i].Name, all[i].Allow = fmt.Sprint("l", i), fmt.Sprintf("member.sub == %q", fmt.Sprint(i))
	}
	return all
}

// asked authenticates a token of sub and returns the member.
func asked(t testing.TB, b *Bridge, sub string) Member {
	t.Helper()
	member, err := ask(b, good("sub", sub))
	if err != nil {
		t.Fatal(err)
	}
	return member
}

// Issue 16: each request for the last of 3,000 licenses evaluated the rules of all.
func TestSecondRequestCostsTheSameWithManyLicenses(t *testing.T) {
	cost := func(n int) float64 {
		b := newLocalBridge(t, func(o *Options) { o.Licenses = many(n) })
		member := asked(t, b, fmt.Sprint(n-1))
		stranger, last := asked(t, b, "nobody"), fmt.Sprint("l", n-1)
		return testing.AllocsPerRun(10, func() { // its first run isn't counted
			if grant, err := b.Authorize(t.Context(), member, Request{Method: "GET"}); err != nil || grant.License != last {
				t.Fatalf("%+v, %v", grant, err)
			}
			if _, err := b.Authorize(t.Context(), stranger, Request{Method: "GET"}); !errors.Is(err, ErrForbidden) {
				t.Fatal(err)
			}
		})
	}
	if one, all := cost(1), cost(300); one != all {
		t.Errorf("%.0f allocations with one license, %.0f with 300", one, all)
	}
}

func TestDecisionOnTheRequestIsNotRemembered(t *testing.T) {
	for _, rule := range []string{`member.sub == "7" && request.method == "GET"`, `request == request && request.method == "GET"`, `[request].exists(r, r.method == "GET")`} {
		b := newLocalBridge(t, func(o *Options) {
			o.Licenses = append(many(1), License{
				Name: "last", AccessKey: license().AccessKey, SecretKey: license().SecretKey, TokenMinutes: 1, Allow: rule,
			})
		})
		member := asked(t, b, "7")
		for _, method := range []string{"GET", "HEAD", "GET", "HEAD"} {
			if _, err := b.Authorize(t.Context(), member, Request{Method: method}); errors.Is(err, ErrForbidden) != (method == "HEAD") {
				t.Errorf("%s: %s: %v", rule, method, err)
			}
		}
	}
}

// If a rule uses the claims and the request, the claims are remembered with the token. The rule must see the right ones.
func TestRuleSeesTheClaimsOfAKnownToken(t *testing.T) {
	for name, b := range modes(t, func(o *Options) {
		o.Licenses[0].Allow = `member.claims.role == "host" && member.claims.n == 5 && request.method == "GET"`
	}) {
		raw := good("role", "host", "n", 5)
		for _, method := range []string{"GET", "GET", "HEAD", "GET"} {
			member, err := ask(b, raw)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Authorize(t.Context(), member, Request{Method: method}); errors.Is(err, ErrForbidden) != (method == "HEAD") {
				t.Errorf("%s: %s: %v", name, method, err)
			}
		}
	}
}

func TestDecisionGoesWithTheRules(t *testing.T) {
	b := newLocalBridge(t, func(o *Options) { o.Licenses = many(2) })
	member := asked(t, b, "1")
	if grant, err := b.Authorize(t.Context(), member, Request{}); err != nil || grant.License != "l1" {
		t.Fatalf("%+v, %v", grant, err)
	}
	changed := many(2)
	changed[0].Allow, changed[0].Owner = `member.sub == "1"`, `member.sub == "1"`
	if err := b.Reload(t.Context(), nil, changed); err != nil {
		t.Fatal(err)
	}
	if grant, err := b.Authorize(t.Context(), member, Request{}); err != nil || grant.License != "l0" || grant.Role != RoleOwner {
		t.Errorf("%+v, %v", grant, err)
	}
}

// pointed is a Glory whose members all have the same number of points.
type pointed struct{ points int }

// RoundTrip implements http.RoundTripper.
func (p *pointed) RoundTrip(r *http.Request) (*http.Response, error) {
	body := fmt.Sprintf(`{"data":{"result":"ok","profile":{"id":"","name":"","nickname":"","email":"","point":%d}}}`, p.points)
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// Base implements sender.
func (p *pointed) Base() *url.URL { return &url.URL{Scheme: "http", Host: "glory.invalid"} }

func TestDecisionGoesWithTheProfile(t *testing.T) {
	for _, ttl := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			glory := &pointed{10}
			b := newLocalBridge(t, func(o *Options) {
				o.Glory, o.MemberCacheTTL, o.Licenses[0].Allow = glory, ttl, "member.profile.point > 5"
			})
			member := asked(t, b, "7")
			if _, err := b.Authorize(t.Context(), member, Request{}); err != nil {
				t.Fatal(err)
			}
			glory.points = 0
			if ttl > 0 {
				time.Sleep(ttl - 1)
				if _, err := b.Authorize(t.Context(), member, Request{}); err != nil {
					t.Errorf("while the profile counts: %v", err)
				}
				time.Sleep(time.Nanosecond)
			}
			if _, err := b.Authorize(t.Context(), member, Request{}); !errors.Is(err, ErrForbidden) {
				t.Errorf("TTL %s, after the profile has changed: %v", ttl, err)
			}
		})
	}
}

func TestDecisionThatWasBrokenOffIsNotRemembered(t *testing.T) {
	b := newLocalBridge(t, func(o *Options) {
		o.Licenses[0].Allow = `["x", "y", "z"].exists(a, ["1", "2"].exists(b, member.sub == "7"))`
	})
	member := asked(t, b, "7")
	left, leave := context.WithCancel(t.Context())
	leave()
	_, _ = b.Authorize(left, member, Request{}) // with any result
	if member.known.decision.Load() != nil {
		t.Error("it is remembered")
	}
	if _, err := b.Authorize(t.Context(), member, Request{}); err != nil {
		t.Error(err)
	}
	if member.known.decision.Load() == nil {
		t.Error("nor is the one that was made")
	}
}

func BenchmarkAuthorize(b *testing.B) {
	withRule := func(text string) []License {
		all := []License{license()}
		all[0].Allow = text
		return all
	}
	for name, licenses := range map[string][]License{
		"true":           withRule("true"),
		"of the request": withRule(`member.sub in ["1", "7"] && request.method == "GET"`),
		"of claims too":  withRule(`member.claims.sub in ["1", "7"] && request.method == "GET"`),
		"1 license":      many(1),
		"3000 licenses":  many(3000),
	} {
		b.Run(name, func(b *testing.B) {
			bridge := newLocalBridge(b, func(o *Options) { o.Licenses = licenses })
			sub := fmt.Sprint(len(licenses) - 1)
			if strings.HasPrefix(name, "of ") {
				sub = "7"
			}
			raw := good("sub", sub)
			_, _ = ask(bridge, raw)
			member, err := ask(bridge, raw) // is known now
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bridge.Authorize(context.Background(), member, Request{Method: "GET", Path: "/v1/info"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
