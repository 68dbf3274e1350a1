package tests

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// auditSchema is the published schema, relative to the folder of a package. All packages that log audit events are two levels down.
var auditSchema = filepath.Join("..", "..", "docs", "audit.schema.json")

// Audit reports an error on t for each audit event in log that docs/audit.schema.json doesn't describe. log has lines of JSON; other
// lines are ignored. Add a new event to the schema's list, and to the table in docs/operations.md.
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
