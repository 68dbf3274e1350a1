package tests

// This file holds audit events to their published schema.

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// auditSchema is the published one, seen from the folder of any package: all are two levels down.
var auditSchema = filepath.Join("..", "..", "docs", "audit.schema.json")

// Audit fails t for each audit event in log that docs/audit.schema.json doesn't describe. log is lines of JSON; what is none is
// passed over. A new event belongs into the schema's list, and into the table in docs/operations.md.
func Audit(t testing.TB, log string) {
	t.Helper()
	if !strings.Contains(log, `"msg":"audit"`) {
		return
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	schema, err := compiler.Compile(auditSchema)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(log) {
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(line)))
		event, _ := value.(map[string]any)
		if err != nil || event["msg"] != "audit" {
			continue
		}
		if err := schema.Validate(event); err != nil {
			t.Errorf("docs/audit.schema.json doesn't describe this event: %v\n%s", err, line)
		}
	}
}
