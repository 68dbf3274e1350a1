package main

// This file sets the garbage collector up for a proxy: short-lived garbage beside little that lives.

import (
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// gcPercent lets the heap grow to three times what lives before it is collected: half the collections for some MiB.
	gcPercent = 200
	// memoryShare of a container's memory is the collector's soft limit; the rest is for stacks and the kernel's buffers.
	memoryShare = 0.8
)

// tuneMemory applies what GOGC and GOMEMLIMIT in environ don't say.
func tuneMemory(environ []string) {
	set := make(map[string]bool)
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		set[name] = value != ""
	}
	if !set["GOGC"] {
		debug.SetGCPercent(gcPercent)
	}
	if !set["GOMEMLIMIT"] {
		// Without a container, or where its limit can't be read, there is none.
		_, _ = memlimit.Set(memlimit.WithRatio(memoryShare), memlimit.WithProvider(memlimit.FromCgroup), memlimit.WithLogger(slog.New(slog.DiscardHandler)))
	}
}
