package tokencache

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStatusFollowsTheStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options{}), newKey(t, "s")
		iss := &issuer{life: 1000 * time.Second, takes: time.Second}
		at := func(when string, want Status) {
			t.Helper()
			want.Labels = []string{"main", "first"}
			got := c.Status()
			if failing := want.LastError != ""; len(got) == 1 && failing == (got[0].NextTry > 0) {
				want.NextTry = got[0].NextTry // drawn at random
			}
			if len(got) != 1 || !reflect.DeepEqual(got[0], want) {
				t.Errorf("%s: %+v, want %+v", when, got, want)
			}
		}
		if got := c.Status(); len(got) != 0 {
			t.Errorf("at the start: %+v", got)
		}
		go func() { _, _, _ = c.Token(t.Context(), k, iss.fetch) }()
		synctest.Wait()
		at("during the first fetch", Status{State: StateEmpty})
		time.Sleep(time.Second)
		synctest.Wait()
		at("after it", Status{State: StateFresh, Age: time.Second, ExpiresIn: 998 * time.Second})
		iss.fail(failure(Throttled))
		time.Sleep(798 * time.Second)
		synctest.Wait()
		if s := c.Status()[0]; s.State != StateFresh || s.ExpiresIn != 200*time.Second || s.Age != 799*time.Second {
			t.Errorf("at the edge: %+v", s)
		}
		take(t, c, k, iss.fetch)
		for _, edge := range []struct {
			left  time.Duration
			state string
		}{{142 * time.Second, StateFresh}, {141 * time.Second, StateDue}} { // a seventh of the life, less the margin
			time.Sleep(c.Status()[0].ExpiresIn - edge.left)
			if s := c.Status()[0]; s.State != edge.state {
				t.Errorf("%v before expiry: %+v", edge.left, s)
			}
		}
		time.Sleep(41 * time.Second)
		at("while refreshes fail", Status{State: StateDue, LastError: string(Throttled), Age: 899 * time.Second, ExpiresIn: 100 * time.Second})
		take(t, c, k, iss.fetch)
		time.Sleep(100 * time.Second)
		denied(t, Throttled, c, k, iss.fetch)
		at("expired, and still failing", Status{State: StateFailing, LastError: string(Throttled)})
		iss.fail(nil)
		time.Sleep(5 * time.Second)
		if s := c.Status()[0]; s.State != StateFresh || s.LastError != "" {
			t.Errorf("recovered: %+v", s)
		}
	})
}

func TestStatusIsSortedByLabels(t *testing.T) {
	c := newCache(t, Options{})
	for _, label := range [][2]string{{"b", "second"}, {"a", "second"}, {"b", "first"}, {"a", "first"}} {
		k := newKey(t, "s", label[0], label[1])
		k.Labels = label[:]
		take(t, c, k, (&issuer{life: time.Hour}).fetch)
	}
	var got []string
	for _, s := range c.Status() {
		got = append(got, strings.Join(s.Labels, " "))
	}
	if want := []string{"a first", "a second", "b first", "b second"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestStatusOfATokenFromRedis(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	take(t, replicas[0], k, iss.fetch)
	takeFrom(t, Redis, replicas[1], k, iss.fetch)
	s := replicas[1].Status()[0]
	if s.State != StateFresh || s.ExpiresIn > time.Hour-time.Second || s.ExpiresIn < 59*time.Minute || s.Age < -time.Second || s.Age > time.Minute {
		t.Errorf("%+v", s)
	}
}
