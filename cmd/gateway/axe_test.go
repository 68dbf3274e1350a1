package main

// axe-core looks at the pages that people open: who can't see, or has no mouse, must be able to use them.

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"roomgate/internal/sandbox"
	"roomgate/tests"
)

// axeCore is what `npm ci --prefix .ci` brings.
var axeCore = filepath.Join("..", "..", ".ci", "node_modules", "axe-core", "axe.min.js")

// auditor is a browser that asks axe-core about its page.
type auditor struct {
	*browser
	axe string
}

func newAuditor(t *testing.T) *auditor {
	t.Helper()
	tests.Long(t) // and wants what npm brings
	axe, err := os.ReadFile(axeCore)
	if err != nil {
		t.Fatalf("npm ci --prefix .ci: %v", err)
	}
	return &auditor{newBrowser(t), string(axe)}
}

// audit fails the test for each violation on the page as it is now.
func (a *auditor) audit(t *testing.T, what string) {
	t.Helper()
	a.run(t, chromedp.Evaluate[chromedp.Void](a.axe))
	const ask = `axe.run().then(r => [r.passes.length + " passed", ...r.violations.flatMap(v => v.nodes.map(n => v.id + " " + n.target + ": " + n.failureSummary))])`
	found, err := chromedp.Run(a.ctx, chromedp.Evaluate[[]string](ask, func(p *runtime.EvaluateParams) { p.AwaitPromise = new(true) }))
	if err != nil || len(found) == 0 || found[0] == "0 passed" {
		t.Fatalf("%s: %v, %q", what, err, found)
	}
	for _, violation := range found[1:] {
		t.Errorf("%s: %s", what, violation)
	}
}

// scheme makes the reader prefer light or dark.
func scheme(light string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: light}},
		})
		return err
	})
}

// auditStatus looks at the status page in its present state: on a wide screen and a phone, light and dark, in both languages.
func (a *auditor) auditStatus(t *testing.T, r *replica, state, mood string) {
	t.Helper()
	for _, look := range []struct {
		scheme, lang string
		width        int64
	}{{"light", "en", 1200}, {"dark", "ko", 320}, {"dark", "en", 1200}, {"light", "ko", 320}} {
		what := state + ", " + look.scheme + ", " + look.lang
		a.run(t, scheme(look.scheme), chromedp.EmulateViewport(look.width, 900), chromedp.Navigate(r.admin+"/?lang="+look.lang))
		seen(t, a.browser, what, `document.getElementById("headline").className === "`+mood+`" && `+pageIsLive)
		a.run(t, chromedp.Evaluate[chromedp.Void](`document.querySelector(".figure").focus()`)) // which shows the values
		a.audit(t, what)
	}
}

func TestAxeFindsNothingOnTheStatusPage(t *testing.T) {
	t.Parallel()
	a, redisServer, stands, client := newAuditor(t), newRedis(t), newStands(t), newClient(t)
	r := startReplica(t, settings(stands, redisServer.Addr, "REDIS_TIMEOUT=250ms", "ROOM_COALESCE=false"))
	token := stands.Glory.MintToken("1", time.Hour)
	get(t, client, r.url+"/v1/info", token).want(t, 200)
	get(t, client, r.url+"/v1/info", "").want(t, 401)
	a.auditStatus(t, r, "well", "good")
	if err := redisServer.Kill(); err != nil {
		t.Fatal(err)
	}
	a.auditStatus(t, r, "at risk", "warn")
	stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Status: 503})
	eventually(t, "members get errors", func() bool {
		get(t, client, r.url+"/v1/info", token).want(t, 503)
		return find(troublesOf(t, r), "answers", "GET /v1/info").Level == "down"
	})
	a.auditStatus(t, r, "down", "bad")
}

func TestAxeFindsNothingOnTheDocsPage(t *testing.T) {
	t.Parallel()
	a := newAuditor(t)
	r := startReplica(t, settings(newStands(t), newRedis(t).Addr))
	for _, preferred := range []string{"light", "dark"} {
		a.run(t, scheme(preferred), chromedp.Navigate(r.url+"/docs"), chromedp.WaitVisible(chromedp.CSS("#operations-rooms-info")))
		a.audit(t, preferred)
		a.run(t, chromedp.Click(chromedp.CSS("#operations-rooms-info .opblock-summary-control")), chromedp.WaitVisible(chromedp.CSS("#operations-rooms-info .execute")))
		a.audit(t, preferred+", with an operation open")
	}
}
