package main

// axe-core checks the pages that people open: people who can't see, or have no mouse, must be able to use them.

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

// axeCore is installed by `npm ci --prefix .ci`.
var axeCore = filepath.Join("..", "..", ".ci", "node_modules", "axe-core", "axe.min.js")

// auditor is a browser that runs axe-core on its page.
type auditor struct {
	*browser
	axe string
}

func newAuditor(t *testing.T) *auditor {
	t.Helper()
	tests.Long(t) // it also needs what npm installs
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
	const ask = `axe.run({resultTypes: ["violations"]}).then(r => [r.passes.length + " passed", ...r.violations.flatMap(v => v.nodes.map(n => v.id + " " + n.target + ": " + n.failureSummary))])`
	found, err := chromedp.Run(a.ctx, chromedp.Evaluate[[]string](ask, func(p *runtime.EvaluateParams) { p.AwaitPromise = new(true) }))
	if err != nil || len(found) == 0 || found[0] == "0 passed" {
		t.Fatalf("%s: %v, %q", what, err, found)
	}
	for _, violation := range found[1:] {
		t.Errorf("%s: %s", what, violation)
	}
}

// scheme sets the colour scheme that the reader prefers: light or dark.
func scheme(light string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: light}},
		})
		return err
	})
}

// auditStatus opens the status page, shows the values of one moment, and audits it. mood is the state that the page must show.
func (a *auditor) auditStatus(t *testing.T, r *replica, mood, preferred, lang string, width int64) {
	t.Helper()
	what := mood + ", " + preferred + ", " + lang
	a.run(t, scheme(preferred), chromedp.EmulateViewport(width, 900), chromedp.Navigate(r.admin+"/?lang="+lang))
	seen(t, a.browser, what, `document.getElementById("headline").className === "`+mood+`" && `+pageIsLive)
	a.run(t, chromedp.Evaluate[chromedp.Void](`document.querySelector(".figure").dispatchEvent(new PointerEvent("pointermove"))`))
	if look[bool](t, a.browser, `document.getElementById("readout").hidden`) {
		t.Errorf("%s: no values are shown", what)
	}
	a.audit(t, what)
}

// Each state, colour scheme, language and width is audited at least once. The last state has all colours on the page.
func TestAxeFindsNothingOnTheStatusPage(t *testing.T) {
	t.Parallel()
	a, redisServer, stands, client := newAuditor(t), newRedis(t), newStands(t), newClient(t)
	r := startReplica(t, settings(stands, redisServer.Addr, "REDIS_TIMEOUT=250ms", "ROOM_COALESCE=false"))
	token := stands.Glory.MintToken("1", time.Hour)
	get(t, client, r.url+"/v1/info", token).want(t, 200)
	get(t, client, r.url+"/v1/info", "").want(t, 401)
	a.auditStatus(t, r, "good", "light", "en", 1200)
	if err := redisServer.Kill(); err != nil {
		t.Fatal(err)
	}
	a.auditStatus(t, r, "warn", "dark", "ko", 320)
	stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Status: 503})
	eventually(t, "members get errors", func() bool {
		get(t, client, r.url+"/v1/info", token).want(t, 503)
		return find(troublesOf(t, r), "answers", "GET /v1/info").Level == "down"
	})
	a.auditStatus(t, r, "bad", "light", "ko", 320)
	a.auditStatus(t, r, "bad", "dark", "en", 1200)
}
