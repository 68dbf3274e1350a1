package main

// Too many requests at once, and slow upstreams. The tests log their figures, and assert only what holds on a busy machine, too.

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"roomgate/internal/sandbox"
	"roomgate/tests"
)

// manyConns is enough connections for any load here, and too few to fill the kernel's queue. The slow upstream below holds 200 a
// second for 4 s.
const manyConns = 1000

// flood sends rate requests a second until ended, over at most conns connections. It doesn't wait for answers before it sends more.
// Requests without an answer at the end are cut off and left out.
func flood(t *testing.T, rate, conns int, ended <-chan time.Time, url, token string) *samples {
	t.Helper()
	return floodOf(t, rate, conns, ended, func(int) (string, string) { return url, token })
}

// floodOf is flood with different requests: what returns the URL and token of the n-th.
func floodOf(t *testing.T, rate, conns int, ended <-chan time.Time, what func(n int) (url, token string)) *samples {
	t.Helper()
	got, client := &samples{}, newClient(t)
	client.Transport.(*http.Transport).MaxConnsPerHost = conns
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	send := func(n int) {
		url, token := what(n)
		began := time.Now()
		a, err := call(ctx, client, http.MethodGet, url, token, "")
		if ctx.Err() != nil {
			return
		}
		x := sample{at: began, took: time.Since(began), status: a.status, err: err}
		if a.header != nil {
			x.retryAfter = a.header.Get("Retry-After")
		}
		got.mu.Lock()
		got.list = append(got.list, x)
		got.mu.Unlock()
	}
	began, sent := time.Now(), 0
	tick := time.NewTicker(2 * time.Millisecond) // each tick sends all that are due, because a tick per request is too slow for thousands
	for going := true; going; {
		select {
		case now := <-tick.C:
			for ; sent < int(now.Sub(began).Seconds()*float64(rate)); sent++ {
				n := sent
				wg.Go(func() { send(n) })
			}
		case <-ended:
			going = false
		}
	}
	tick.Stop()
	cancel()
	wg.Wait()
	client.CloseIdleConnections()
	return got
}

