package fleet

// This file tests the deny list: who is on it, for how long, and that it outlives Redis.

import (
	"errors"
	"slices"
	"testing"
	"time"
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

// What replicas hold in memory is the only copy after a flush.
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
