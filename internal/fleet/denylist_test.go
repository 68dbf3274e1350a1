package fleet

// The deny list: who is on it, for how long, and that it survives the loss of Redis's data.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"roomgate/tests"
)

// names reads a list from Redis.
func names(t *testing.T, d *DenyList) []string {
	t.Helper()
	all, err := d.All(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	found := []string{}
	for _, line := range all {
		found = append(found, line.Name)
	}
	return found
}

func TestEveryReplicaLearnsWhoIsDenied(t *testing.T) {
	t.Parallel()
	all := replicas(t, 2, sharedRedis(t), Options{})
	writer, reader := NewDenyList(all[0]), NewDenyList(all[1])
	if !reader.Empty() || reader.Has("a") {
		t.Error("somebody is denied at the start")
	}
	for name, ttl := range map[string]time.Duration{"b": 0, "a": time.Hour} {
		if err := writer.Deny(t.Context(), name, ttl); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the other replica knows", func() bool { return reader.Has("x", "a") && reader.Has("b") })
	if got := names(t, reader); !slices.Equal(got, []string{"a", "b"}) || reader.Has("x") || reader.Empty() {
		t.Errorf("%q are denied", got)
	}
	for range 2 { // the second time it isn't on the list
		if err := writer.Allow(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the other replica knows", func() bool { return !reader.Has("b") })
	if got := names(t, reader); !slices.Equal(got, []string{"a"}) {
		t.Errorf("%q are denied", got)
	}
}

func TestADenialEndsByRedissClock(t *testing.T) {
	t.Parallel()
	server, began := unitRedis(t), time.Now().Add(-time.Hour)
	server.SetTime(began)
	d := NewDenyList(replicas(t, 1, server.Addr(), Options{})[0])
	if err := d.Deny(t.Context(), "a", time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		after  time.Duration
		denied bool
	}{{time.Minute - time.Second, true}, {time.Minute, false}} {
		server.SetTime(began.Add(tt.after))
		if got := slices.Contains(names(t, d), "a"); got != tt.denied || d.Has("a") != tt.denied {
			t.Errorf("after %v: denied is %v, want %v", tt.after, got, tt.denied)
		}
	}
}

// After a flush the replicas have the only copy, in memory.
func TestALostDenyListIsGivenBackToRedis(t *testing.T) {
	t.Parallel()
	server := ownRedis(t)
	on := replicas(t, 1, server.Addr, Options{})[0]
	d := NewDenyList(on)
	if err := d.Deny(t.Context(), "a", 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is known", func() bool { return d.Has("a") })
	if err := on.client.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is in Redis again", func() bool { return on.client.ZCard(t.Context(), d.keys()[0]).Val() == 1 })
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.All(t.Context()); err == nil || !d.Has("a") {
		t.Errorf("without Redis: denied is %v, error %v", d.Has("a"), err)
	}
}

func TestADenyListWithoutRedisIsEmpty(t *testing.T) {
	t.Parallel()
	d := NewDenyList(nil)
	if !d.Empty() || d.Has("a") {
		t.Error("somebody is denied")
	}
	if err := d.Deny(t.Context(), "a", 0); !errors.Is(err, ErrOutage) {
		t.Errorf("deny: %v", err)
	}
	if _, err := d.All(t.Context()); !errors.Is(err, ErrOutage) {
		t.Errorf("all: %v", err)
	}
}

// After a failover Redis may lack the newest denials.
func TestTheNewerDenyListWins(t *testing.T) {
	t.Parallel()
	var logged lockedBuffer
	all := replicas(t, 2, sharedRedis(t), Options{Log: slog.New(slog.NewJSONHandler(&logged, nil))})
	client, d := all[0].client, NewDenyList(all[0])
	deny := func(name string) {
		t.Helper()
		if err := d.Deny(t.Context(), name, 0); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is known", func() bool { return d.Has(name) })
	}
	keys := d.keys()
	deny("old")
	older := client.Get(t.Context(), keys[1]).Val()
	deny("new")
	if err := errors.Join(client.ZRem(t.Context(), keys[0], "new").Err(), client.Set(t.Context(), keys[1], older, 0).Err()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is in Redis again", func() bool { return client.ZScore(t.Context(), keys[0], "new").Err() == nil })
	eventually(t, "it is told", func() bool { return strings.Contains(logged.String(), `"event":"deny_list_restored"`) })
	tests.Audit(t, logged.String())
	other := NewDenyList(all[1])
	eventually(t, "another replica learns of both", func() bool { return other.Has("old") && other.Has("new") })
	if !d.Has("new") {
		t.Error("the newest denial has gone")
	}
	deny("newest")
}

func TestALargeDenyListIsReadOnceAndChangedBySmallReads(t *testing.T) {
	tests.Long(t)
	const entries = 100_000
	r := replicas(t, 1, sharedRedis(t), Options{})[0]
	pipe := r.client.Pipeline()
	keys := (&DenyList{use: r.Use("deny list", "deny:v1:")}).keys()
	for i := range entries {
		pipe.ZAdd(t.Context(), keys[0], redis.Z{Member: fmt.Sprintf("sub:%08d-0000-4000-8000-%012d", i, i)})
	}
	pipe.Set(t.Context(), keys[1], "1700000000000000", 0)
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	var read atomic.Int64
	r.client.AddHook(hook{after: func(cmd redis.Cmder) {
		if reply, ok := cmd.(*redis.Cmd); ok && runs(cmd, denyLoadScript) {
			read.Add(int64(len(fmt.Sprint(reply.Val()))))
		}
	}})
	before := heap()
	d := NewDenyList(r)
	eventually(t, "all are known", func() bool { return d.size.Load() == entries })
	each := (heap() - before) / entries
	t.Logf("%d bytes an entry", each)
	if each > 150 {
		t.Errorf("%d bytes an entry", each)
	}
	read.Store(0)
	if err := d.Deny(t.Context(), "sub:new", 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the change is known", func() bool { return d.Has("sub:new") })
	if n := read.Load(); n > 4096 {
		t.Errorf("%d bytes were read for a change", n)
	}
	flushed := errors.Join(r.client.Del(t.Context(), keys...).Err())
	eventually(t, "all is given back", func() bool { return r.client.ZCard(t.Context(), keys[0]).Val() == entries+1 })
	if flushed != nil || !d.Has("sub:new") {
		t.Error("lost")
	}
}

// heap returns the bytes in use after a garbage collection.
func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestAReplicaThatMissedManyChangesReadsTheWholeList(t *testing.T) {
	t.Parallel()
	all := replicas(t, 2, sharedRedis(t), Options{})
	d := &DenyList{redis: all[0], use: all[0].Use("deny list", "deny:v1:")} // looks only when the test calls refresh
	writer := &DenyList{redis: all[1], use: all[1].Use("deny list", "deny:v1:")}
	change := func(change func(context.Context, string) error, names ...string) {
		t.Helper()
		for _, name := range names {
			if err := change(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
	deny := func(ctx context.Context, name string) error { return writer.Deny(ctx, name, 0) }
	change(deny, "a", "b:c")
	if got := names(t, d); !slices.Equal(got, []string{"a", "b:c"}) {
		t.Errorf("%q at first", got)
	}
	change(writer.Allow, "a", "b:c")
	change(deny, "d:e")
	if got := names(t, d); !slices.Equal(got, []string{"d:e"}) {
		t.Errorf("%q after changes", got)
	}
	change(deny, "f", "g")
	if err := all[1].client.ZRemRangeByRank(t.Context(), d.keys()[2], 0, -2).Err(); err != nil {
		t.Fatal(err)
	}
	if got := names(t, d); !slices.Equal(got, []string{"d:e", "f", "g"}) {
		t.Errorf("%q after changes that are gone", got)
	}
}
