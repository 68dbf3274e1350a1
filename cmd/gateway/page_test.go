package main

// The status page in a real browser, on a gateway under load.

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
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
		return err == nil && holds // between two pages an evaluation may fail
	})
}

// Expressions for parts of the page.
const (
	pageRoute = `[...document.querySelectorAll("#routes tbody tr")].find(r => r.textContent.includes("/v1/info"))?`
	pageRate  = `parseFloat(` + pageRoute + `.children[1].querySelector("b").textContent)`
	// The median in milliseconds. NaN while the page has a dash, because nothing was measured.
	pageP50      = `parseFloat(` + pageRoute + `.children[5].querySelector("b").textContent)`
	pageIsLive   = `document.body.className === "live"`
	pageMarks    = pageRoute + `.querySelector(".figure").querySelectorAll`
	pageRedisOut = `document.getElementById("problems").textContent.includes("Redis")`
	pageChanges  = `document.getElementById("changes").innerText`
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
	seen(t, b, "the latency is that of a slow upstream", pageP50+" > 20") // requests share calls, so they wait for less than the whole delay
	stands.Interwater.SetFaults()
	seen(t, b, "a plot is drawn", `document.querySelector("#routes .strokes path").getAttribute("d").length > 10`)
	plotsAreRead(t, b)
	seen(t, b, "this replica is listed", `document.querySelectorAll("#replicas tbody tr").length === 1`)
	seen(t, b, "the license's token is there", `document.querySelector("#licenses tbody tr").innerText.includes("fresh")`)
	if look[bool](t, b, pageRedisOut) {
		t.Error("Redis is said to be down")
	}

	if err := redisServer.Kill(); err != nil {
		t.Fatal(err)
	}
	seen(t, b, "the outage is shown", pageRedisOut)
	// At first Redis is down for one use only. Changes are looked for once a second.
	seen(t, b, "the outage is listed", pageChanges+`.includes("Redis is down")`)
	seen(t, b, "the moment of the outage is marked", pageMarks+`("line.mark.warn").length > 0`)
	if err := redisServer.Restart(); err != nil {
		t.Fatal(err)
	}
	seen(t, b, "the outage is over", "!"+pageRedisOut)

	seen(t, b, "the moment of its end is marked", pageMarks+`("line.mark.good").length > 0`)
	seen(t, b, "the end of the outage is listed", pageChanges+`.includes("over: Redis is down")`)

	for _, width := range []int64{1200, 320} {
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

// plotsAreRead reads a plot by the pointer and by the keyboard. Both show the values of a moment. With the keyboard, screen readers get
// them, too.
func plotsAreRead(t *testing.T, b *browser) {
	t.Helper()
	const latency = pageRoute + `.querySelectorAll(".figure")[2]`
	const readout = `document.getElementById("readout").innerText`
	if legend := look[string](t, b, `document.querySelector("#routes .legend").innerText`); !strings.Contains(legend, "p99") || !strings.Contains(legend, "times are UTC") {
		t.Errorf("the legend is %q", legend)
	}
	styles := look[[]string](t, b, latency+`.querySelectorAll(".strokes path").values().map(p => { const s = getComputedStyle(p); return s.strokeWidth + " " + s.strokeDasharray }).toArray()`)
	if slices.Sort(styles); len(slices.Compact(styles)) != 3 {
		t.Errorf("p50, p95 and p99 are drawn alike but for the colour: %q", styles)
	}
	if axis := look[string](t, b, latency+`.querySelector(".axis").innerText`); !regexp.MustCompile(`(?s)^\d\d:\d\d\s.*max .* ms.*\s\d\d:\d\d$`).MatchString(axis) {
		t.Errorf("at the axis stands %q", axis)
	}
	if d := look[string](t, b, pageRoute+`.querySelectorAll(".figure")[1].querySelector(".strokes path").getAttribute("d")`); d != "" {
		t.Errorf("failures are drawn where nothing has failed: %q", d)
	}
	b.run(t, chromedp.Evaluate[chromedp.Void](latency+`.scrollIntoView({block: "center"})`))
	at := look[[]float64](t, b, `(r => [r.right - .2, r.top + 5])(`+latency+`.querySelector("svg").getBoundingClientRect())`)
	b.run(t, chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, at[0], at[1]))
	values := regexp.MustCompile(`^\d\d:\d\d:\d\d UTC\np99 [\d.]+ ms\np95 [\d.]+ ms\np50 [\d.]+ ms`)
	if said := look[string](t, b, readout); !values.MatchString(said) {
		t.Errorf("the pointer reads %q", said)
	}
	b.run(t, chromedp.MouseEvent(input.DispatchMouseEventTypeMouseMoved, 1, 1))
	seen(t, b, "nothing is read any more", `document.getElementById("readout").hidden`)

	const said = latency + `.getAttribute("aria-valuetext")`
	b.run(t, chromedp.Evaluate[chromedp.Void](latency+`.focus()`))
	now := look[string](t, b, said)
	b.run(t, chromedp.KeyEvent(kb.ArrowLeft))
	if before := look[string](t, b, said); before >= now || strings.ReplaceAll(look[string](t, b, readout), "\n", ", ") != before {
		t.Errorf("one to the left of %q is %q", now, before)
	}
	for key, more := range map[string]string{kb.Home: "–", kb.End: " ms"} {
		b.run(t, chromedp.KeyEvent(key))
		if text := look[string](t, b, said); !strings.Contains(text, "p99 ") || !strings.Contains(text, more) {
			t.Errorf("%q reads %q", key, text)
		}
	}
	b.run(t, chromedp.KeyEvent(kb.Escape))
	if !look[bool](t, b, `document.getElementById("readout").hidden`) {
		t.Error("Escape doesn't put the values away")
	}
}

// byKeyboard goes through all elements that the tab key reaches, and changes the language.
func byKeyboard(t *testing.T, b *browser) {
	t.Helper()
	reached := []string{}
	b.run(t, chromedp.Evaluate[chromedp.Void](`document.querySelector("nav a").focus()`))
	for i := range 2 + look[int](t, b, `document.querySelectorAll(".figure").length`) + 3 {
		if i > 0 {
			b.run(t, chromedp.KeyEvent(kb.Tab))
		}
		if name := look[string](t, b, "document.activeElement.role || document.activeElement.textContent"); name != "slider" {
			reached = append(reached, name)
		}
		if outline := look[string](t, b, "getComputedStyle(document.activeElement).outlineStyle"); outline == "none" {
			t.Errorf("the element after %q doesn't show that it has the focus", reached)
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

// The reader must not take old numbers for new ones.
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

// An open event stream must not keep the program from ending.
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
