package main

// The published schema of audit events is strict, and docs/operations.md names all events.

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"roomgate/tests"
)

// judged counts the errors of tests.Audit.
type judged struct {
	testing.TB
	errors int
}

// Errorf implements testing.TB.
func (j *judged) Errorf(string, ...any) { j.errors++ }

func TestTheAuditSchemaIsStrict(t *testing.T) {
	good := `{"time":"2026-01-02T03:04:05.6Z","level":"INFO","msg":"audit","schema_version":1,"event":"deny_list_restored",` +
		`"reason":"redis had an older one","version":"7","found":""}`
	for change, event := range map[string]string{
		"":                 good,
		"not audit":        `{"msg":"request"}`,
		"not JSON":         `"msg":"audit"`,
		"another version":  strings.Replace(good, `n":1`, `n":2`, 1),
		"no version":       strings.Replace(good, `"schema_version":1,`, "", 1),
		"a new event":      strings.Replace(good, "restored", "lost", 1),
		"a new reason":     strings.Replace(good, "older", "other", 1),
		"a new field":      strings.Replace(good, `"found"`, `"lost":1,"found"`, 1),
		"a field too few":  strings.Replace(good, `,"found":""`, "", 1),
		"a number":         strings.Replace(good, `"7"`, "7", 1),
		"no time":          strings.Replace(good, "2026-", "in ", 1),
		"an event's other": strings.Replace(good, "deny_list_restored", "attack", 1),
	} {
		j := &judged{TB: t}
		tests.Audit(j, good+"\n"+event+"\n")
		if wrong := change != "" && !strings.HasPrefix(change, "not "); (j.errors == 1) != wrong || j.errors > 1 {
			t.Errorf("%s: %d errors", change, j.errors)
		}
	}
}

func TestOperationsNamesEveryAuditEvent(t *testing.T) {
	var schema struct {
		OneOf []struct {
			Properties struct {
				Event struct{ Const string }
			}
		}
	}
	text, err := os.ReadFile("../../docs/audit.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &schema); err != nil || len(schema.OneOf) < 6 {
		t.Fatalf("%d events, %v", len(schema.OneOf), err)
	}
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n### Audit events\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, e := range schema.OneOf {
		if row := fmt.Sprintf("| `%s` |", e.Properties.Event.Const); !strings.Contains(section, row) {
			t.Errorf("docs/operations.md has no row %q under Audit events", row)
		}
	}
}
