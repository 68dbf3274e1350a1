package main

// The memory of many connections and members stays within bounds. docs/operations.md says what each of them takes.

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"roomgate/tests"
)

const (
	idleKiB      = 40 // for each connection
	membersAsked = 60_000
	membersMiB   = 160 // for all of them, who are remembered, with garbage
)

// resident returns the process's resident memory in bytes.
func resident(t *testing.T, r *replica) float64 {
	t.Helper()
	for line := range strings.SplitSeq(get(t, newClient(t), r.admin+"/metrics", "").body, "\n") {
		if value, ok := strings.CutPrefix(line, "process_resident_memory_bytes "); ok {
			bytes, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return bytes
		}
	}
	t.Fatal("no process_resident_memory_bytes")
	return 0
}

func TestManyIdleConnectionsStayWithinBounds(t *testing.T) {
	t.Parallel()
	idleConnections := 1_000
	if tests.Whole() {
		idleConnections = 5_000 // each needs two descriptors; more would come near the usual hard limit
	}
	withoutRaceDetector(t)
	stands := newStands(t)
	r, _ := startProcess(t, append(settings(stands, newRedis(t).Addr), "MEMBER_RATE_LIMIT=0"))
	token, addr := stands.Glory.MintToken("1", time.Hour), strings.TrimPrefix(r.url, "http://")
	get(t, newClient(t), r.url+"/v1/info", token).want(t, 200)
	before := resident(t, r)
	for range idleConnections {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET /v1/info HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer %s\r\n\r\n", token)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || answer.StatusCode != 200 {
			t.Fatalf("%v, %v", answer, err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
	}
	each := (resident(t, r) - before) / float64(idleConnections) / 1024
	t.Logf("%.1f KiB for each idle connection", each)
	if each > idleKiB {
		t.Errorf("%.1f KiB for each idle connection, want %d at most", each, idleKiB)
	}
}

func TestManyMembersStayWithinBounds(t *testing.T) {
	tests.Long(t)
	withoutRaceDetector(t)
	stands := newStands(t)
	r, _ := startProcess(t, append(settings(stands, newRedis(t).Addr), "MEMBER_RATE_LIMIT=0", "INTERWATER_ALLOW=member.sub == '0'"))
	client := newClient(t)
	if a, err := call(t.Context(), client, http.MethodPut, r.admin+"/loglevel?level=error", "", ""); err != nil || a.status != 200 {
		t.Fatalf("%v, %v", a, err)
	}
	before := resident(t, r)
	for i := range membersAsked {
		get(t, client, r.url+"/v1/info", stands.Glory.MintToken(strconv.Itoa(i+1), time.Hour)).want(t, 403)
	}
	grown := (resident(t, r) - before) / (1 << 20)
	t.Logf("%.0f MiB for the tokens of %d members", grown, membersAsked)
	if grown > membersMiB {
		t.Errorf("%.0f MiB for the tokens of %d members, want %d at most", grown, membersAsked, membersMiB)
	}
}
