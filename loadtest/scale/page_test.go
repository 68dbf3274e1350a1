package main

// The tables of docs/scale.md are those that the model makes, and the model's constants those of the code.

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the tables into docs/scale.md")

const (
	page         = "../../docs/scale.md"
	tablesBegin  = "<!-- tables:begin -->\n"
	tablesEnd    = "\n<!-- tables:end -->"
	internal     = "../../internal/"
	howToRefresh = "docs/scale.md is not up to date: go test ./loadtest/scale -run TestScalePage -update"
)

func readText(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestScalePage(t *testing.T) {
	text := readText(t, page)
	before, rest, ok := strings.Cut(text, tablesBegin)
	_, after, ok2 := strings.Cut(rest, tablesEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has not both marks", page)
	}
	want := before + tablesBegin + tables() + tablesEnd + after
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if text != want {
		t.Error(howToRefresh)
	}
}

// Who changes one of these in the cache changes what a fleet costs: the model has to follow, and the page with it.
func TestTheConstantsAreTheCaches(t *testing.T) {
	for file, lines := range map[string][]string{
		"fleet/denylist.go":    {fmt.Sprintf("const denyPoll = %d * time.Millisecond\n", denyPoll.Milliseconds())},
		"fleet/roster.go":      {fmt.Sprintf("rosterEvery = %d * time.Second\n", int(rosterEvery.Seconds())), fmt.Sprintf("rosterMost  = %d ", rosterMost)},
		"tokencache/flight.go": {fmt.Sprintf("const pollEvery = %d * time.Millisecond\n", pollEvery.Milliseconds())},
		"tokencache/refresh.go": {
			fmt.Sprintf("advisoryShare, advisoryMost   = %d, %d * time.Minute", advisoryShare, int(advisoryMost.Minutes())),
			"spread := window / 5\n\tif window < 5*time.Second {\n\t\tspread = window / 20", "return window - spread + rand.N(2*spread+1)",
		},
		"fleet/wait.go": {"return d/2 + rand.N(d/2+1)"},
	} {
		text := readText(t, internal+file)
		for _, line := range lines {
			if !strings.Contains(text, line) {
				t.Errorf("%s no longer says %q: see what the model makes of it", file, line)
			}
		}
	}
}

func TestALicenseIsFetchedOnceForAllReplicas(t *testing.T) {
	for _, replicas := range []int{1, 2, 8, 1000} {
		f := typical()
		f.replicas = replicas
		if calls := 10 * f.cold().mean(auth); calls < 0.99 || calls > 1.01 {
			t.Errorf("%d replicas that start together make %v calls of v1/auth", replicas, calls)
		}
		b := f.refresh()
		if calls := b.mean(auth) * b.width.Seconds() * float64(len(b.counts)); calls < 0.99 || calls > 1.01 {
			t.Errorf("%d replicas refresh with %v calls of v1/auth", replicas, calls)
		}
	}
}

// A replica that starts finds every token in Redis with one look.
func TestADeployFetchesNothing(t *testing.T) {
	f := typical()
	f.licenses = 10
	b := f.deploy()
	seconds := b.width.Seconds() * float64(len(b.counts))
	if calls, looks := b.mean(auth)*seconds, b.mean(look)*seconds; calls > 0.01 || looks < 79.9 || looks > 80.1 {
		t.Errorf("%v calls of v1/auth and %v looks, want 0 and 80", calls, looks)
	}
}

// A sample of the licenses, scaled up, says what all of them would.
func TestASampleStandsForAll(t *testing.T) {
	all, some := typical(), typical()
	all.licenses, some.licenses, some.pairs = 2000, 2000, 1600
	for _, k := range []kind{auth, look, lock, store} {
		a, s := all.steady().mean(k), some.steady().mean(k)
		if s < 0.98*a || s > 1.02*a {
			t.Errorf("%s: %v a second of a sample, %v of all", k, s, a)
		}
	}
}

func TestALineBeforeRedisGrowsAndDrains(t *testing.T) {
	b := newBins(0, time.Second, 10*time.Millisecond)
	b.add(look, 0, 10_000)
	want := time.Duration(10_000 * costLook * float64(time.Microsecond))
	if got := b.wait(1); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	b.add(look, 900*time.Millisecond, 10_000)
	if got := b.wait(1); got != want {
		t.Errorf("%v after it has drained, want %v", got, want)
	}
}
