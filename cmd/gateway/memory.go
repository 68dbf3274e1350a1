package main

// A proxy makes much short-lived garbage and keeps little. The garbage collector is set up for that.

import (
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

const (
	// gcPercent lets the heap grow to two and a half times the live data before a collection. That saves a third of the collections,
	// for some MiB.
	gcPercent = 150
	// memoryShare of the container's memory is the soft limit for Go's heap and stacks. The rest is for the kernel's buffers.
	memoryShare = 0.8
)

// tuneMemory sets the collector's limits unless GOGC or GOMEMLIMIT in environ set them.
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
		// On an error there is no limit: this is no container, or its limit can't be read.
		_, _ = memlimit.Set(memlimit.WithRatio(memoryShare), memlimit.WithProvider(memlimit.FromCgroup), memlimit.WithLogger(slog.New(slog.DiscardHandler)))
	}
}
