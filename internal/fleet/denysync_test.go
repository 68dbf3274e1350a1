package fleet

// No denial is lost if Redis loses the list and somebody changes the rest of it. A long list can be read while it changes.

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// still returns a list that looks in Redis only when the test calls refresh.
func still(r *Redis) *DenyList { return &DenyList{redis: r, use: r.Use("deny list", "deny:v1:")} }

// A member who logs out right after a flush starts a new list. It must not replace the list that the replicas know.
func TestAChangeAfterALossLosesNothing(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*testing.T, redis.UniversalClient, *DenyList){
		"flush": func(t *testing.T, client redis.UniversalClient, _ *DenyList) {
			if err := client.FlushAll(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		},
		"failover": func(t *testing.T, client redis.UniversalClient, d *DenyList) {
			keys := d.keys()
			older := strings.Split(client.ZRange(t.Context(), keys[2], -1, -1).Val()[0], ":")[1] // the version before the last one
			if err := errors.Join(client.ZRem(t.Context(), keys[0], "b").Err(), client.Set(t.Context(), keys[1], older, 0).Err(),
				client.ZRemRangeByRank(t.Context(), keys[2], -1, -1).Err()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := replicas(t, 4, ownRedis(t).Addr, Options{})
			first, second, third, writer := still(all[0]), still(all[1]), still(all[2]), still(all[3])
			for _, denied := range []string{"a", "b"} {
				if err := writer.Deny(t.Context(), denied, time.Hour); err != nil {
					t.Fatal(err)
				}
			}
			for _, d := range []*DenyList{first, second} {
				names(t, d)
			}
			lose(t, all[0].client, first)
			if err := writer.Deny(t.Context(), "c", 0); err != nil {
				t.Fatal(err)
			}
			for who, d := range map[string]*DenyList{"who knew": first, "who knew too": second, "who has just started": third} {
				names(t, d)
				if d == third { // it may have looked before the others wrote anything back
					names(t, first)
				}
				if got := names(t, d); !slices.Equal(got, []string{"a", "b", "c"}) {
					t.Errorf("%s: %q are denied", who, got)
				}
			}
			if err := writer.Allow(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			if got := names(t, first); !slices.Equal(got, []string{"b", "c"}) {
				t.Errorf("after one was allowed: %q", got)
			}
		})
	}
}

// Members log out all the time, so a starting replica must not have to wait until nothing changes.
func TestALongListIsReadWhileItChanges(t *testing.T) {
	t.Parallel()
	all := replicas(t, 2, sharedRedis(t), Options{})
	d, writer := still(all[0]), still(all[1])
	const entries = 3 * denyPage
	pipe := all[1].client.Pipeline()
	for i := range entries {
		pipe.ZAdd(t.Context(), d.keys()[0], redis.Z{Member: fmt.Sprint("name ", i)})
	}
	pipe.Set(t.Context(), d.keys()[1], "1700000000000000", 0)
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	pages := 0
	all[0].client.AddHook(hook{after: func(cmd redis.Cmder) {
		if runs(cmd, denyLoadScript) {
			pages++
			if err := errors.Join(writer.Deny(t.Context(), fmt.Sprint("new ", pages), 0), writer.Allow(t.Context(), fmt.Sprint("name ", pages))); err != nil {
				t.Error(err)
			}
		}
	}})
	if err := d.refresh(t.Context()); err != nil || pages < 3 {
		t.Fatalf("%d pages: %v", pages, err)
	}
	read := pages
	if err := d.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= read; i++ {
		if !d.Has(fmt.Sprint("new ", i)) || d.Has(fmt.Sprint("name ", i)) {
			t.Errorf("change %d of %d is missing", i, read)
		}
	}
	if got := d.size.Load(); got != entries {
		t.Errorf("%d names, want %d", got, entries)
	}
}

func TestAListMayHaveABound(t *testing.T) {
	t.Parallel()
	d := still(replicas(t, 1, sharedRedis(t), Options{})[0])
	for _, name := range []string{"a", "b", "a"} {
		if err := d.Add(t.Context(), name, time.Hour, 2); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := d.Add(t.Context(), "c", time.Hour, 2); !errors.Is(err, ErrFull) {
		t.Errorf("a third: %v", err)
	}
	if err := d.Deny(t.Context(), "operator's", 0); err != nil {
		t.Error(err)
	}
	if got := names(t, d); !slices.Equal(got, []string{"a", "b", "operator's"}) {
		t.Errorf("%q are denied", got)
	}
}

func TestTheEndOfADenialIsKnown(t *testing.T) {
	t.Parallel()
	d := still(replicas(t, 1, sharedRedis(t), Options{})[0])
	if _, ok := d.Until("a"); ok || d.Changes() != 0 {
		t.Error("denied at the start")
	}
	if err := errors.Join(d.Deny(t.Context(), "a", time.Hour), d.Deny(t.Context(), "b", 0), d.Deny(t.Context(), "c", time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the third has ended", func() bool { return !slices.Contains(names(t, d), "c") })
	if end, ok := d.Until("a"); !ok || time.Until(end).Round(time.Minute) != time.Hour {
		t.Errorf("a: %v %v", end, ok)
	}
	if end, ok := d.Until("b"); !ok || !end.IsZero() {
		t.Errorf("b: %v %v", end, ok)
	}
	if _, ok := d.Until("c"); ok {
		t.Error("c is denied after its end")
	}
	told := time.Now().Add(time.Minute).Truncate(time.Millisecond)
	for _, end := range []time.Time{told, told.Add(-time.Second)} { // the earlier one changes nothing
		if err := d.AddUntil(t.Context(), "d", end, 0); err != nil {
			t.Fatal(err)
		}
	}
	names(t, d)
	if end, ok := d.Until("d"); !ok || !end.Equal(told) {
		t.Errorf("d: %v %v, want %v", end, ok, told)
	}
	before := d.Changes()
	if names(t, d); d.Changes() != before || before == 0 {
		t.Errorf("%d changes, then %d", before, d.Changes())
	}
}
