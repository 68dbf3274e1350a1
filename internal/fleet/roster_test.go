package fleet

// The roster: who is on it, for how long, and which entries are ignored. A dead Redis costs nothing.

import (
	"context"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// enlist puts a replica on the roster as a host.
func enlist(t *testing.T, on *Redis, host string) *Roster {
	t.Helper()
	r, err := NewRoster(on, Replica{Host: host, Version: "v1", Started: time.Now()}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, host+" is on its own roster", func() bool { return len(r.All()) > 0 })
	return r
}

// hosts takes a look and returns the hosts on the roster.
func hosts(t *testing.T, r *Roster) []string {
	t.Helper()
	if err := r.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, replica := range r.All() {
		names = append(names, replica.Host)
	}
	return names
}

func TestReplicasSeeEachOtherAndLeaveWhenTheyClose(t *testing.T) {
	t.Parallel()
	all := replicas(t, 3, sharedRedis(t), Options{})
	first := enlist(t, all[0], "c")
	enlist(t, all[1], "b")
	enlist(t, all[2], "a")
	if got, want := hosts(t, first), []string{"c", "a", "b"}; !slices.Equal(got, want) {
		t.Fatalf("the roster is %q, want itself first: %q", got, want)
	}
	for i, replica := range first.All() {
		if replica.Self != (i == 0) || replica.Version != "v1" ||
			time.Since(replica.Seen) > rosterKeep || time.Since(replica.Started) > time.Minute {
			t.Errorf("%+v", replica)
		}
	}
	all[1].Close()
	if got, want := hosts(t, first), []string{"c", "a"}; !slices.Equal(got, want) {
		t.Errorf("after one has left the roster is %q, want %q", got, want)
	}
}

// A new announcement must replace the last one, whatever has changed in it. Otherwise each replica would be listed many times.
func TestReplicasTellTheirFiguresAndHaveOneEntryEach(t *testing.T) {
	t.Parallel()
	all := replicas(t, 3, sharedRedis(t), Options{})
	var tells atomic.Pointer[Figures]
	told, err := NewRoster(all[0], Replica{Host: "tells"}, tells.Load, nil)
	if err != nil {
		t.Fatal(err)
	}
	reads := enlist(t, all[1], "reads")
	of := func(host string) *Figures {
		for _, name := range []*Roster{told, reads} {
			if err := name.refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		list := reads.All()
		i := slices.IndexFunc(list, func(r Replica) bool { return r.Host == host })
		if i < 0 || len(list) != 2 {
			t.Fatalf("the roster is %+v", list)
		}
		return list[i].Figures
	}
	if f := of("tells"); f != nil {
		t.Errorf("without figures: %+v", f)
	}
	for _, f := range []Figures{{Rate: 12.3456, Answered: 700, Failed: 7, Level: "down"}, {Rate: 1, Answered: 700, Failed: 0, Level: "risk"}, {}} {
		tells.Store(&f)
		if got := of("tells"); got == nil || got.Level != f.Level || got.Answered != f.Answered || got.Failed != f.Failed || math.Abs(got.Rate-f.Rate) > .001 {
			t.Errorf("%+v, want %+v", got, f)
		}
	}
	if f := of("reads"); f != nil {
		t.Errorf("of who tells none: %+v", f)
	}
	left := func() int64 { return all[2].client.ZCard(t.Context(), reads.key()).Val() }
	if n := left(); n != 2 {
		t.Errorf("%d entries of two replicas", n)
	}
	all[0].Close() // removes its last entry
	if n := left(); n != 1 {
		t.Errorf("%d entries after one has left", n)
	}
}

// Replicas of another version are on the same roster during a rollout.
func TestEntriesWithoutFiguresAndWithMoreAreRead(t *testing.T) {
	t.Parallel()
	for entry, want := range map[string]*Figures{
		`{"id":"A","version":"v0","host":"old","started":"2026-01-02T03:04:05Z"}`:                    nil,
		`{"id":"A","figures":{"rate":5,"answered":3,"failed":1,"level":"risk","more":{}},"newer":1}`: {5, 3, 1, "risk"},
		`{"id":"A","figures":{"rate":-5,"answered":1e300,"failed":2e300,"level":"<script>"}}`:        {0, 1e9, 1e9, ""},
		`{"id":"A","figures":{"answered":2,"failed":3}}`:                                             {0, 2, 2, ""},
	} {
		got, err := readReplica(entry, "5", time.Now())
		if err != nil || (got.Figures == nil) != (want == nil) || want != nil && *got.Figures != *want {
			t.Errorf("%s: %+v (%v), want %+v", entry, got.Figures, err, want)
		}
	}
	if _, err := readReplica(`{"id":"A","figures":{"rate":"many"}}`, "5", time.Now()); err == nil {
		t.Error("figures that are none are read")
	}
}

func TestAReplicaThatIsSilentVanishesAfterFifteenSeconds(t *testing.T) {
	t.Parallel()
	server := unitRedis(t)
	began := time.Now()
	server.SetTime(began)
	on := replicas(t, 1, server.Addr(), Options{Prefix: "p:"})[0]
	r := enlist(t, on, "here")
	dead, _ := json.Marshal(Replica{ID: "DEAD", Host: "dead", Version: "v1"})
	for _, tt := range []struct {
		silent time.Duration
		there  bool
	}{{0, true}, {rosterKeep - time.Millisecond, true}, {rosterKeep, false}, {-time.Millisecond, false}, {-time.Hour, false}} {
		announced := began.Add(time.Hour - tt.silent).UnixMilli()
		server.SetTime(began.Add(time.Hour))
		if _, err := server.ZAdd("p:replicas", float64(announced), string(dead)); err != nil {
			t.Fatal(err)
		}
		if got := slices.Contains(hosts(t, r), "dead"); got != tt.there {
			t.Errorf("silent for %v: on the roster is %v, want %v", tt.silent, got, tt.there)
		}
		if left, err := server.ZMembers("p:replicas"); err != nil || slices.Contains(left, string(dead)) != tt.there {
			t.Errorf("silent for %v: in Redis is %q (%v), want it there: %v", tt.silent, left, err, tt.there)
		}
	}
	if ttl := server.TTL("p:replicas"); ttl != rosterKeep {
		t.Errorf("the key lives for %v, want %v", ttl, rosterKeep)
	}
}

func TestWhatRedisSaysOfReplicasIsNotBelieved(t *testing.T) {
	t.Parallel()
	server := unitRedis(t)
	on := replicas(t, 1, server.Addr(), Options{Prefix: "p:"})[0]
	r := enlist(t, on, "here")
	own := r.All()[0]
	spoil := func(members ...string) {
		for _, m := range members {
			if _, err := server.ZAdd("p:replicas", float64(time.Now().Add(-time.Second).UnixMilli()), m); err != nil {
				t.Fatal(err)
			}
		}
	}
	spoil("", "garbage", "\xff\x00", `null`, `[]`, `{"id":""}`, `{"id":"<script>"}`, `{"id":"A B"}`, `{"id":7}`,
		`{"id":"`+strings.Repeat("A", 65)+`"}`, `{"id":"LONG","host":"`+strings.Repeat("x", rosterEntry)+`"}`,
		`{"id":"TIME","started":"never"}`, `{"id":"`+own.ID+`","host":"an impostor"}`)
	spoil(`{"id":"ODD","host":"\u0000\u001b[31m\u202ehost\ufffd` + strings.Repeat("é", 70) + `"}`)
	got := hosts(t, r)
	if want := []string{"here", "[31mhost" + strings.Repeat("é", 56)}; !slices.Equal(got, want) {
		t.Errorf("the roster is %q, want %q", got, want)
	}
	for i := range 3 * rosterMost {
		spoil(`{"id":"FLOOD` + strconv.Itoa(i) + `"}`)
	}
	if got := len(hosts(t, r)); got > rosterMost {
		t.Errorf("%d replicas are kept, want at most %d", got, rosterMost)
	}
}

// Redis answers with an error if the key has another type. If that counted as an outage, the circuit would never close.
func TestAForeignKeyInPlaceOfTheRosterIsReplaced(t *testing.T) {
	t.Parallel()
	on := replicas(t, 1, sharedRedis(t), Options{})[0]
	r := enlist(t, on, "here")
	if err := on.client.Set(t.Context(), r.key(), "foreign", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got := hosts(t, r); !slices.Equal(got, []string{"here"}) {
		t.Errorf("the roster is %q", got)
	}
	if err := r.use.Outage(); err != nil {
		t.Errorf("Redis is considered down: %v", err)
	}
	if ttl := on.client.PTTL(t.Context(), r.key()).Val(); ttl <= 0 || ttl > rosterKeep {
		t.Errorf("the key lives for %v", ttl)
	}
}

func TestADeadRedisEmptiesTheRosterAndIsNotAskedForIt(t *testing.T) {
	t.Parallel()
	server, registry := unitRedis(t), prometheus.NewRegistry()
	on := replicas(t, 1, server.Addr(), Options{Prefix: "p:"})[0]
	r, err := NewRoster(on, Replica{Host: "here"}, nil, registry)
	if err != nil {
		t.Fatal(err)
	}
	seen := func() float64 {
		families, err := registry.Gather()
		if err != nil || len(families) != 1 || families[0].GetName() != "roomgate_replicas" {
			t.Fatalf("%v %v", families, err)
		}
		return families[0].GetMetric()[0].GetGauge().GetValue()
	}
	eventually(t, "it sees itself", func() bool { return seen() == 1 })
	server.SetError("LOADING")
	_ = r.refresh(t.Context())
	if n := seen(); n != 0 || r.use.Outage() == nil {
		t.Errorf("%v replicas are seen although Redis is down", n)
	}
	on.client.AddHook(hook{before: func(_ context.Context, cmd redis.Cmder) error {
		if runs(cmd, rosterScript) {
			t.Error("the roster asks a dead Redis")
		}
		return nil
	}})
	if err := r.refresh(t.Context()); err == nil {
		t.Error("a look while Redis is down succeeded")
	}
	on.Close()
	revived(t, server)
}

// revived checks that the entry of a replica that closed without Redis ends by the key's TTL.
func revived(t *testing.T, server *miniredis.Miniredis) {
	t.Helper()
	server.SetError("")
	server.FastForward(rosterKeep)
	if server.Exists("p:replicas") {
		t.Error("the roster outlives its replicas")
	}
}

func TestARosterWithoutRedisIsEmpty(t *testing.T) {
	t.Parallel()
	r, err := NewRoster(nil, Replica{}, nil, nil)
	if err != nil || r.All() != nil {
		t.Errorf("%v %v", r.All(), err)
	}
}
