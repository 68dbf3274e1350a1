package main

// Replicas see each other through Redis, on each of their status pages.

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"roomgate/internal/fleet"
	"roomgate/internal/ops"
	"roomgate/internal/sandbox"
	"roomgate/tests"
)

// neighbours returns how many replicas a replica lists. It fails the test unless the replica itself is the first.
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

// eachSees reports whether every replica lists n replicas.
func eachSees(t *testing.T, replicas []*replica, n int) bool {
	t.Helper()
	return !slices.ContainsFunc(replicas, func(r *replica) bool { return neighbours(t, r) != n })
}

func TestReplicasSeeEachOtherUntilOneLeaves(t *testing.T) {
	t.Parallel()
	server := newRedis(t)
	environ := settings(newStands(t), server.Addr)
	stays, leaves := startReplica(t, environ), startReplica(t, environ)
	eventually(t, "each sees two", func() bool { return eachSees(t, []*replica{stays, leaves}, 2) })
	if text := get(t, newClient(t), stays.admin+"/metrics", "").body; !strings.Contains(text, "\nroomgate_replicas 2\n") {
		t.Error("roomgate_replicas is not 2")
	}
	leaves.stop()
	if err := leaves.ended(); err != nil {
		t.Fatal(err)
	}
	direct := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer direct.Close()
	if listed, err := direct.ZCard(t.Context(), "roomgate:replicas").Result(); listed != 1 || err != nil { // a killed replica would stay for longer
		t.Errorf("Redis lists %d replicas after one has left (%v)", listed, err)
	}
	eventually(t, "the replica that left is gone", func() bool { return neighbours(t, stays) == 1 })
}

// The status page of one replica shows what members get from the others.
func TestEachReplicaTellsTheOthersWhatItsMembersGet(t *testing.T) {
	t.Parallel()
	server, stands, client := newRedis(t), newStands(t), newClient(t)
	environ := settings(stands, server.Addr, "MEMBER_RATE_LIMIT=0", "ROOM_COALESCE=false")
	looks, fails := startReplica(t, environ), startReplica(t, environ)
	startReplica(t, append(environ, "ADMIN_ADDR="))
	stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Status: 503})
	token := stands.Glory.MintToken("1", time.Hour)
	other := func() *ops.Figures {
		get(t, client, fails.url+"/v1/info", token).want(t, 503)
		for _, r := range statusOf(t, looks).Replicas {
			if r.Figures != nil && !r.Self {
				return r.Figures
			}
		}
		return &ops.Figures{}
	}
	eventually(t, "the failed answers are seen from elsewhere", func() bool { f := other(); return f.Level == "down" && f.Failed >= 3 && f.Rate > 0 })
	s := statusOf(t, looks)
	if f := s.Replicas[0].Figures; f == nil || f.Answered != 0 || f.Level != "" || !s.ReplicasKnown {
		t.Errorf("the one that is asked: %+v", s.Replicas[0])
	}
	eventually(t, "all three are listed", func() bool { return neighbours(t, looks) == 3 })
	without := slices.DeleteFunc(statusOf(t, looks).Replicas, func(r ops.Replica) bool { return r.Figures != nil })
	if len(without) != 1 {
		t.Errorf("%d replicas tell nothing, want the one without an operations listener", len(without))
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is said that the others can't be seen", func() bool { return !statusOf(t, looks).ReplicasKnown })
	if list := statusOf(t, looks).Replicas; len(list) != 1 || list[0].Host == "" || list[0].Figures == nil {
		t.Errorf("without Redis: %+v", list)
	}
}

// Without an operations listener nobody can see the history, so it isn't gathered.
func TestNothingIsGatheredThatNobodyCanSee(t *testing.T) {
	t.Parallel()
	stands, server := newStands(t), newRedis(t)
	for _, tt := range []struct {
		admin    string
		gathered bool
	}{{"ADMIN_ADDR=", false}, {"ADMIN_ADDR=127.0.0.1:0", true}} {
		r, process := startProcess(t, settings(stands, server.Addr, tt.admin))
		process.Signal(syscall.SIGQUIT) // the runtime prints what every goroutine does
		_ = r.ended()
		if dump := r.log.String(); !strings.Contains(dump, "roomgate/internal/fleet.(*Roster).follow") ||
			strings.Contains(dump, "roomgate/internal/ops.(*History).Run") != tt.gathered {
			t.Errorf("%s: gathered is not %v:\n%s", tt.admin, tt.gathered, dump[:min(len(dump), 2000)])
		}
	}
}

func TestAKilledReplicaIsSeenNoMore(t *testing.T) {
	tests.Long(t)
	t.Parallel()
	redisServer := newRedis(t)
	f := startFleet(t, 3, settings(newStands(t), redisServer.Addr))
	eventually(t, "each sees three", func() bool { return eachSees(t, f.replicas, 3) })
	if err := f.processes[2].Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	f.replicas = f.replicas[:2]
	eventually(t, "the killed one is gone", func() bool { return eachSees(t, f.replicas, 2) })
	if took := time.Since(killed); took > fleet.RosterDelay+2*time.Second {
		t.Errorf("it was listed for %v", took)
	}
	if err := redisServer.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "without Redis each sees itself", func() bool { return eachSees(t, f.replicas, 1) })
	if err := redisServer.Restart(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "they are seen again", func() bool { return eachSees(t, f.replicas, 2) })
}

func TestTheRosterWorksOnAClusterAndBehindASentinel(t *testing.T) {
	tests.Long(t)
	t.Parallel()
	for mode, url := range map[string]func() string{
		"cluster": func() string { return newCluster(t).url() }, "sentinel": func() string { return newSentinel(t).url() },
	} {
		environ := settings(newStands(t), "", "REDIS_MODE="+mode, "REDIS_URL="+url())
		both := []*replica{startReplica(t, environ), startReplica(t, environ)}
		eventually(t, fmt.Sprint("two on a ", mode), func() bool { return eachSees(t, both, 2) })
	}
}
