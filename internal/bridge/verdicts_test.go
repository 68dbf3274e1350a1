package bridge

// Remembered verdicts admit members while Glory fails, and strangers can't take the places of these members.

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"roomgate/internal/upstream"
)

// silent is a Glory that answers only when it is told to.
type silent struct {
	calls  atomic.Int64
	answer chan int
}

func (s *silent) roundTrip() roundTrip {
	return func(string) (int, error) {
		s.calls.Add(1)
		return <-s.answer, nil
	}
}

// Issue 16: members were turned away as soon as their verdict was stale.
func TestRunOutVerdictCountsWhileGloryCannotBeAsked(t *testing.T) {
	for _, failure := range []error{io.ErrUnexpectedEOF, upstream.ErrTimeout, upstream.ErrBusy, upstream.ErrCircuit} {
		synctest.Test(t, func(t *testing.T) {
			fails := false
			b := remoteBridge(t, func(string) (int, error) {
				if fails {
					return 0, failure
				}
				return 200, nil
			})
			raw := good()
			if _, err := ask(b, raw); err != nil || b.VerdictsRunOut() {
				t.Fatalf("%v; run out: %t", err, b.VerdictsRunOut())
			}
			fails = true
			time.Sleep(time.Minute - 1)
			if _, err := ask(b, raw); err != nil || b.VerdictsRunOut() {
				t.Errorf("%v: fresh: %v; run out: %t", failure, err, b.VerdictsRunOut())
			}
			time.Sleep(time.Nanosecond)
			if m, err := ask(b, raw); err != nil || m.Subject != "2" || !b.VerdictsRunOut() {
				t.Errorf("%v: run out: %v; run out: %t", failure, err, b.VerdictsRunOut())
			}
			time.Sleep(4*time.Minute - 1)
			if _, err := ask(b, raw); err != nil {
				t.Errorf("%v: at the end: %v", failure, err)
			}
			time.Sleep(time.Nanosecond)
			if _, err := ask(b, raw); !errors.Is(err, failure) && !errors.Is(err, upstream.ErrFailed) {
				t.Errorf("%v: after the end: %v", failure, err)
			}
			time.Sleep(runOutNoted)
			if b.VerdictsRunOut() {
				t.Error("a verdict that has run out is in use, and nobody has asked for a minute")
			}
		})
	}
}

func TestRunOutVerdictNeverCountsPastTheTokensExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, status atomic.Int64
		status.Store(200)
		vault := &fakeVault{}
		b := remoteBridge(t, counted(&calls, &status), func(o *Options) { o.Verdicts = vault })
		raw := good("exp", time.Now().Add(2*time.Minute).Unix())
		ask(b, raw)
		status.Store(0)
		time.Sleep(2*time.Minute - 1)
		if _, err := ask(b, raw); err != nil {
			t.Errorf("before its expiry: %v", err)
		}
		time.Sleep(time.Nanosecond) // within the leeway
		if _, err := ask(b, raw); !errors.Is(err, upstream.ErrFailed) {
			t.Errorf("at its expiry: %v", err)
		}
	})
}

func TestRunOutVerdictIsOneOfTheFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, status atomic.Int64
		status.Store(200)
		vault := &fakeVault{}
		replica := func() *Bridge {
			return remoteBridge(t, counted(&calls, &status), func(o *Options) { o.Verdicts = vault })
		}
		raw := good()
		ask(replica(), raw)
		status.Store(0)
		time.Sleep(time.Minute)
		second := replica()
		if _, err := ask(second, raw); err != nil || !second.VerdictsRunOut() || calls.Load() != 2 {
			t.Errorf("a replica that has just started: %v; run out: %t; %d calls", err, second.VerdictsRunOut(), calls.Load())
		}
		time.Sleep(4 * time.Minute)
		if _, err := ask(second, raw); !errors.Is(err, upstream.ErrFailed) {
			t.Errorf("after five TTLs: %v", err)
		}
	})
}

func TestDenialEndsVerdictsThatHaveRunOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, status atomic.Int64
		status.Store(200)
		vault := &fakeVault{}
		var replicas []*Bridge
		for range 3 {
			replicas = append(replicas, remoteBridge(t, counted(&calls, &status), func(o *Options) { o.Verdicts = vault }))
		}
		raw := good()
		ask(replicas[0], raw)
		ask(replicas[1], raw)
		time.Sleep(time.Minute)
		status.Store(403)
		if _, err := ask(replicas[0], raw); !errors.Is(err, ErrMemberToken) {
			t.Fatal(err)
		}
		status.Store(0)
		time.Sleep(denialTTL)
		for n, replica := range replicas {
			if _, err := ask(replica, raw); !errors.Is(err, upstream.ErrFailed) {
				t.Errorf("replica %d: %v", n, err)
			}
		}
	})
}

