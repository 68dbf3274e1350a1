package main

import (
	"context"
	"crypto/fips140"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
)

func runVersion(_ context.Context, args, _ []string, stdout, stderr io.Writer) error {
	if done, err := parseFlags(newFlags("version", stderr), args); done || err != nil {
		return err
	}
	v, c := build()
	fips := ""
	if fips140.Enabled() {
		fips = ", FIPS 140-3 " + fips140.Version()
	}
	_, err := fmt.Fprintf(stdout, "roomgate %s (commit %s, %s%s)\n", v, c, runtime.Version(), fips)
	return err
}

// build returns version and commit: those that the linker has set, else those that the Go command has recorded.
func build() (v, c string) {
	v, c = version, commit
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return orUnknown(v), orUnknown(c)
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && c == "" {
			c = s.Value
		}
	}
	if v == "" {
		v = info.Main.Version
	}
	return orUnknown(v), orUnknown(c)
}

func orUnknown(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}
