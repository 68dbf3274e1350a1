package main

// Tests of pages run in a real browser. It records which hosts the page asks, and the errors on its console.

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"roomgate/tests"
)

// browser is a headless Chromium with one page and its own profile. It can reach only 127.0.0.1.
type browser struct {
	ctx context.Context // for chromedp.Run

	mu         sync.Mutex
	requested  []string // hosts, with port
	complained []string
}

// newBrowser starts a browser, which ends with the test. own are further options, which count more.
func newBrowser(t *testing.T, own ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	program := findBrowser()
	if program == "" {
		tests.Need(t, "chromium") // findBrowser looks for other names, too
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(program),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
	)
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium refuses root with it
	}
	options = append(options, own...)
	bounded, cancel := context.WithTimeout(context.Background(), 3*patience)
	t.Cleanup(cancel)
	allocator, stop := chromedp.NewExecAllocator(bounded, options...)
	t.Cleanup(stop) // kills the process and waits for its end
	b := &browser{}
	page, closePage := chromedp.NewContext(allocator, chromedp.WithListener(b.hear))
	t.Cleanup(closePage)
	b.ctx = page
	b.run(t) // starts the browser
	return b
}

// findBrowser returns the path of a browser; "" if there is none.
func findBrowser() string {
	for _, name := range []string{"chromium", "chromium-browser", "chrome", "google-chrome", "headless-shell"} {
		if program, err := exec.LookPath(name); err == nil {
			return program
		}
	}
	return ""
}

// run does actions one after the other. It fails the test if one can't be done.
func (b *browser) run(t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		t.Fatalf("browser: %v; complaints: %q", err, b.complaints())
	}
}

// hosts returns the hosts that the page has sent a request to, sorted, each once.
func (b *browser) hosts() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	sorted := slices.Sorted(slices.Values(b.requested))
	return slices.Compact(sorted)
}

// complaints returns the errors on the console: of scripts, the content security policy, and failed requests.
func (b *browser) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.complained)
}

// hear records an event of the page.
func (b *browser) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests(e.Request.URL)
	case *network.EventWebSocketCreated:
		b.requests(e.URL)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			b.complained = append(b.complained, e.Entry.Text+" "+e.Entry.URL)
		}
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if thrown := e.ExceptionDetails.Exception; thrown != nil {
			text += " " + thrown.Description
		}
		b.complained = append(b.complained, text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeAssert {
			text := "console:"
			for _, arg := range e.Args {
				text += " " + string(arg.Value) + arg.Description
			}
			b.complained = append(b.complained, text)
		}
	}
}

// requests records a URL's host. A data: or blob: URL has none, because it needs no network.
func (b *browser) requests(address string) {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		b.requested = append(b.requested, u.Host)
	}
}