// The first caller waits a moment in case Glory answers. The others don't.
func TestSilentGloryHoldsUpNobodyWithAVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		glory := &silent{answer: make(chan int, 10)}
		b := remoteBridge(t, glory.roundTrip())
		var raws []string
		for n := range 10 {
			raws = append(raws, good("n", n))
			glory.answer <- 200
			if _, err := ask(b, raws[n]); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		for n, raw := range raws {
			began := time.Now()
			_, err := ask(b, raw)
			if took := time.Since(began); err != nil || n == 0 && took != freshPatience || n > 0 && took != 0 {
				t.Errorf("%d: %s, %v", n, time.Since(began), err)
			}
		}
		synctest.Wait()
		if calls := glory.calls.Load(); calls != 20 || !b.VerdictsRunOut() {
			t.Errorf("%d calls; run out: %t", calls, b.VerdictsRunOut())
		}
		for range 10 {
			glory.answer <- 403
		}
		synctest.Wait() // Glory answers again, and its answers count
		if b.VerdictsRunOut() {
			t.Error("still run out")
		}
		for n, raw := range raws {
			if _, err := ask(b, raw); !errors.Is(err, ErrMemberToken) || glory.calls.Load() != 20 {
				t.Errorf("%d: %v after %d calls", n, err, glory.calls.Load())
			}
		}
	})
}

// After a rush, many verdicts become stale at once. If Glory hangs then, only a few members wait, not all who come within a second.
func TestSilentGloryHoldsUpFewOfManyWhoComeAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const members = 500
		glory := &silent{answer: make(chan int, members)}
		b := remoteBridge(t, glory.roundTrip())
		var raws []string
		for n := range members {
			raws = append(raws, good("n", n))
			glory.answer <- 200
			if _, err := ask(b, raws[n]); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		var atOnce, late, failed atomic.Int64
		var all sync.WaitGroup
		for _, raw := range raws {
			all.Go(func() {
				began := time.Now()
				_, err := ask(b, raw)
				switch took := time.Since(began); {
				case err != nil:
					failed.Add(1)
				case took == 0:
					atOnce.Add(1)
				case took <= freshPatience:
					late.Add(1)
				}
			})
		}
		all.Wait()
		if atOnce.Load() != members-patient || late.Load() != patient || failed.Load() > 0 || !b.VerdictsRunOut() {
			t.Errorf("%d at once, %d late, %d failed; run out: %t", atOnce.Load(), late.Load(), failed.Load(), b.VerdictsRunOut())
		}
		for range members {
			glory.answer <- 200
		}
	})
}

func TestGloryThatFailsIsAskedOnceASecondAboutAMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, status atomic.Int64
		status.Store(200)
		b := remoteBridge(t, counted(&calls, &status))
		raw := good()
		ask(b, raw)
		time.Sleep(time.Minute)
		status.Store(0)
		for range 100 { // ten seconds
			if _, err := ask(b, raw); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			time.Sleep(100 * time.Millisecond)
		}
		if n := calls.Load(); n < 10 || n > 11 {
			t.Errorf("%d calls", n)
		}
	})
}

// Issue 16: when Glory hung, 300 strangers a second took all places, and members with valid verdicts got 503.
func TestStrangersHaveFewPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		glory := &silent{answer: make(chan int, 1)}
		vault := &fakeVault{}
		b := remoteBridge(t, glory.roundTrip(), func(o *Options) { o.Verdicts, o.Strangers = vault, 20 })
		glory.answer <- 200
		member := good()
		if _, err := ask(b, member); err != nil {
			t.Fatal(err)
		}
		refused, ended := atomic.Int64{}, make(chan error, 300)
		for n := range 300 {
			go func() {
				_, err := ask(b, good("n", n))
				if errors.Is(err, upstream.ErrBusy) {
					refused.Add(1)
				}
				ended <- err
			}()
		}
		synctest.Wait()
		loads := strings.Count(vault.asked(), "load")
		if refused.Load() != 280 || glory.calls.Load() != 21 || loads != 21 {
			t.Errorf("%d refused, %d calls of Glory, %d looks in the fleet's memory", refused.Load(), glory.calls.Load(), loads)
		}
		if _, err := ask(b, member); err != nil {
			t.Errorf("with a verdict: %v", err)
		}
		time.Sleep(time.Minute) // longer than GloryTimeout
		for range 20 {
			glory.answer <- 403
		}
		for range 300 {
			<-ended
		}
		glory.answer <- 200
		if _, err := ask(b, good("n", "last")); err != nil {
			t.Errorf("when the places are free again: %v", err)
		}
	})
}

func TestDenialsPushNoVerdictOut(t *testing.T) {
	var calls, status atomic.Int64
	status.Store(200)
	b := remoteBridge(t, counted(&calls, &status))
	member := good()
	ask(b, member)
	status.Store(403)
	for n := range maxDenials + 10 {
		if _, err := ask(b, signed(secretA, hs384, fmt.Sprintf(`{"n":%d}`, n))); !errors.Is(err, ErrMemberToken) {
			t.Fatal(err)
		}
	}
	if verdicts, denials := b.remote.verdicts.kept.Len(), b.remote.denials.Len(); verdicts != 1 || denials > maxDenials || denials < maxDenials*3/4 {
		t.Errorf("%d verdicts, %d denials", verdicts, denials)
	}
}
