package tests_test

// The last line of go test ./... says how many tests the run has left out, why, and how to run them.

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"roomgate/tests"
)

// TestMain keeps go test from caching this package, because the line has to appear each time. go test caches a result only if the
// test has logged which files and variables it has read.
func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.testlogfile", "") // registered by package testing
	os.Exit(m.Run())
}

func TestTheRunTellsWhatItLeavesOut(t *testing.T) {
	found, err := scan("..")
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(found, func(name string, _ gates) bool { return strings.HasPrefix(name, "../tests.") }) // this package's own
	line := tell(found, tests.Whole(), func(program string) bool {
		_, err := exec.LookPath(program)
		return err == nil
	})
	sayLast(line)
}

// tell returns the line. found has the gates of each test.
func tell(found map[string]gates, whole bool, installed func(string) bool) string {
	var out, long, partial int
	missing := make(map[string]int)
	for _, g := range found {
		needs := slices.DeleteFunc(slices.Sorted(maps.Keys(g.programs)), installed)
		switch {
		case whole:
		case g.long:
			out, long = out+1, long+1
		case len(needs) > 0:
			out++
			missing[strings.Join(needs, " and ")]++
		case g.partial:
			partial++
		}
	}
	if out+partial == 0 {
		return fmt.Sprintf("roomgate: none of %d tests was left out", len(found))
	}
	var why []string
	for _, programs := range slices.SortedFunc(maps.Keys(missing), func(a, b string) int {
		return cmp.Or(cmp.Compare(missing[b], missing[a]), cmp.Compare(a, b))
	}) {
		why = append(why, fmt.Sprintf("%d for want of %s (install it)", missing[programs], programs))
	}
	if long > 0 {
		why = append(why, fmt.Sprintf("%d because they are long (%s=all runs them)", long, tests.Variable))
	}
	text := fmt.Sprintf("roomgate: %d of %d tests were left out", out, len(found))
	if out > 0 {
		text += ": " + strings.Join(why, ", ")
	}
	if partial > 0 {
		text += fmt.Sprintf("; %d ran a part of their cases (%s=all runs the rest)", partial, tests.Variable)
	}
	return text
}

// TestWhatIsLeftOutIsCounted scans a source in which gates are behind functions, methods and variables.
func TestWhatIsLeftOutIsCounted(t *testing.T) {
	dir := t.TempDir()
	source := `package p
import ("testing"; "roomgate/tests")
var shared = func(t *testing.T) { tests.Need(t, "redis-server") }
type stage struct{}
func (stage) browse(t *testing.T) { tests.Need(t, "chromium", "node") }
func TestPlain(t *testing.T) {}
func TestLong(t *testing.T) { tests.Long(t) }
func TestRedis(t *testing.T) { shared(t) }
func TestBrowser(t *testing.T) { stage{}.browse(t) }
func TestTable(t *testing.T) { if tests.Whole() {} }
func helper(t *testing.T) { helper(t) }
`
	if err := os.WriteFile(filepath.Join(dir, "p_test.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := scan(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		whole     bool
		installed string
		want      string
	}{
		{false, "", "3 of 5 tests were left out: 1 for want of chromium and node (install it), 1 for want of redis-server (install it), " +
			"1 because they are long (ROOMGATE_TESTS=all runs them); 1 ran a part of their cases (ROOMGATE_TESTS=all runs the rest)"},
		{false, "redis-server chromium node", "1 of 5 tests were left out: 1 because they are long (ROOMGATE_TESTS=all runs them); " +
			"1 ran a part of their cases (ROOMGATE_TESTS=all runs the rest)"},
		{true, "", "none of 5 tests was left out"},
	} {
		got := tell(found, c.whole, func(program string) bool { return strings.Contains(c.installed, program) })
		if got != "roomgate: "+c.want {
			t.Errorf("whole %v, installed %q:\n got %s\nwant %s", c.whole, c.installed, got, c.want)
		}
	}
}
