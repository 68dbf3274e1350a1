package main

// The page /docs, as a client developer sees it.

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// execute opens an operation on the page and sends its request. It returns the status and body that the page shows.
func (b *browser) execute(t *testing.T, operation string) (status, body string) {
	t.Helper()
	block := "#operations-" + operation
	b.run(t,
		chromedp.WaitVisible(chromedp.CSS(block+" .opblock-summary-control")),
		press(block+" .opblock-summary-control"),
		chromedp.WaitVisible(chromedp.CSS(block+" .execute")),
		press(block+" .execute"),
		chromedp.WaitVisible(chromedp.CSS(block+" .live-responses-table .response-col_status")),
	)
	for _, shown := range []struct {
		what string
		into *string
	}{{" .response-col_status", &status}, {" .response-col_description pre", &body}} {
		text, err := chromedp.Run(b.ctx, chromedp.Text(chromedp.CSS(block+" .live-responses-table tbody"+shown.what)))
		if err != nil {
			t.Fatal(err)
		}
		*shown.into = strings.TrimSpace(text)
	}
	return status, body
}

// press clicks an element through the DOM. A click at a place on the screen misses where the page still moves while it is drawn.
func press(selector string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.querySelector(%q).click()", selector))
}

// paste inserts text at the focus in one piece. Key by key, a token would take seconds.
func paste(text string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.execCommand('insertText', false, %q)", text))
}

func TestTheDocsPageInABrowser(t *testing.T) {
	t.Parallel()
	b, stands := newBrowser(t), newStands(t)
	r := startReplica(t, settings(stands, newRedis(t).Addr))
	b.run(t, chromedp.Navigate(r.url+"/docs"), chromedp.WaitVisible(chromedp.CSS("#operations-rooms-info")))

	if status, body := b.execute(t, "members-health"); status != "200" || !json.Valid([]byte(body)) {
		t.Errorf("health, sent from the page: %s %s", status, body)
	}
	b.run(t,
		chromedp.Click(chromedp.CSS(".btn.authorize")),
		chromedp.Click(chromedp.CSS(".auth-container input")),
		paste(stands.Glory.MintToken(demoSubject, time.Hour)),
		chromedp.Click(chromedp.CSS(".auth-btn-wrapper .authorize")),
		chromedp.Click(chromedp.CSS(".auth-btn-wrapper .btn-done")),
	)
	if status, body := b.execute(t, "rooms-info"); status != "200" || !strings.Contains(body, `"roomLimit": 10`) {
		t.Errorf("info, sent from the page with a member token: %s %s", status, body)
	}
	// A Korean room, as the page encodes it.
	if status, body := b.execute(t, "rooms-room"); status != "200" || !strings.Contains(body, "주간회의") {
		t.Errorf("room, sent from the page: %s %s", status, body)
	}
	for _, scheme := range []string{"dark", "light"} {
		if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		}); err != nil {
			t.Fatal(err)
		}
		dark := look[bool](t, b, `getComputedStyle(document.querySelector("#docs")).filter !== "none" && getComputedStyle(document.documentElement).backgroundColor === "rgb(31, 31, 31)"`)
		if dark != (scheme == "dark") {
			t.Errorf("for who prefers %s the page is dark: %v", scheme, dark)
		}
	}
	if first := look[string](t, b, `document.querySelector(".opblock").id`); first != "operations-members-login" {
		t.Errorf("the first operation is %s", first)
	}
	if hosts := b.hosts(); !slices.Equal(hosts, []string{strings.TrimPrefix(r.url, "http://")}) {
		t.Errorf("the page has asked %q", hosts)
	}
	if complaints := b.complaints(); len(complaints) > 0 {
		t.Errorf("the console says %q", complaints)
	}
}
