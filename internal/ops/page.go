package ops

import (
	"context"
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	streamEvery = time.Second     // between two events, so that no heartbeat is needed
	streamWrite = 5 * time.Second // for one event; a slower reader is disconnected
	streamMost  = 32              // concurrent streams
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed plot.js
var plotJS string

//go:embed page.js
var pageJS string

// pageScript is the page's only script.
var pageScript = plotJS + pageJS

// page serves / and /events. Requests change nothing. The policy lets a browser load only the page itself.
type page struct {
	Options
	policy  string
	streams *semaphore.Weighted
}

func newPage(o Options) *page {
	return &page{
		Options: o,
		policy: "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
			"script-src " + sourceHash(pageScript) + "; style-src " + sourceHash(pageCSS),
		streams: semaphore.NewWeighted(streamMost),
	}
}

// sourceHash returns the policy's source for one inline script or style.
func sourceHash(source string) string {
	sum := sha256.Sum256([]byte(source))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// view returns the current view.
func (p *page) view(w words) view {
	ready, _ := p.Ready()
	return newView(w, p.Status(), ready, p.History.Past())
}

// show sends the page with its first view. Without scripts, a browser shows only the headline and the problems.
func (p *page) show(w http.ResponseWriter, r *http.Request) {
	in := wordsFor(r)
	v := p.view(in)
	v.Words = in.forPage()
	first, err := json.Marshal(v) // writes < as \u003c, so that no text can end the script
	if err != nil {
		http.Error(w, "can't be shown", http.StatusInternalServerError)
		return
	}
	without := append(append([]string{v.State.Text}, v.Problems...), in.Say("as of", time.Now().UTC().Format(time.TimeOnly)))
	body := strings.NewReplacer(
		"{{lang}}", in.Lang, "{{title}}", html.EscapeString(in.Say("title")), "{{style}}", pageCSS,
		"{{without}}", html.EscapeString(strings.Join(without, " · ")), "{{first}}", string(first), "{{script}}", pageScript,
	).Replace(pageHTML)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", in.Lang)
	h.Set("Content-Security-Policy", p.policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Vary", "Accept-Language")
	_, _ = io.WriteString(w, body) // the server notices a client that has gone
}

// stream sends the view once a second until the client leaves or the server closes.
func (p *page) stream(w http.ResponseWriter, r *http.Request) {
	if !p.streams.TryAcquire(1) {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many open status pages", http.StatusServiceUnavailable)
		return
	}
	defer p.streams.Release(1)
	w.Header().Set("Content-Type", "text/event-stream")
	in, control := wordsFor(r), http.NewResponseController(w)
	tick := time.NewTicker(streamEvery)
	defer tick.Stop()
	for p.send(r.Context(), w, control, in) == nil {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

// send writes one event.
func (p *page) send(ctx context.Context, w http.ResponseWriter, control *http.ResponseController, in words) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	event, err := json.Marshal(p.view(in))
	if err != nil {
		return fmt.Errorf("encode the view: %w", err)
	}
	if err := control.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
		return fmt.Errorf("bound the write: %w", err)
	}
	if _, err := fmt.Fprintf(w, "retry: 1000\ndata: %s\n\n", event); err != nil {
		return fmt.Errorf("send the view: %w", err)
	}
	return control.Flush()
}
