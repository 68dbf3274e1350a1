package main

// docs/metrics.md is generated from the collectors that a gateway registers.

import (
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"roomgate/internal/config"
)

//go:generate go test . -run ^TestMetricsPage$ -update

var update = flag.Bool("update", false, "write docs/metrics.md")

const metricsPage = "../../docs/metrics.md"

// described is what a collector says about one metric.
type described struct {
	name, help string
	labels     []string
}

// registered returns our metrics of a gateway, sorted by name. Those that have counted nothing yet are among them.
func registered(t *testing.T) []described {
	t.Helper()
	environ := settings(newStands(t), "127.0.0.1:1")
	cfg, err := config.Load(environ)
	if err != nil {
		t.Fatal(err)
	}
	g, err := newGateway(t.Context(), cfg, environ, io.Discard, sessionCookie)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	descs := make(chan *prometheus.Desc)
	go func() { defer close(descs); g.registry.Describe(descs) }()
	// A Desc has no accessors. This is its String.
	const quoted = `("(?:[^"\\]|\\.)*")`
	form := regexp.MustCompile(`^Desc\{fqName: ` + quoted + `, help: ` + quoted + `, unit: "[^"]*", constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)
	var all []described
	for desc := range descs {
		parts := form.FindStringSubmatch(desc.String())
		if parts == nil {
			t.Fatalf("can't read %s", desc)
		}
		d := described{name: unquoted(t, parts[1]), help: unquoted(t, parts[2])}
		for _, m := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(parts[3], -1) {
			d.labels = append(d.labels, m[1])
		}
		d.labels = append(d.labels, regexp.MustCompile(`\w+`).FindAllString(parts[4], -1)...)
		if strings.HasPrefix(d.name, "roomgate_") {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b described) int { return strings.Compare(a.name, b.name) })
	// A metric that is registered for each upstream is described for each.
	return slices.CompactFunc(all, func(a, b described) bool { return a.name == b.name })
}

func unquoted(t *testing.T, s string) string {
	t.Helper()
	text, err := strconv.Unquote(s)
	if err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return text
}

// kinds returns the types of the metrics in the text of /metrics. Metrics that have counted nothing aren't there.
func kinds(exposition string) map[string]string {
	all := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)$`).FindAllStringSubmatch(exposition, -1) {
		all[m[1]] = m[2]
	}
	return all
}

// metricsTable returns the page.
func metricsTable(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`# Metrics

The metrics in ` + "`/metrics`" + ` on ` + "`ADMIN_ADDR`" + `, beside those of Go (` + "`go_`" + `) and of the process (` + "`process_`" + `). Every label is bounded: routes and licenses
come from the settings; for the other labels the values are in brackets. A metric with labels appears once it has counted something.
With tracing, OpenMetrics has exemplars that link a duration to its trace. [operations.md](operations.md) says what to do about a metric.
` + "`go generate ./cmd/gateway`" + ` writes this page.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
`)
	kind := kinds(everyMetric(t))
	for _, d := range registered(t) {
		if kind[d.name] == "" {
			t.Errorf("%s: everyMetric must do what it counts, or its type isn't known", d.name)
		}
		labels := ""
		if len(d.labels) > 0 {
			labels = "`" + strings.Join(d.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s |%s | %s |\n", d.name, kind[d.name], strings.TrimRight(" "+labels, " "), strings.ReplaceAll(d.help, "|", `\|`))
	}
	return b.String()
}

func TestMetricsPage(t *testing.T) {
	t.Parallel()
	want := metricsTable(t)
	if t.Failed() {
		return
	}
	if *update {
		if err := os.WriteFile(metricsPage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if readText(t, metricsPage) != want {
		t.Error("docs/metrics.md is not up to date: run go generate ./cmd/gateway")
	}
}

// In a dashboard, the help text is all that people see of a metric.
func TestHelpTextsTellOfTheirLabels(t *testing.T) {
	for _, d := range registered(t) {
		for _, label := range d.labels {
			if !strings.Contains(d.help, label) {
				t.Errorf("%s: %q doesn't tell of %s", d.name, d.help, label)
			}
		}
		if !strings.HasSuffix(d.help, ".") {
			t.Errorf("%s: %q is no sentence", d.name, d.help)
		}
	}
}
