package main

// Replicas see each other through Redis, on each of their status pages.

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"roomgate/internal/tokencache"
)

// neighbours is how many replicas a replica knows, itself among them and first.
func neighbours(t *testing.T, r *replica) int {
	t.Helper()
	client := newClient(t)
	var status struct{ Replicas []struct{ Self bool } }
	if err := json.Unmarshal([]byte(get(t, client, r.admin+"/status", "").want(t, 200).body), &status); err != nil {
		t.Fatal(err)
	}
	n := len(status.Replicas)
	for i, x := range status.Replicas {
		if x.Self != (i == 0) {
			t.Errorf("of %+v the first, and no other, should be the replica itself", status.Replicas)
		}
	}
	return n
}

func TestReplicasSeeEachOtherUntilOneIsKilled(t *testing.T) {
	redisServer, stands := newRedis(t), newStands(t)
	f := startFleet(t, 3, settings(stands, redisServer.Addr))
	all := func(n int) func() bool {
		return func() bool {
			return !slices.ContainsFunc(f.replicas, func(r *replica) bool { return neighbours(t, r) != n })
		}
	}
	eventually(t, "each sees three", all(3))
	if text := get(t, newClient(t), f.replicas[0].admin+"/metrics", "").body; !strings.Contains(text, "\nroomgate_replicas 3\n") {
		t.Error("roomgate_replicas is not 3")
	}

	if err := f.processes[2].Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	f.replicas = f.replicas[:2]
	eventually(t, "the killed one is gone", all(2))
	took := time.Since(killed)
	t.Logf("gone after %v", took)
	if took > tokencache.RosterDelay+2*time.Second {
		t.Errorf("it was listed for %v", took)
	}

	f.replicas[1].stop() // in good order: it leaves at once
	if err := f.replicas[1].ended(); err != nil {
		t.Fatal(err)
	}
	left := time.Now()
	f.replicas = f.replicas[:1]
	eventually(t, "the stopped one is gone", all(1))
	if took := time.Since(left); took > 6*time.Second {
		t.Errorf("who left was listed for %v", took)
	}

	if err := redisServer.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "without Redis nobody is seen", all(0))
	if err := redisServer.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is seen again", all(1))
}

func TestTheRosterWorksOnAClusterAndBehindASentinel(t *testing.T) {
	for mode, url := range map[string]func() string{
		"cluster": func() string { return newCluster(t).url() }, "sentinel": func() string { return newSentinel(t).url() },
	} {
		stands := newStands(t)
		environ := settings(stands, "", "REDIS_MODE="+mode, "REDIS_URL="+url())
		first, second := startReplica(t, environ), startReplica(t, environ)
		eventually(t, fmt.Sprint("two on a ", mode), func() bool { return neighbours(t, first) == 2 && neighbours(t, second) == 2 })
	}
}
