package main

// The status page in a real browser, on a gateway under load.

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// look evaluates an expression on the page.
func look[T any](t *testing.T, b *browser, expression string) T {
	t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// seen waits until an expression holds on the page.
func seen(t *testing.T, b *browser, what, expression string) {
	t.Helper()
	eventually(t, what, func() bool {
		holds, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression))
		return err == nil && holds // between two pages there may be nothing to look at
	})
}

// What the page says, as expressions.
const (
	pageRoute = `[...document.querySelectorAll("#routes tbody tr")].find(r => r.textContent.includes("/v1/info"))?`
	pageRate  = `parseFloat(` + pageRoute + `.children[1].querySelector("b").textContent)`
	// The median in milliseconds; a dash, which is no number, while nothing was measured.
	pageP50      = `parseFloat(` + pageRoute + `.children[5].querySelector("b").textContent)`
	pageIsLive   = `document.body.className === "live"`
	pageRedisOut = `document.getElementById("problems").textContent.includes("Redis")`
)

func TestTheStatusPageInABrowser(t *testing.T) {
	t.Parallel()
	redisServer, stands, b := newRedis(t), newStands(t), newBrowser(t)
	r := startReplica(t, settings(stands, redisServer.Addr, "MEMBER_RATE_LIMIT=0"))
	token := stands.Glory.MintToken("1", time.Hour)
	_, stop := openLoad(t, 50, []string{r.url + "/v1/info"}, token)
	defer stop()
	b.run(t, chromedp.EmulateViewport(1200, 900), chromedp.Navigate(r.admin+"/?lang=en"))

	seen(t, b, "the page is live", pageIsLive)
	seen(t, b, "the route is there", pageRate+" > 0")
	first := look[float64](t, b, pageRate)
	seen(t, b, "the rate moves", fmt.Sprintf("%s !== %v", pageRate, first))
	seen(t, b, "the latency is measured", pageP50+" > 0")
	if heading := look[string](t, b, `document.querySelectorAll("#routes thead th")[5].textContent`); heading != "p50" {
		t.Errorf("what was read stands below %q", heading)
	}
	stands.Interwater.SetFaults(slowly("/v1/info", 100*time.Millisecond))
	seen(t, b, "the latency is that of a slow upstream", pageP50+" > 20") // requests share calls, and wait for a part of one
	stands.Interwater.SetFaults()
	seen(t, b, "a plot is drawn", `document.querySelector("#routes .plot path:nth-child(2)").getAttribute("d").length > 10`)
	seen(t, b, "this replica is listed", `document.querySelectorAll("#replicas tbody tr").length === 1`)
	seen(t, b, "the license's token is there", `document.querySelector("#licenses tbody tr").innerText.includes("fresh")`)
	if look[bool](t, b, pageRedisOut) {
		t.Error("Redis is said to be down")
	}

	if err := redisServer.Kill(); err != nil {
		t.Fatal(err)
	}
	seen(t, b, "the outage is shown", pageRedisOut)
	if err := redisServer.Restart(); err != nil {
		t.Fatal(err)
	}
	seen(t, b, "the outage is over", "!"+pageRedisOut)

	for _, width := range []int64{1200, 400} {
		b.run(t, chromedp.EmulateViewport(width, 900))
		if wide := look[int](t, b, "document.documentElement.scrollWidth"); int64(wide) > width {
			t.Errorf("at %d px the page is %d px wide", width, wide)
		}
	}
	byKeyboard(t, b)

	if complaints := b.complaints(); len(complaints) > 0 {
		t.Errorf("the browser complains: %q", complaints)
	}
	admin, _ := url.Parse(r.admin)
	if got := b.hosts(); !slices.Equal(got, []string{admin.Host}) {
		t.Errorf("the page asked %q, want %q alone", got, admin.Host)
	}
}

// byKeyboard goes through all that can be reached, and changes the language on the way.
func byKeyboard(t *testing.T, b *browser) {
	t.Helper()
	reached := []string{}
	for range 5 {
		b.run(t, chromedp.KeyEvent(kb.Tab))
		reached = append(reached, look[string](t, b, "document.activeElement.textContent"))
		if outline := look[string](t, b, "getComputedStyle(document.activeElement).outlineStyle"); outline == "none" {
			t.Errorf("%s has the focus, and nothing shows it", reached[len(reached)-1])
		}
	}
	if want := []string{"English", "한국어", "status", "metrics", "readyz"}; !slices.Equal(reached, want) {
		t.Fatalf("the tab key reaches %q, want %q", reached, want)
	}
	b.run(t, chromedp.Evaluate[chromedp.Void](`document.querySelector("nav a").focus()`))
	b.run(t, chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.Enter))
	seen(t, b, "the page is Korean", `document.documentElement.lang === "ko" && document.querySelector("h2").textContent === "경로"`)
	seen(t, b, "it is live in Korean", pageIsLive+` && document.getElementById("live").textContent === "실시간"`)
}

// Who looks must not take old numbers for new ones.
func TestThePageSaysWhenItIsNotLive(t *testing.T) {
	t.Parallel()
	redisServer, stands, b := newRedis(t), newStands(t), newBrowser(t)
	environ := settings(stands, redisServer.Addr, "ADMIN_ADDR=127.0.0.1:"+freePort(t))
	r := startReplica(t, environ)
	b.run(t, chromedp.Navigate(r.admin+"/?lang=en"))
	seen(t, b, "the page is live", pageIsLive)
	r.stop()
	if err := r.ended(); err != nil {
		t.Fatal(err)
	}
	seen(t, b, "the page is not live", `document.getElementById("live").textContent.startsWith("not live since ")`)
	startReplica(t, environ)
	seen(t, b, "the page is live again", pageIsLive)
}

// A stream ends with the program: it must not keep it from ending.
func TestAStreamDoesNotHoldTheEndUp(t *testing.T) {
	t.Parallel()
	client := newClient(t)
	r := startReplica(t, settings(newStands(t), newRedis(t).Addr, "SHUTDOWN_TIMEOUT=1h")) // longer than the test lasts
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, r.admin+"/events", nil)
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	r.stop()
	if err := r.ended(); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		t.Errorf("%v", response.Header)
	}
}
