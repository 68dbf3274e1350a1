package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// stamp returns date and machine of a measurement.
func stamp() string {
	size := fmt.Sprintf("%d cores", runtime.NumCPU())
	if mem, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib int
		if _, err := fmt.Sscanf(string(mem), "MemTotal: %d kB", &kib); err == nil {
			size += fmt.Sprintf(", %d GiB", (kib+1<<19)>>20)
		}
	}
	today := time.Now().UTC().Format(time.DateOnly)
	return fmt.Sprintf("%s, %s for everything: members, HAProxy, gateways, Redis and stand-ins", today, size)
}

// replaceSection replaces the text between a section's markers in a Markdown file.
func replaceSection(file, name, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	begin, end := fmt.Sprintf("<!-- %s: begin -->\n", name), fmt.Sprintf("<!-- %s: end -->", name)
	before, rest, ok := strings.Cut(string(old), begin)
	_, after, also := strings.Cut(rest, end)
	if !ok || !also {
		return fmt.Errorf("write the result: %s has no section %q between markers", file, name)
	}
	if err := os.WriteFile(file, []byte(before+begin+text+"\n"+end+after), 0o644); err != nil { //nolint:gosec // a document
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
