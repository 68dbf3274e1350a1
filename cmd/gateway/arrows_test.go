// Rules of this module: which package may import which, where the environment may be read and the process ended, and that nothing
// sleeps. Each finding prints the rule's reason, so that its reader can tell a mistake from a rule that is out of date. CONTRIBUTING.md
// shows the same arrows.

package main_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module  = "roomgate"
	mainDir = "cmd/gateway"
	// mainFile may read the environment and end the process.
	mainFile = mainDir + "/main.go"
	// fleetDir is a second program. It starts gateways with all that they need, loads them and breaks them.
	fleetDir  = "loadtest/fleet"
	fleetFile = fleetDir + "/main.go"
	// testsDir decides which tests a run leaves out. Its own test prints the last line of go test, so its name must sort last.
	testsDir = "tests"
)

// arrows lists every folder that may hold Go code, and the folders that its code may import. All other imports within the module are
// forbidden. Test files may import the sandbox, secret and tests, too.
var arrows = map[string][]string{
	mainDir: {
		"internal/bridge", "internal/config", "internal/fleet", "internal/lane", "internal/ops",
		"internal/proxy", "internal/sandbox", "internal/secret", "internal/tokencache", "internal/upstream",
	},
	"internal/proxy":      {"internal/bridge", "internal/fleet", "internal/lane", "internal/upstream"},
	"internal/bridge":     {"internal/fleet", "internal/lru", "internal/secret", "internal/tokencache", "internal/upstream"},
	"internal/config":     {"internal/secret"},
	"internal/fleet":      {"internal/lru"},
	"internal/lane":       nil,
	"internal/lru":        nil,
	"internal/ops":        nil,
	"internal/sandbox":    nil,
	"internal/secret":     nil,
	"internal/tokencache": {"internal/fleet", "internal/secret"},
	"internal/upstream":   nil,
	fleetDir:              {"internal/sandbox"},
	testsDir:              nil,
}

// reasons says why an arrow is missing. The first match counts. "" matches every package.
var reasons = []struct{ from, to, why string }{
	{fleetDir, "", "the fleet is measured from outside, as balancers and members see it: it would not notice a failure of code that it shares"},
	{"", fleetDir, "the fleet is a program for whoever tests gateways; no gateway may need it"},
	{testsDir, "", "the code that decides which tests run must not fail with the code that they test"},
	{"", testsDir, "only tests may ask which tests run"},
	{"internal/sandbox", "", "the stand-ins are written from the upstreams' API documents alone: a struct shared with our client would hide a shared mistake"},
	{"", "internal/sandbox", "only the sandbox command and tests may run the stand-ins: real requests must not reach them"},
	{"", "internal/config", "settings are read and handed out by cmd/gateway alone: a package states what it needs in its own struct"},
	{"internal/config", "", "config turns the environment into values and must not know how they are used"},
	{"internal/upstream", "", "a call knows only its upstream: for whom it is made, and why, is no business of the connection"},
	{"internal/lane", "", "the lane knows bytes, deadlines and connections: what a request means is decided behind it"},
	{"internal/lru", "", "a memory knows nothing of what it keeps"},
	{"", "internal/lru", "only packages that decide about members remember anything about them, not those that serve requests"},
	{"internal/secret", "", "the type of secrets knows nothing of what they open"},
	{"", "internal/secret", "config reads secrets, bridge and tokencache use them: nobody else needs to hold one"},
	{"internal/fleet", "", "fleet knows no member, no token and no request: each user of Redis brings its own meaning"},
	{"internal/tokencache", "", "the cache is free of the domain: it keeps sealed tokens and does not know whose they are"},
	{"internal/ops", "", "ops gets its figures from functions: it must not be able to change what it shows"},
	{"", "internal/lane", "only packages that speak HTTP to clients may know how their bytes are read"},
	{"internal/bridge", "", "the domain decides who may enter and must not know how the answer travels"},
	{"", "internal/ops", "a package must not depend on who watches it: it takes a logger and small interfaces of its own"},
	{"internal/proxy", "internal/tokencache", "proxy gets credentials from bridge: on a way around it, no rule would have been asked"},
	{"", "", "packages meet in cmd/gateway, the only one that knows them all"},
}

