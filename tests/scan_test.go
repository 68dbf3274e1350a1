package tests_test

// The scan reads the sources of all tests to find out which of them a run leaves out. It can't count while they run, because a
// package with a cached result doesn't run.

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
)

// gates are the calls of this package that can leave a test out.
type gates struct {
	long     bool            // calls tests.Long
	partial  bool            // calls tests.Whole: runs a part of its cases
	programs map[string]bool // the arguments of tests.Need
}

// declaration is a function, method or variable of a package's tests.
type declaration struct {
	gates
	uses []string // all identifiers in it
}

// scan returns the gates of every test function below root, by folder and name. A test has the gates of all declarations of its
// package that it uses, directly or indirectly.
func scan(root string) (map[string]gates, error) {
	packages := make(map[string]map[string]*declaration)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (strings.HasPrefix(entry.Name(), ".") || isModule(path)):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		dir := filepath.Dir(path)
		if packages[dir] == nil {
			packages[dir] = make(map[string]*declaration)
		}
		declare(packages[dir], file)
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := make(map[string]gates)
	for dir, declared := range packages {
		for name := range declared {
			if strings.HasPrefix(name, "Test") && name != "TestMain" {
				found[dir+"."+name] = reach(declared, name, make(map[string]bool))
			}
		}
	}
	return found, nil
}

// isModule reports whether the folder is a Go module of its own. A run of go test ./... leaves such modules out.
func isModule(dir string) bool {
	inside, _ := filepath.Glob(filepath.Join(dir, "go.mod"))
	return len(inside) > 0
}

// declare adds a file's declarations. It ignores the receivers of methods.
func declare(declared map[string]*declaration, file *ast.File) {
	for _, decl := range file.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			declared[decl.Name.Name] = read(decl)
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				if values, ok := spec.(*ast.ValueSpec); ok {
					for _, name := range values.Names {
						declared[name.Name] = read(values)
					}
				}
			}
		}
	}
}

// read finds the gates and names in a piece of source.
func read(node ast.Node) *declaration {
	d := &declaration{gates: gates{programs: make(map[string]bool)}}
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Ident:
			d.uses = append(d.uses, n.Name)
		case *ast.CallExpr:
			d.gate(n)
		}
		return true
	})
	return d
}

// gate adds the gate of a call, if it calls this package.
func (d *declaration) gate(call *ast.CallExpr) {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return
	}
	if of, ok := selector.X.(*ast.Ident); !ok || of.Name != "tests" {
		return
	}
	switch selector.Sel.Name {
	case "Long":
		d.long = true
	case "Whole":
		d.partial = true
	case "Need":
		for _, arg := range call.Args[1:] {
			if text, ok := arg.(*ast.BasicLit); ok {
				program, _ := strconv.Unquote(text.Value) // it was parsed as a literal
				d.programs[program] = true
			}
		}
	}
}

// reach returns the gates of a declaration and of all that it uses. seen keeps it from going round in circles.
func reach(declared map[string]*declaration, name string, seen map[string]bool) gates {
	sum := gates{programs: make(map[string]bool)}
	d := declared[name]
	if d == nil || seen[name] {
		return sum
	}
	seen[name] = true
	add := func(g gates) {
		sum.long, sum.partial = sum.long || g.long, sum.partial || g.partial
		for program := range g.programs {
			sum.programs[program] = true
		}
	}
	add(d.gates)
	for _, used := range d.uses {
		add(reach(declared, used, seen))
	}
	return sum
}