// closedLoop measures the capacity, with clients that send the next request as soon as one is answered.
func closedLoop(t *testing.T, clients int, lasts time.Duration, url, token string) (perSecond float64) {
	t.Helper()
	client := newClient(t)
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	var answered atomic.Int64
	began := time.Now()
	warm := began.Add(lasts / 4)
	for range clients {
		wg.Go(func() {
			for time.Now().Before(warm.Add(lasts)) {
				a, err := call(t.Context(), client, http.MethodGet, url, token, "")
				if err != nil || a.status != 200 {
					t.Errorf("within the capacity: %v %+v", err, a)
					return
				}
				if time.Now().After(warm) {
					answered.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return float64(answered.Load()) / time.Since(warm).Seconds()
}

// goodAndRest separates the samples that were answered 200 from the rest.
func goodAndRest(list []sample) (good, rest []sample) {
	for _, x := range list {
		if x.status == 200 {
			good = append(good, x)
		} else {
			rest = append(rest, x)
		}
	}
	return good, rest
}

// raceDetector reports whether this binary is built with the race detector.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// withoutRaceDetector skips t in a build with the race detector, because t measures memory or plays a load. .ci/run has a run
// without it, and checks that each of these tests passes there.
func withoutRaceDetector(t *testing.T) {
	t.Helper()
	if raceDetector() {
		t.Skip("needs a build without the race detector")
	}
}

// The catalogue's row O01. Package proxy's TestTooManyRequestsAtOnceAre503 also shows that excess requests are refused at once.
//
// 32 places and a slow upstream bound the capacity, not the machine. So the test can ask for a goodput of 90 % on a busy machine, too.
// It judges only the medians of the times, and logs the rest.
func TestOverloadLeavesTheGoodput(t *testing.T) {
	tests.Long(t)
	const inFlight, delay, cycles = 32, time.Second, 6
	s := newArena(t, "MAX_IN_FLIGHT=32", "ROOM_COALESCE=false")
	s.stands.Interwater.SetFaults(sandbox.Fault{Path: "/v1/info", Delay: delay})
	url, most := s.url+"/v1/info", inFlight/delay.Seconds()
	capacity := min(most, closedLoop(t, inFlight, 4*delay, url, s.token))
	// Only answers within whole cycles count, after all places have been taken.
	from := time.Now().Add(2 * delay)
	to := from.Add(cycles * delay)
	good, rest := goodAndRest(flood(t, int(3*capacity), manyConns, time.After(time.Until(to)), url, s.token).all())
	good = slices.DeleteFunc(good, func(x sample) bool { ended := x.at.Add(x.took); return ended.Before(from) || ended.After(to) })
	goodput := float64(len(good)) / to.Sub(from).Seconds()
	t.Logf("capacity %.0f/s (%d at once, %v each: %.0f/s at most); good %.0f/s (%.0f %%), p50 %v, p99 %v; %d rejected, p50 %v, p99 %v",
		capacity, inFlight, delay, most, goodput, 100*goodput/capacity, quantile(good, .5), quantile(good, .99),
		len(rest), quantile(rest, .5), quantile(rest, .99))
	if goodput < .9*capacity {
		t.Errorf("the goodput is %.0f/s of a capacity of %.0f/s", goodput, capacity)
	}
	if float64(len(rest)) < capacity*to.Sub(from).Seconds() {
		t.Errorf("%d were rejected: that was no overload", len(rest))
	}
	if accepted, rejected := quantile(good, .5), quantile(rest, .5); accepted > 2*delay || rejected > 50*time.Millisecond {
		t.Errorf("medians: accepted %v, rejected %v", accepted, rejected)
	}
	for _, x := range rest {
		if x.status != 503 || x.retryAfter == "" {
			t.Fatalf("rejected with %d %v, Retry-After %q", x.status, x.err, x.retryAfter)
		}
	}
	if a := get(t, s.looker, s.admin+"/livez", ""); a.status != 200 {
		t.Errorf("livez: %+v", a)
	}
	// The first requests may be refused while the last ones still hold places.
	s.stands.Interwater.SetFaults()
	eventually(t, "back to normal", func() bool { return get(t, s.looker, url, s.token).status == 200 })
	s.looker.CloseIdleConnections()
	s.retired(t)
}

// dependency is one of the two upstreams, and a request to it.
type dependency struct {
	url  string
	slow func(...sandbox.Fault)
}

// dependencies returns both upstreams by name.
func (s *arena) dependencies() map[string]dependency {
	return map[string]dependency{
		"Glory":      {s.url + "/api/v1/check_login", s.stands.Glory.SetFaults},
		"Interwater": {s.url + "/v1/info", s.stands.Interwater.SetFaults},
	}
}

// otherOf names the other upstream.
var otherOf = map[string]string{"Interwater": "Glory", "Glory": "Interwater"}

// The catalogue's row O02 without a clock: one upstream may have 7/8 of 1,024 places. A request that waits for a shared answer makes no
// call, but takes a place.
func TestHangingUpstreamLeavesPlacesForTheOther(t *testing.T) {
	for _, coalesce := range []string{"ROOM_COALESCE=false", "ROOM_COALESCE=true"} {
		t.Run(coalesce, func(t *testing.T) { hangingUpstreamLeavesPlaces(t, coalesce) })
	}
}

func hangingUpstreamLeavesPlaces(t *testing.T, coalesce string) {
	const places, share = 1024, 896
	s, client := newArena(t, fmt.Sprint("MAX_IN_FLIGHT=", places), coalesce, "INTERWATER_TIMEOUT=60s", "GLORY_TIMEOUT=60s"), newClient(t)
	upstreams := s.dependencies()
	for hangs, other := range otherOf {
		t.Run(hangs+" hangs", func(t *testing.T) {
			eventually(t, "all places are free", func() bool { return s.metrics(t)["roomgate_requests_in_flight"] == 0 })
			upstreams[hangs].slow(sandbox.Fault{Kind: sandbox.KindHang})
			defer upstreams[hangs].slow()
			ctx, leave := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			defer wg.Wait()
			defer leave()
			var refused atomic.Int64
			for range places {
				wg.Go(func() {
					if a, err := call(ctx, client, http.MethodGet, upstreams[hangs].url, s.token, ""); err == nil && a.status == 503 {
						refused.Add(1)
					}
				})
			}
			eventually(t, "requests beyond the share are refused", func() bool { return refused.Load() == places-share })
			for range 20 {
				get(t, s.looker, upstreams[other].url, s.token).want(t, 200)
			}
		})
	}
	client.CloseIdleConnections()
	s.looker.CloseIdleConnections()
	s.retired(t)
}

// The catalogue's row O02 with its figures.
func TestSlowUpstreamSlowsNotTheOther(t *testing.T) {
	tests.Long(t)
	s := newArena(t)
	upstreams := s.dependencies()
	for slow, other := range otherOf {
		t.Run(slow+" slow", func(t *testing.T) {
			before := flood(t, 100, manyConns, time.After(2*time.Second), upstreams[other].url, s.token).all()
			upstreams[slow].slow(sandbox.Fault{Delay: 5 * time.Second})
			defer upstreams[slow].slow()
			var wg sync.WaitGroup
			wg.Go(func() { flood(t, 200, manyConns, time.After(4*time.Second), upstreams[slow].url, s.token) })
			eventually(t, "200 wait for it", func() bool { return s.metrics(t)["roomgate_requests_in_flight"] >= 200 })
			during := flood(t, 100, manyConns, time.After(3*time.Second), upstreams[other].url, s.token).all()
			wg.Wait()
			t.Logf("%s 5 s slow at 200/s; %s's p50 %v and p99 %v before, %v and %v during (%d requests)", slow, other,
				quantile(before, .5), quantile(before, .99), quantile(during, .5), quantile(during, .99), len(during))
			if failed := failures(during); len(failed) > 0 {
				t.Errorf("%d failed, the first: %s", len(failed), failed[0])
			}
			// A request that waited for the slow upstream would take 5 s. On a busy machine there are outliers, but the median is far below.
			if p50 := quantile(during, .5); p50 > time.Second {
				t.Errorf("the median is %v", p50)
			}
		})
	}
	s.retired(t)
}