const whyNewPackage = "a new package needs a second importer or 2,000 lines as its reason; with one, draw its arrows in arrows_test.go"

// importBans lists packages of other modules that only a few places may import. A path in imports includes all below it. A path in
// within is a folder or a file.
var importBans = []struct {
	imports []string
	within  []string
	tests   bool // test files everywhere may import it
	why     string
}{
	{
		imports: []string{"github.com/redis/go-redis"},
		within:  []string{"internal/fleet", "internal/tokencache", mainDir},
		why:     "every use of Redis must be bounded in time and survive its loss; that can be checked only in a few places",
	},
	{
		imports: []string{"go.opentelemetry.io/otel/sdk", "go.opentelemetry.io/otel/exporters", "go.opentelemetry.io/contrib/exporters"},
		within:  []string{"internal/ops"},
		tests:   true, // a test of spans needs something to record them
		why:     "others speak the OpenTelemetry API; whether and where spans go is set up once",
	},
	{
		imports: []string{"net/http/pprof"},
		within:  []string{"internal/ops"},
		why:     "importing it registers handlers on http.DefaultServeMux; profiles belong to the operations listener alone",
	},
}

const (
	whyEnv   = "only " + mainFile + " touches the environment: others get it as an argument, so that tests run in parallel and all mistakes are reported at once"
	whyExit  = "only a main.go ends the process: elsewhere it would skip deferred calls and the drain; return an error"
	whySleep = "a sleep hears no cancellation, and in a test it is too long on one machine and too short on another; wait on the context and a timer, or test within testing/synctest"
)

// callBans lists the banned functions by package, each with the reason.
var callBans = map[string]map[string]string{
	"os": {
		"Getenv": whyEnv, "LookupEnv": whyEnv, "Environ": whyEnv, "ExpandEnv": whyEnv,
		"Exit": whyExit,
	},
	"log":     {"Fatal": whyExit, "Fatalf": whyExit, "Fatalln": whyExit},
	"syscall": {"Getenv": whyEnv, "Environ": whyEnv, "Exit": whyExit},
	"time":    {"Sleep": whySleep},
}

