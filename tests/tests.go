// Package tests decides which tests a run leaves out: those whose program isn't installed, and those that are too long for
// every run. Its own test, the last that go test prints, says in one line how many were left out and what brings them.
//
// It also holds log lines to the published schema of audit events, for the packages that write some.
//
// With ROOMGATE_TESTS=all nothing is left out: every case of every test runs, and a missing program is a failure.
package tests

import (
	"os"
	"os/exec"
	"testing"
)

// Variable is the environment variable that asks for every test when it is "all".
const Variable = "ROOMGATE_TESTS"

// Whole reports whether this run includes everything. A test with many cases of one kind runs a representative of each kind
// where it is false.
func Whole() bool { return os.Getenv(Variable) == "all" }

// Long skips t unless everything is to run. Call it first in a test that takes too long for every run.
func Long(t testing.TB) {
	t.Helper()
	if !Whole() {
		t.Skip("long: runs with " + Variable + "=all")
	}
}

// Need skips t where one of the programs is not on PATH, or fails it where everything is to run.
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
