package main

// gateway check prints a table or JSON. While it runs, a line on the terminal shows which checks are running.

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"roomgate/internal/config"
)

// result is what a check came to.
type result string

const (
	ok      result = "ok"
	warning result = "warning" // works, but look at it
	failed  result = "FAILED"
)

// finding is one line of the table.
type finding struct {
	Check  string  `json:"check"`
	Result result  `json:"result"`
	TookMS float64 `json:"took_ms"`
	Detail string  `json:"detail"`
	Hint   string  `json:"hint"` // what to look at; "" if all is well

	began time.Time
}

// begin starts to time a check. end, warn and fail stop the time and set the result.
func begin(check string) finding { return finding{Check: check, began: time.Now()} }

func (f finding) end(detail string) finding { return f.conclude(ok, detail, "") }

func (f finding) warn(detail, hint string) finding { return f.conclude(warning, detail, hint) }

func (f finding) fail(detail, hint string) finding { return f.conclude(failed, detail, hint) }

func (f finding) conclude(r result, detail, hint string) finding {
	f.Result, f.Detail, f.Hint = r, detail, hint
	if !f.began.IsZero() {
		f.TookMS = float64(time.Since(f.began).Microseconds()) / 1000
	}
	return f
}

// report prints the table. It returns errReported if a check failed.
func report(stdout io.Writer, findings []finding) error {
	table := tabwriter.NewWriter(stdout, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "CHECK\tRESULT\tTIME\tDETAIL")
	for _, f := range findings {
		detail := strings.ReplaceAll(f.Detail, "\n", "; ")
		if f.Hint != "" {
			detail += " — " + f.Hint
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%.0fms\t%s\n", f.Check, f.Result, f.TookMS, detail)
	}
	return errors.Join(verdict(findings), table.Flush())
}

// reportJSON is report in JSON.
func reportJSON(stdout io.Writer, findings []finding) error {
	return errors.Join(verdict(findings), printJSON(stdout, findings))
}

// printJSON prints v with indentation.
func printJSON(stdout io.Writer, v any) error {
	encoder := json.NewEncoder(stdout)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// verdict returns errReported if a check failed. A warning is no failure.
func verdict(findings []finding) error {
	if slices.ContainsFunc(findings, func(f finding) bool { return f.Result == failed }) {
		return errReported
	}
	return nil
}

// veil removes the settings' secrets from the findings. Servers quote in their errors what they were sent: an old Redis quotes the
// whole login.
func veil(findings []finding, cfg *config.Config) {
	var secrets []string
	for _, s := range cfg.GloryJWTSecrets {
		secrets = append(secrets, s.Reveal())
	}
	for _, l := range cfg.Licenses {
		secrets = append(secrets, l.AccessKey.Reveal(), l.SecretKey.Reveal())
	}
	if at, err := url.Parse(cfg.RedisURL.Reveal()); err == nil {
		password, _ := at.User.Password()
		secrets = append(secrets, password)
		for name, values := range at.Query() {
			if strings.Contains(name, "password") {
				secrets = append(secrets, values...)
			}
		}
	}
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		for i := range findings {
			findings[i].Detail = strings.ReplaceAll(findings[i].Detail, secret, "(secret)")
		}
	}
}

// progress is the line that shows which checks are running. A nil progress shows nothing. It is safe for concurrent use.
type progress struct {
	out   io.Writer
	width int // of the terminal, in columns

	mu      sync.Mutex // guards running, and the line on the terminal
	running []string
}

// newProgress returns nil unless w is a terminal, because a log can't have a line that is rewritten.
func newProgress(w io.Writer) *progress {
	file, isFile := w.(*os.File)
	if !isFile || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	width, _, _ := term.GetSize(int(file.Fd()))
	return &progress{out: file, width: cmp.Or(width, 80)}
}

func (p *progress) begin(name string) {
	p.change(func() { p.running = append(p.running, name) })
}

func (p *progress) end(name string) {
	p.change(func() { p.running = slices.DeleteFunc(p.running, func(n string) bool { return n == name }) })
}

// change calls what, with mu held, and redraws the line. The line is shorter than the terminal is wide: a wrapped line can't be
// erased.
func (p *progress) change(what func()) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	what()
	line := "checking " + strings.Join(p.running, ", ")
	_, _ = fmt.Fprint(p.out, eraseLine+line[:min(len(line), p.width-1)])
}

// erase clears the line.
func (p *progress) erase() {
	if p != nil {
		_, _ = fmt.Fprint(p.out, eraseLine)
	}
}

const eraseLine = "\r\x1b[K"