// TestArrows checks every Go file of the module against the rules above.
func TestArrows(t *testing.T) {
	const root = "../.."
	checked := 0
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return skip(root, name, d.Name())
		case filepath.Ext(name) != ".go":
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		checked++
		for _, f := range check(t, filepath.ToSlash(rel), src) {
			t.Error(f)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked == 0 {
		t.Errorf("no Go file under %s: nothing was checked", root)
	}
}

// skip leaves out the folders that the go command leaves out: testdata, names with a leading dot or underscore, and other modules. It
// also leaves out node_modules.
func skip(root, dir, base string) error {
	if dir == root {
		return nil
	}
	if base == "testdata" || base == "node_modules" || base[0] == '.' || base[0] == '_' {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

// check returns what is wrong with one file. name is its path in the module, with slashes; the file need not exist.
func check(t *testing.T, name string, src []byte) []string {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var findings []string
	report := func(n ast.Node, format string, args ...any) {
		findings = append(findings, fmt.Sprintf("%s: %s", fset.Position(n.Pos()), fmt.Sprintf(format, args...)))
	}
	dir := path.Dir(name)
	if _, ok := arrows[dir]; !ok {
		report(file, "package in %s: %s", dir, whyNewPackage)
	}
	for _, spec := range file.Imports {
		imported, _ := strconv.Unquote(spec.Path.Value)
		if why := whyNotImport(name, imported); why != "" {
			report(spec, "%s must not import %s: %s", name, imported, why)
		}
		if callBans[imported] != nil {
			checkCalls(name, file, spec, report)
		}
	}
	return findings
}

// whyNotImport returns the reason why the file name must not import a package, or "" if it may.
func whyNotImport(name, imported string) string {
	test := strings.HasSuffix(name, "_test.go")
	if to, ours := strings.CutPrefix(imported, module+"/"); ours {
		from := path.Dir(name)
		if from == to || slices.Contains(arrows[from], to) || test && (to == "internal/sandbox" || to == "internal/secret" || to == testsDir) {
			return ""
		}
		return whyNot(from, to)
	}
	for _, ban := range importBans {
		allowed := test && ban.tests || withinAny(name, ban.within)
		if withinAny(imported, ban.imports) && !allowed {
			return ban.why
		}
	}
	return ""
}

// whyNot returns the reason why there is no arrow between two folders of the module.
func whyNot(from, to string) string {
	for _, r := range reasons {
		if (r.from == "" || r.from == from) && (r.to == "" || r.to == to) {
			return r.why
		}
	}
	return ""
}

// withinAny reports whether p is one of bases or below one.
func withinAny(p string, bases []string) bool {
	return slices.ContainsFunc(bases, func(base string) bool {
		return p == base || strings.HasPrefix(p, base+"/")
	})
}

// checkCalls reports each use of a banned function of the package that spec imports. A use is a call or a reference.
func checkCalls(name string, file *ast.File, spec *ast.ImportSpec, report func(ast.Node, string, ...any)) {
	imported, _ := strconv.Unquote(spec.Path.Value)
	local := path.Base(imported)
	if spec.Name != nil {
		local = spec.Name.Name
	}
	if local == "." {
		report(spec, "dot import of %s: it hides uses of banned functions", imported)
		return
	}
	for _, decl := range file.Decls {
		ast.Inspect(decl, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg, ok := sel.X.(*ast.Ident)
			if !ok || pkg.Name != local {
				return true
			}
			if why := callBans[imported][sel.Sel.Name]; why != "" && !exempt(name, file, decl, why) {
				report(sel, "%s.%s: %s", imported, sel.Sel.Name, why)
			}
			return true
		})
	}
}

// exempt reports whether the ban with the reason why doesn't apply to this declaration. A main.go may exit, and the gateway's may read the
// environment. Tests and package tests learn from the environment what to run. TestMain has to exit. A sleep in a synctest bubble takes
// no time.
func exempt(name string, file *ast.File, decl ast.Decl, why string) bool {
	test := strings.HasSuffix(name, "_test.go")
	switch why {
	case whyEnv:
		return name == mainFile || test || path.Dir(name) == testsDir
	case whyExit:
		fn, ok := decl.(*ast.FuncDecl)
		return name == mainFile || name == fleetFile || test && ok && fn.Recv == nil && fn.Name.Name == "TestMain"
	case whySleep:
		return test && slices.ContainsFunc(file.Imports, func(spec *ast.ImportSpec) bool {
			return spec.Path.Value == `"testing/synctest"`
		})
	}
	return false
}

// TestArrowsCheckerFindsViolations shows that TestArrows can fail. Each source breaks one rule, or, with an empty want, comes close.
func TestArrowsCheckerFindsViolations(t *testing.T) {
	for _, tt := range []struct{ name, file, src, want string }{
		{"an arrow that is drawn", "internal/proxy/a.go", `import _ "roomgate/internal/bridge"`, ""},
		{"upwards", "internal/bridge/a.go", `import _ "roomgate/internal/proxy"`, "must not know how the answer travels"},
		{"around bridge", "internal/proxy/a.go", `import _ "roomgate/internal/tokencache"`, "no rule would have been asked"},
		{"around bridge in a test", "internal/proxy/a_test.go", `import _ "roomgate/internal/tokencache"`, "no rule would have been asked"},
		{"settings outside cmd", "internal/proxy/a.go", `import _ "roomgate/internal/config"`, "states what it needs"},
		{"the sandbox in production code", "internal/ops/a.go", `import _ "roomgate/internal/sandbox"`, "must not reach them"},
		{"the sandbox in a test", "internal/ops/a_test.go", `import _ "roomgate/internal/sandbox"`, ""},
		{"the sandbox in a command", "cmd/gateway/sandbox.go", `import _ "roomgate/internal/sandbox"`, ""},
		{"the sandbox reaching out", "internal/sandbox/a_test.go", `import _ "roomgate/internal/bridge"`, "hide a shared mistake"},
		{"an external test of its own package", "internal/ops/a_test.go", `import _ "roomgate/internal/ops"`, ""},
		{"fleet reaching out", "internal/fleet/a.go", `import _ "roomgate/internal/tokencache"`, "brings its own meaning"},
		{"one package too many", "internal/util/a.go", ``, "second importer or 2,000 lines"},
		{"a package inside a package", "internal/proxy/cors/a.go", ``, "second importer or 2,000 lines"},
		{"Redis in the cache", "internal/tokencache/redis.go", `import _ "github.com/redis/go-redis/v9"`, ""},
		{"Redis in the rate limiter", "internal/fleet/limiter.go", `import _ "github.com/redis/go-redis/v9"`, ""},
		{"Redis in proxy", "internal/proxy/route.go", `import _ "github.com/redis/go-redis/v9"`, "bounded in time"},
		{"the tracing API", "internal/proxy/a.go", `import _ "go.opentelemetry.io/otel/trace"`, ""},
		{"the tracing SDK", "cmd/gateway/a.go", `import _ "go.opentelemetry.io/otel/sdk/trace"`, "set up once"},
		{"the tracing SDK in a test", "internal/proxy/a_test.go", `import _ "go.opentelemetry.io/otel/sdk/trace"`, ""},
		{"profiles outside ops", "cmd/gateway/a.go", `import _ "net/http/pprof"`, "DefaultServeMux"},
		{"environment in main.go", "cmd/gateway/main.go", `import "os"; var v = os.Getenv("A")`, ""},
		{"environment beside main.go", "cmd/gateway/serve.go", `import "os"; var v = os.Getenv("A")`, "touches the environment"},
		{"environment as a value", "internal/config/a.go", `import "os"; var get = os.LookupEnv`, "touches the environment"},
		{"environment under another name", "internal/config/a.go", `import env "os"; var v = env.Environ()`, "touches the environment"},
		{"environment by dot import", "internal/config/a.go", `import . "os"; var v = Getenv("A")`, "dot import"},
		{"environment in a test", "internal/config/a_test.go", `import "os"; var v = os.Getenv("A")`, ""},
		{"exit in a test", "internal/ops/a_test.go", `import "os"; func TestA() { os.Exit(1) }`, "ends the process"},
		{"exit in TestMain", "internal/ops/a_test.go", `import "os"; func TestMain() { os.Exit(1) }`, ""},
		{"exit in a command", "cmd/gateway/serve.go", `import "os"; func f() { os.Exit(1) }`, "ends the process"},
		{"exit in the fleet's main.go", fleetFile, `import "os"; func main() { os.Exit(1) }`, ""},
		{"environment in the fleet's main.go", fleetFile, `import "os"; var v = os.Getenv("A")`, "touches the environment"},
		{"the fleet reaching in", fleetDir + "/a.go", `import _ "roomgate/internal/proxy"`, "from outside"},
		{"exit through the log", "internal/ops/a.go", `import "log"; func f() { log.Fatalf("") }`, "ends the process"},
		{"sleep", "cmd/gateway/main.go", `import "time"; func f() { time.Sleep(1) }`, "hears no cancellation"},
		{"sleep in a test", "internal/ops/a_test.go", `import "time"; func f() { time.Sleep(1) }`, "hears no cancellation"},
		{"sleep in a bubble", "internal/ops/a_test.go", `import ("time"; _ "testing/synctest"); func f() { time.Sleep(1) }`, ""},
		{"another package's Exit", "internal/ops/a.go", `import "os"; var os2 = struct{ Exit int }{}; var v = os2.Exit; var w = os.Args`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			findings := check(t, tt.file, []byte("// Prose.\n\npackage p\n"+tt.src))
			expect(t, findings, tt.want)
		})
	}
}

// TestEveryMissingArrowHasItsOwnReason keeps the last reason, which fits all, for packages that don't exist yet.
func TestEveryMissingArrowHasItsOwnReason(t *testing.T) {
	catchAll := reasons[len(reasons)-1].why
	for from, to := range arrows {
		for other := range arrows {
			if other == from || other == mainDir || slices.Contains(to, other) {
				continue
			}
			if why := whyNot(from, other); why == "" || why == catchAll {
				t.Errorf("%s → %s is forbidden without a reason", from, other)
			}
		}
	}
}

// expect fails the test unless there is exactly one finding and it contains want; with an empty want, there must be none.
func expect(t *testing.T, findings []string, want string) {
	t.Helper()
	switch {
	case want == "" && len(findings) > 0:
		t.Errorf("found %q in a file that keeps the rules", findings)
	case want != "" && (len(findings) != 1 || !strings.Contains(findings[0], want)):
		t.Errorf("found %q, want one that says %q", findings, want)
	}
}
