package bridge

// How long a profile is used while Glory fails, and that operators see it.

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"roomgate/internal/upstream"
)

// profiled is a Glory that returns profiles, denies with 403, or fails.
type profiled struct {
	roundTrip
	status int // 0: an error
	calls  int
	points int
}

// RoundTrip implements http.RoundTripper.
func (p *profiled) RoundTrip(r *http.Request) (*http.Response, error) {
	p.calls++
	if p.status == 0 {
		return nil, fmt.Errorf("glory: %w", upstream.ErrFailed)
	}
	body := fmt.Sprintf(`{"data":{"profile":{"id":"","name":"","nickname":"","email":"","point":%d}}}`, p.points)
	return &http.Response{StatusCode: p.status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

// judged returns a Bridge in front of glory whose rule uses the profile.
func judged(t *testing.T, glory *profiled, fleet vault) *Bridge {
	return newLocalBridge(t, func(o *Options) {
		o.Glory, o.MemberCacheTTL, o.Verdicts, o.Licenses[0].Allow = glory, time.Minute, fleet, "member.profile.point > 5"
	})
}

// authorized authenticates a raw token and authorizes its member.
func authorized(t *testing.T, b *Bridge, raw string) error {
	t.Helper()
	m, err := ask(b, raw)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Authorize(t.Context(), m, Request{})
	return err
}

// Members whom a rule on member.profile admits were once turned away as soon as their profile was stale.
func TestRunOutProfileCountsWhileGloryCannotBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		glory, fleet := &profiled{status: 200, points: 10}, &fakeVault{}
		b, raw, began := judged(t, glory, fleet), good(), time.Now()
		if err := authorized(t, b, raw); err != nil || b.ProfilesRunOut() {
			t.Fatalf("%v; run out: %t", err, b.ProfilesRunOut())
		}
		glory.status = 0
		for _, at := range []time.Duration{time.Minute - 1, time.Minute, 2 * time.Minute, 5*time.Minute - 1} {
			time.Sleep(time.Until(began.Add(at)))
			if err := authorized(t, b, raw); err != nil || b.ProfilesRunOut() != (at >= time.Minute) {
				t.Errorf("after %s: %v; run out: %t", at, err, b.ProfilesRunOut())
			}
		}
		another := judged(t, glory, fleet)
		if err := authorized(t, another, raw); err != nil || !another.ProfilesRunOut() {
			t.Errorf("a replica that has just started: %v; run out: %t", err, another.ProfilesRunOut())
		}
		time.Sleep(time.Nanosecond)
		for n, replica := range []*Bridge{b, another} {
			if err := authorized(t, replica, raw); !errors.Is(err, upstream.ErrFailed) {
				t.Errorf("replica %d, at the end: %v", n, err)
			}
		}
	})
}

func TestRunOutProfileNeverCountsPastTheTokensExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		glory := &profiled{status: 200, points: 10}
		b, raw := judged(t, glory, &fakeVault{}), good("exp", time.Now().Add(2*time.Minute).Unix())
		if err := authorized(t, b, raw); err != nil {
			t.Fatal(err)
		}
		glory.status = 0
		time.Sleep(2*time.Minute - 1)
		if err := authorized(t, b, raw); err != nil {
			t.Errorf("before its expiry: %v", err)
		}
		time.Sleep(time.Nanosecond) // within the leeway
		if err := authorized(t, b, raw); !errors.Is(err, upstream.ErrFailed) {
			t.Errorf("at its expiry: %v", err)
		}
	})
}

func TestDeniedProfileEndsTheOneThatHasRunOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		glory, fleet := &profiled{status: 200, points: 10}, &fakeVault{}
		first, second, raw := judged(t, glory, fleet), judged(t, glory, fleet), good()
		for _, b := range []*Bridge{first, second} {
			if err := authorized(t, b, raw); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		glory.status = 403
		if err := authorized(t, first, raw); !errors.Is(err, ErrMemberToken) {
			t.Errorf("denied: %v", err)
		}
		glory.status = 0
		for n, b := range []*Bridge{first, second} {
			if err := authorized(t, b, raw); !errors.Is(err, upstream.ErrFailed) {
				t.Errorf("replica %d: %v", n, err)
			}
		}
	})
}

// A stale profile is asked for, and a decision made, only once a second: with thousands of licenses a decision is expensive.
func TestDecisionByARunOutProfileIsMadeOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		glory := &profiled{status: 200, points: 10}
		b, raw := judged(t, glory, &fakeVault{}), good()
		if err := authorized(t, b, raw); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		glory.status, glory.calls = 0, 0
		for range 100 { // ten seconds
			if err := authorized(t, b, raw); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		synctest.Wait()
		if glory.calls < 10 || glory.calls > 11 {
			t.Errorf("%d calls", glory.calls)
		}
		glory.status, glory.points = 200, 0
		time.Sleep(recheckEvery)
		if err := authorized(t, b, raw); !errors.Is(err, ErrForbidden) && err != nil {
			t.Errorf("Glory answers again: %v", err)
		}
		synctest.Wait()
		time.Sleep(recheckEvery)
		if err := authorized(t, b, raw); !errors.Is(err, ErrForbidden) || b.ProfilesRunOut() {
			t.Errorf("by the new profile: %v; run out: %t", err, b.ProfilesRunOut())
		}
	})
}
