package main

// All cases of h2spec over TLS: the catalogue's row D11. .ci/run installs the program, which is not part of this module.

import (
	"context"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"roomgate/tests"
)

// h2specKnown are the cases that fail with every Go server: 4.2.3, 6.5.3.1, 8.1.2.2.1 and 8.1.2.2.2.
var h2specKnown = []string{
	"3: Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE",
	"1: Sends multiple values of SETTINGS_INITIAL_WINDOW_SIZE",
	"1: Sends a HEADERS frame that contains the connection-specific header field",
	`2: Sends a HEADERS frame that contains the TE header field with any value other than "trailers"`,
}

func TestH2specFailsWhereGoItselfDoesAlone(t *testing.T) {
	tests.Long(t)
	tests.Need(t, "h2spec")
	s := newTLSArena(t)
	host, port, _ := net.SplitHostPort(s.addr())
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "h2spec", "--strict", "--tls", "--insecure", "--host", host, "--port", port, "--path", "/public-api/v1/health")
	out, _ := command.CombinedOutput() // its exit status is 1 if a case fails
	if !strings.Contains(string(out), "146 tests, ") {
		t.Fatalf("it didn't come to its end: %s", out)
	}
	_, failures, _ := strings.Cut(string(out), "Failures:")
	for line := range strings.Lines(failures) {
		if _, name, failed := strings.Cut(line, "× "); failed && !slices.Contains(h2specKnown, strings.TrimSpace(name)) {
			t.Errorf("%s", name)
		}
	}
	t.Logf("%s", strings.TrimSpace(failures[strings.LastIndex(failures, "146 tests"):]))
	s.retired(t)
}
