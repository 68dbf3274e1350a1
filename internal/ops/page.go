package ops

// This file serves the status page and its stream. Nothing here changes anything, and a browser may load nothing but the
// page itself.

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // the page
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"time"

	"golang.org/x/sync/semaphore"
)

const (
	streamEvery = time.Second     // between two events, so that no heartbeat is needed
	streamWrite = 5 * time.Second // for one event; who reads slower is cut off
	streamMost  = 32
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

// page answers for / and /events.
type page struct {
	Options
	template *template.Template
	policy   string
	streams  *semaphore.Weighted
}

func newPage(o Options) *page {
	return &page{
		Options:  o,
		template: template.Must(template.New("page").Parse(pageHTML)), // a part of the program
		policy: "default-src 'none'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
			"script-src " + sourceHash(pageJS) + "; style-src " + sourceHash(pageCSS),
		streams: semaphore.NewWeighted(streamMost),
	}
}

// sourceHash admits one inline script or style.
func sourceHash(source string) string {
	sum := sha256.Sum256([]byte(source))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// view describes this moment.
func (p *page) view(w words) view {
	ready, _ := p.Ready()
	return newView(w, p.Status(), ready, p.History.Past())
}

// show answers with the page as it is now, which needs no script to be read.
func (p *page) show(w http.ResponseWriter, r *http.Request) {
	in := wordsFor(r)
	var body bytes.Buffer
	err := p.template.Execute(&body, struct {
		Words  words
		View   view
		Style  template.CSS
		Script template.JS
	}{in, p.view(in), template.CSS(pageCSS), template.JS(pageJS)}) //nolint:gosec // both are embedded files
	if err != nil {
		http.Error(w, "can't be shown", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", in.Lang)
	h.Set("Content-Security-Policy", p.policy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Vary", "Accept-Language")
	_, _ = w.Write(body.Bytes()) // a client that has gone is noticed by the server
}

// stream sends the view once a second until the client leaves or the server closes.
func (p *page) stream(w http.ResponseWriter, r *http.Request) {
	if !p.streams.TryAcquire(1) {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "too many are watching", http.StatusServiceUnavailable)
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
