package main

// Short runs of the whole fleet, and the account of a chaos run.

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"roomgate/tests"
)

// freeBase returns a base below the kernel's port range from which all ports of the fleet are free.
func freeBase(t *testing.T) int {
	t.Helper()
	free := func(port int) bool {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			l.Close()
		}
		return err == nil
	}
next:
	for base := 20000; base < 32000; base += 50 {
		for port := base; port < base+portAdmin+replicas; port++ {
			if !free(port) {
				continue next
			}
		}
		return base
	}
	t.Fatal("no free ports")
	return 0
}

func TestAFleetIsRestartedUnderLoadAndLeavesNothingBehind(t *testing.T) {
	tests.Long(t)
	tests.Need(t, "haproxy", "redis-server")
	t.Parallel()
	base := freeBase(t)
	file := filepath.Join(t.TempDir(), "result.md")
	if err := os.WriteFile(file, []byte("<!-- restart: begin -->\n<!-- restart: end -->\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, progress bytes.Buffer
	args := []string{"-base", fmt.Sprint(base), "-restart", "1", "-rate", "50", "-requests", "500", "-write", file}
	if err := run(ctx, args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s%s", err, &progress, &out)
	}
	if n := strings.Count(progress.String(), "has been restarted"); n != replicas {
		t.Errorf("%d restarts:\n%s", n, &progress)
	}
	if written, err := os.ReadFile(file); err != nil || !strings.Contains(string(written), "1 rounds") {
		t.Errorf("written is %v:\n%s", err, written)
	}
	for port := base; port < base+portAdmin+replicas; port++ {
		if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			conn.Close()
			t.Errorf("somebody still listens on %d", port)
		}
	}
}

// Failures during an outage of an upstream are shown, but only those outside outages break a promise.
func TestTheAccountKeepsOutagesApart(t *testing.T) {
	began := time.Now()
	at := func(s float64) time.Time { return began.Add(time.Duration(s * float64(time.Second))) }
	e := episode{from: at(0), mended: at(5), to: at(20), authCalls: 9, inVain: 7}
	e.event = event{name: "the token endpoint fails", upstream: true}
	before := episode{event: event{name: "Redis is flushed"}, from: at(-20), to: at(0)}
	list := []sample{
		{due: at(-21), failure: "from before the first event"},
		{due: at(-0.1), took: time.Second, failure: "under way when the outage began"},
		{due: at(1), failure: "503"}, {due: at(7.9), failure: "503"},
	}
	for i := range 2000 {
		list = append(list, sample{due: at(8.1 + float64(i)/200)})
	}
	table, err := account([]episode{before, e}, list, options{})
	if err != nil || !strings.Contains(table, "| 2000 | 0 | 100.000 % |") || !strings.Contains(table, "| 3 of 3 | 7 |") {
		t.Errorf("%v\n%s", err, table)
	}
	if !strings.Contains(table, "3 of 2003 requests failed") || !strings.Contains(table, "9 calls") {
		t.Errorf("the outage is not counted in:\n%s", table)
	}
	for s := range 3 {
		list = append(list, sample{due: at(15 + float64(s)), failure: "502"})
	}
	e.authCalls = 30
	if _, err = account([]episode{before, e}, list, options{}); err == nil ||
		!strings.Contains(err.Error(), "99.850 %") || !strings.Contains(err.Error(), "calls of v1/auth") {
		t.Errorf("three failures of two thousand and six calls too many are said to be %v", err)
	}
}

// Failures are excused only while an upstream can't answer. A gateway has to survive the loss of a replica or of Redis.
func TestTheAccountExcusesFailuresForWantOfAnUpstreamAlone(t *testing.T) {
	began := time.Now()
	for _, away := range []bool{true, false} {
		e := episode{event: event{name: "Redis is killed", upstream: away}, from: began, mended: began.Add(broken), to: began.Add(eventEvery)}
		list := []sample{{due: began.Add(broken / 2), failure: "503"}}
		table, err := account([]episode{e}, list, options{})
		if (err == nil) != away || strings.Contains(table, "Failures outside outages: none.") != away {
			t.Errorf("upstream away %v: %v\n%s", away, err, table)
		}
	}
}

func TestAnUpgradeAndTheWayBackFailNoRequest(t *testing.T) {
	tests.Long(t)
	tests.Need(t, "git", "haproxy", "redis-server", "tar")
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute) // the previous version has to be compiled
	defer cancel()
	if exec.CommandContext(ctx, "git", "cat-file", "-e", previous+"^{commit}").Run() != nil {
		t.Skip("the previous version isn't in this clone, which is shallow")
	}
	var out, progress bytes.Buffer
	args := []string{"-base", fmt.Sprint(freeBase(t)), "-upgrade", "-rate", "50"}
	if err := run(ctx, args, &out, &progress); err != nil {
		t.Fatalf("%v\n%s%s", err, &progress, &out)
	}
	for program, name := range map[string]string{"today's": "gateway", "the previous": "gateway-previous"} {
		if n := strings.Count(progress.String(), "is "+name+" now"); n != replicas {
			t.Errorf("%d replicas have come to %s version:\n%s", n, program, &progress)
		}
	}
	t.Log(out.String())
}
