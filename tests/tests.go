// Package tests decides which tests a run leaves out: those that need a program that isn't installed, and those that are too long
// for every run. Its own test prints the last line of a run: how many tests were left out, and how to run them.
//
// With ROOMGATE_TESTS=all nothing is left out: every case of every test runs, and a missing program is a failure.
//
// The package also checks audit events in logs against their published schema.
package tests

import (
	"os"
	"os/exec"
	"testing"
)

// Variable is the environment variable that makes every test run if it is "all".
const Variable = "ROOMGATE_TESTS"

// Whole reports whether this run includes everything. If not, a test with many cases of one kind runs one case of each kind.
func Whole() bool { return os.Getenv(Variable) == "all" }

// Long skips t unless this run includes everything. Call it first in a test that is too long for every run.
func Long(t testing.TB) {
	t.Helper()
	if !Whole() {
		t.Skip("long: runs with " + Variable + "=all")
	}
}

// Need skips t if one of the programs is not on PATH. If this run includes everything, it fails t instead.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		if Whole() {
			t.Fatal(program + " is not installed")
		}
		t.Skip(program + " is not installed")
	}
}
