package config

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// smallest returns the smallest valid settings.
func smallest() map[string]string {
	return map[string]string{
		"GLORY_URL":             "https://glory.example.com",
		"INTERWATER_URL":        "https://interwater.example.com",
		"INTERWATER_ACCESS_KEY": "MARKER-access",
		"INTERWATER_SECRET_KEY": "MARKER-secret",
		"REDIS_URL":             "redis://:MARKER@127.0.0.1:6379",
	}
}

// environ returns vars in the form of os.Environ.
func environ(vars map[string]string) []string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		list = append(list, name+"="+vars[name])
	}
	return list
}

// with returns smallest with changes: NAME=value adds or replaces, a bare NAME removes.
func with(changes ...string) []string {
	vars := smallest()
	for _, change := range changes {
		name, value, ok := strings.Cut(change, "=")
		if vars[name] = value; !ok {
			delete(vars, name)
		}
	}
	return environ(vars)
}

// unquote reads the value of an .env line like a shell. Single quotes may contain anything. Outside of them, characters with a
// meaning in a shell are not allowed. A comment may not follow.
func unquote(t *testing.T, value string) string {
	t.Helper()
	if inner, ok := strings.CutPrefix(value, "'"); ok {
		inner, ok = strings.CutSuffix(inner, "'")
		if !ok || strings.Contains(inner, "'") {
			t.Fatalf("unbalanced quotes: %s", value)
		}
		return inner
	}
	return value
}

// testFiles creates the folder that $DIR stands for.
func testFiles(t *testing.T) string {
	dir := t.TempDir()
	for _, name := range []string{"first", "second"} {
		newPair(t, dir, name)
	}
	for name, content := range map[string]string{
		"empty":              "\n",
		"secret":             "MARKER",
		"garbage":            "MARKER",
		"big":                strings.Repeat("x", maxFileBytes+1),
		"redis_two_newlines": "redis://127.0.0.1:6379\n\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestBadSettings(t *testing.T) {
	dir := testFiles(t)
	corpus, err := os.ReadFile("testdata/bad.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(corpus), "\n== ")[1:] {
		title, rest, _ := strings.Cut(block, "\n")
		t.Run(title, func(t *testing.T) {
			settings, want, ok := strings.Cut(rest, "\n--\n")
			if !ok {
				t.Fatal("the block has no -- line")
			}
			vars := smallest()
			for line := range strings.SplitSeq(settings, "\n") {
				if name, ok := strings.CutPrefix(line, "unset "); ok {
					delete(vars, name)
					continue
				}
				name, value, _ := strings.Cut(line, "=")
				vars[name] = strings.ReplaceAll(unquote(t, value), "$DIR", dir)
			}
			c, err := Load(environ(vars))
			if c != nil || err == nil {
				t.Fatal("the settings were accepted")
			}
			if _, ok := errors.AsType[*Problems](err); !ok {
				t.Errorf("the error is a %T", err)
			}
			if got, want := err.Error(), strings.TrimSpace(want); got != want {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			if strings.Contains(err.Error(), "MARKER") {
				t.Errorf("a secret is in the error")
			}
		})
	}
}

func TestCauseOfProblemCanBeFound(t *testing.T) {
	_, err := Load(with("REDIS_URL", "REDIS_URL_FILE=/nowhere/at/all"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
}
