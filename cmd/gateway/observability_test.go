package main

// deploy/observability is true: the metrics exist, the queries are valid, and every alert has its tests and its section in
// docs/operations.md.

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"roomgate/internal/sandbox"
	"roomgate/tests"
)

const observability = "../../deploy/observability/"

// promtool runs promtool in the folder of the rules. It fails the test if promtool does.
func promtool(t *testing.T, stdin string, args ...string) {
	t.Helper()
	tests.Need(t, "promtool")
	command := exec.CommandContext(t.Context(), "promtool", args...)
	command.Dir, command.Stdin = observability, strings.NewReader(stdin)
	if out, err := command.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// alerts returns the names of the alerts in alerts.yaml, in order.
func alerts(t *testing.T) []string {
	t.Helper()
	var names []string
	rule := regexp.MustCompile(`(?m)^ +- alert: (\w+)$`)
	for _, m := range rule.FindAllStringSubmatch(readText(t, observability+"alerts.yaml"), -1) {
		names = append(names, m[1])
	}
	if len(names) == 0 {
		t.Fatal("no alerts")
	}
	return names
}

// everyMetric makes a gateway do all that metrics count, and returns the text of /metrics. A metric with labels appears only after it
// has counted something.
func everyMetric(t *testing.T) string {
	t.Helper()
	stands, client := newStands(t), newClient(t)
	r, process := startProcess(t, settings(stands, newRedis(t).Addr, "SESSION_SECRETS="+sessionSecret))
	token := stands.Glory.MintToken("1", time.Hour)
	get(t, client, r.url+"/v1/info", token).want(t, http.StatusOK)
	get(t, client, r.url+"/v1/info", "").want(t, http.StatusUnauthorized)
	stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Status: 401, Times: 1})
	get(t, client, r.url+"/v1/info", token).want(t, http.StatusOK)
	logOut(t, client, r.url, "", token)
	session := beginSession(t, client, r.url, stands.Demo)
	withCookie(t, client, http.MethodPost, r.url+"/session/logout", sessionCookie+"="+session).want(t, http.StatusOK)
	if err := process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	var text string
	eventually(t, "the reload is counted", func() bool {
		text = get(t, client, r.admin+"/metrics", "").want(t, http.StatusOK).body
		return strings.Contains(text, "roomgate_reloads_total{")
	})
	return text
}

// Without this, an alert or panel on a renamed metric would be silent for ever.
func TestEveryMetricOfAlertsAndDashboardExists(t *testing.T) {
	t.Parallel()
	kind := kinds(everyMetric(t))
	for _, file := range []string{"alerts.yaml", "alerts_test.yaml", "objectives_test.yaml", "dashboard.json"} {
		named := regexp.MustCompile(`\b(roomgate|go|process)_\w+`).FindAllString(readText(t, observability+file), -1)
		slices.Sort(named)
		for _, name := range slices.Compact(named) {
			base := regexp.MustCompile(`_(bucket|count|sum)$`).ReplaceAllString(name, "")
			if kind[name] == "" && kind[base] != "histogram" {
				t.Errorf("%s: the gateway has no %s", file, name)
			}
		}
	}
}

func TestMetricsPassPromtoolsCheck(t *testing.T) {
	t.Parallel()
	var ours strings.Builder
	for line := range strings.Lines(everyMetric(t)) {
		if strings.Contains(line, "roomgate_") { // the library names those of go_ and process_
			ours.WriteString(line)
		}
	}
	promtool(t, ours.String(), "check", "metrics")
}

func TestAlertsFireInTheirRuleTests(t *testing.T) {
	t.Parallel()
	promtool(t, "", "check", "config", "prometheus.yaml") // with its rules
	promtool(t, "", "test", "rules", "alerts_test.yaml", "objectives_test.yaml")
}

func TestEveryAlertHasAFiringAndAQuietCase(t *testing.T) {
	cases := readText(t, observability+"alerts_test.yaml") + readText(t, observability+"objectives_test.yaml")
	for _, alert := range alerts(t) {
		if !strings.Contains(cases, "alertname: "+alert+", exp_alerts: []") {
			t.Errorf("no case in which %s is quiet", alert)
		}
		if !strings.Contains(cases, "alertname: "+alert+"\n        exp_alerts:\n          - exp_labels:") {
			t.Errorf("no case in which %s fires", alert)
		}
	}
}

// promtool can't read dashboards, so the queries are checked as rules.
func TestQueriesOfTheDashboardCanBeAsked(t *testing.T) {
	t.Parallel()
	var dashboard struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal([]byte(readText(t, observability+"dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	var rules strings.Builder
	rules.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	ids := map[int]bool{}
	for _, p := range dashboard.Panels {
		if ids[p.ID] {
			t.Errorf("%s: another panel has the id %d, too", p.Title, p.ID)
		}
		ids[p.ID] = true
		for i, target := range p.Targets {
			expr := strings.ReplaceAll(target.Expr, "$__rate_interval", "5m")
			fmt.Fprintf(&rules, "      - record: panel:p%d_%d\n        expr: |\n          %s\n", p.ID, i, expr)
		}
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "", "check", "rules", file)
}

// Every alert has a section, and every section an alert.
func TestEveryAlertHasItsSection(t *testing.T) {
	page := readText(t, "../../docs/operations.md")
	rules := readText(t, observability+"alerts.yaml")
	var sections []string
	for _, m := range regexp.MustCompile(`(?m)^### (Roomgate\w+)$`).FindAllStringSubmatch(page, -1) {
		sections = append(sections, m[1])
	}
	for _, alert := range alerts(t) {
		if !slices.Contains(sections, alert) {
			t.Errorf("docs/operations.md has no section %s", alert)
		}
		if link := `runbook_url: "{{ $externalLabels.runbooks }}docs/operations.md#` + strings.ToLower(alert) + "\"\n"; !strings.Contains(rules, link) {
			t.Errorf("no %s", link)
		}
		for _, part := range []string{"**Means.**", "**Look.**", "**Do.**"} {
			_, section, _ := strings.Cut(page, "### "+alert+"\n")
			section, _, _ = strings.Cut(section, "\n##")
			if !strings.Contains(section, part) {
				t.Errorf("section %s has no %s", alert, part)
			}
		}
	}
	for _, section := range sections {
		if !slices.Contains(alerts(t), section) {
			t.Errorf("the section %s is about no alert", section)
		}
	}
}
