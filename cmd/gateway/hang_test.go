package main

// For a while an upstream accepts requests and doesn't answer. With the default settings, requests that don't need it don't fail. The
// tests log their figures, and assert only what holds on a busy machine, too.

import (
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"roomgate/internal/sandbox"
	"roomgate/tests"
)

// hangs is how long the upstream hangs.
const hangs = 12 * time.Second

// usual returns the default limits and timeout, which arenas change, and further settings.
func usual(own ...string) []string {
	return append([]string{"MEMBER_RATE_LIMIT=100/1s", "ACCOUNT_RATE_LIMIT=10/1m", "REDIS_TIMEOUT=250ms"}, own...)
}

// Issue 16: members whom Glory has admitted are served while it hangs, however many strangers come.
func TestKnownMembersGoOnWhileGloryHangs(t *testing.T) {
	tests.Long(t)
	withoutRaceDetector(t)
	const members, rate, strangers = 1000, 500, 300
	for _, ttl := range []time.Duration{5 * time.Second, time.Minute} { // verdicts of 5 s run out meanwhile, and are still used
		t.Run(ttl.String(), func(t *testing.T) {
			s := newArena(t, usual("GLORY_JWT_SECRETS=", fmt.Sprint("MEMBER_CACHE_TTL=", ttl))...)
			var known []string
			for n := range members {
				known = append(known, s.stands.Glory.MintToken(fmt.Sprint(n), time.Hour))
			}
			poll := func(n int) (string, string) { return s.url + "/v1/info", known[n%members] }
			before := carried(t, func() []sample { return floodOf(t, rate, manyConns, time.After(4*time.Second), poll).all() })
			s.stands.Glory.SetFaults(sandbox.Fault{Kind: sandbox.KindHang})
			calls := s.stands.Glory.Calls("/api/v1/check_login")
			over := make(chan time.Time)
			var wg sync.WaitGroup
			var refused []sample
			wg.Go(func() {
				refused = floodOf(t, strangers, manyConns, over, func(int) (string, string) { return s.url + "/v1/info", stranger() }).all()
			})
			during := floodOf(t, rate, manyConns, time.After(hangs), poll).all()
			close(over)
			wg.Wait()
			t.Logf("members' p50 %v, p99 %v before (%d requests); %v, %v while Glory hangs (%d requests); %d strangers, p50 %v; %d calls of check_login",
				quantile(before, .5), quantile(before, .99), len(before), quantile(during, .5), quantile(during, .99), len(during),
				len(refused), quantile(refused, .5), s.stands.Glory.Calls("/api/v1/check_login")-calls)
			if failed := failures(during); len(failed) > 0 {
				t.Errorf("%d of the members' requests failed, the first: %s", len(failed), failed[0])
			}
			if good, _ := goodAndRest(refused); len(good) > 0 {
				t.Errorf("%d strangers are let in", len(good))
			}
			s.looker.CloseIdleConnections()
			s.ends(t, s.secrets())
		})
	}
}

// carried plays the load while both upstreams are well, until the machine carries it. A failure before that has nothing to do with a
// hang.
func carried(t *testing.T, load func() []sample) []sample {
	t.Helper()
	for range 5 {
		before := load()
		late, failed := quantile(before, .99), failures(before)
		if late < time.Second && len(failed) == 0 {
			return before
		}
		t.Logf("once more: p99 %v, %d of %d failed before anything hangs", late, len(failed), len(before))
	}
	t.Fatal("the load isn't carried while both upstreams are well")
	return nil
}

// stranger makes a JWT of the right form that Glory has not signed.
func stranger() string { return (&sandbox.Glory{}).MintToken(rand.Text(), time.Hour) }

// Issue 16: Glory's routes are served while Interwater hangs and many members poll few rooms. Soon the circuit opens, and the members
// are refused at once.
func TestGlorysRoutesGoOnWhileInterwaterHangs(t *testing.T) {
	tests.Long(t)
	withoutRaceDetector(t)
	for name, c := range map[string]struct {
		pollers  int
		settings []string
	}{
		"by default":      {300, nil},
		"with few places": {1100, []string{"MAX_IN_FLIGHT=1024"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newArena(t, usual(append(c.settings, fmt.Sprint("INTERWATER_TIMEOUT=", hangs/5))...)...)
			before := carried(t, func() []sample { all, _ := s.pollAround(t, c.pollers, hangs/3); return all })
			s.stands.Interwater.SetFaults(sandbox.Fault{Kind: sandbox.KindHang})
			began := time.Now()
			during, polls := s.pollAround(t, c.pollers, hangs)
			late := slices.DeleteFunc(slices.Clone(polls), func(x sample) bool { return x.at.Before(began.Add(hangs * 4 / 5)) })
			t.Logf("Glory's p50 %v, p99 %v before (%d requests); %v, %v while Interwater hangs (%d requests); polls %v; late ones' p50 %v, p99 %v, %v",
				quantile(before, .5), quantile(before, .99), len(before), quantile(during, .5), quantile(during, .99), len(during),
				statuses(polls), quantile(late, .5), quantile(late, .99), statuses(late))
			if failed := failures(during); len(failed) > 0 {
				t.Errorf("%d of Glory's requests failed, the first: %s", len(failed), failed[0])
			}
			if refused := statuses(late)[503]; refused < len(late)*9/10 { // the rest are probes of the circuit
				t.Errorf("with the circuit open %d of %d polls were refused at once", refused, len(late))
			}
			s.looker.CloseIdleConnections()
			s.ends(t, s.secrets())
		})
	}
}

// pollAround sends Glory 100 requests a second. Meanwhile each member polls one of three routes every second, without waiting for
// answers. Polls that aren't answered at the end are left out.
func (s *arena) pollAround(t *testing.T, members int, lasts time.Duration) (glory, polls []sample) {
	t.Helper()
	var tokens []string
	for n := range members {
		tokens = append(tokens, s.stands.Glory.MintToken(fmt.Sprint(n), time.Hour))
	}
	rooms := []string{"/v1/sessions/gsda11", "/v1/sessions/daily%20standup", "/v1/info"}
	over := make(chan time.Time)
	var wg sync.WaitGroup
	wg.Go(func() {
		polls = floodOf(t, members, 12*members, over, func(n int) (string, string) {
			return s.url + rooms[n%len(rooms)], tokens[n%members]
		}).all()
	})
	glory = flood(t, 100, manyConns, time.After(lasts), s.url+"/api/v1/check_login", s.token).all()
	close(over)
	wg.Wait()
	return glory, polls
}

// statuses counts samples by status.
func statuses(list []sample) map[int]int {
	counts := map[int]int{}
	for _, x := range list {
		counts[x.status]++
	}
	return counts
}
