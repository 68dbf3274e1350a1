package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// silent is a name server that never answers.
func silent(ctx context.Context) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func noSuchHost() error { return &net.DNSError{Err: "no such host", Name: "h", IsNotFound: true} }

// found waits for an answer of n, and returns it with the time that it took.
func found(n *names) (*answer, time.Duration) {
	began := time.Now()
	a := n.ask("h")
	<-a.some
	return a, time.Since(began)
}

func TestLookUpGoesOnWithTheFamilyThatAnswers(t *testing.T) {
	for _, answers := range []string{"ip4", "ip6"} {
		synctest.Test(t, func(t *testing.T) {
			a, took := found(&names{lookup: func(ctx context.Context, network, _ string) ([]netip.Addr, error) {
				if network != answers {
					return silent(ctx)
				}
				return addresses("192.0.2.1"), nil
			}})
			if a.err != nil || len(a.addrs) != 1 || took != 50*time.Millisecond {
				t.Errorf("%s alone answers: %v, %v after %v", answers, a.addrs, a.err, took)
			}
			<-a.all // within its limit
		})
	}
}

func TestLookUpTakesBothFamiliesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, took := found(&names{lookup: func(_ context.Context, network, _ string) ([]netip.Addr, error) {
			if network == "ip4" {
				return addresses("192.0.2.1", "192.0.2.2"), nil
			}
			<-time.After(20 * time.Millisecond)
			return addresses("2001:db8::1"), nil
		}})
		if want := addresses("2001:db8::1", "192.0.2.1", "192.0.2.2"); !slices.Equal(a.addrs, want) || took != 20*time.Millisecond {
			t.Errorf("%v after %v, want %v", a.addrs, took, want)
		}
	})
}

func TestLostQuestionIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		a, took := found(&names{lookup: func(ctx context.Context, network, _ string) ([]netip.Addr, error) {
			if network == "ip6" {
				return nil, noSuchHost()
			}
			if asked.Add(1) < 3 {
				return silent(ctx)
			}
			return addresses("192.0.2.1"), nil
		}})
		if a.err != nil || took != 1500*time.Millisecond {
			t.Errorf("after two that were lost: %v, %v after %v", a.addrs, a.err, took)
		}
	})
}

func TestLookUpEndsWithWhatWentWrong(t *testing.T) {
	for want, ip4 := range map[string]func(context.Context) ([]netip.Addr, error){
		"no answer":    silent,
		"no such host": func(context.Context) ([]netip.Addr, error) { return nil, noSuchHost() },
		"misbehaving":  func(context.Context) ([]netip.Addr, error) { return nil, errors.New("misbehaving") },
	} {
		synctest.Test(t, func(t *testing.T) {
			a, took := found(&names{lookup: func(ctx context.Context, network, _ string) ([]netip.Addr, error) {
				if network == "ip4" {
					return ip4(ctx)
				}
				return nil, nil
			}})
			if a.err == nil || !strings.Contains(a.err.Error(), want) || took > lookupTimeout {
				t.Errorf("%v after %v, want %s", a.err, took, want)
			}
		})
	}
}

func TestLookUpIsNotRepeatedForEachConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		n := &names{lookup: func(_ context.Context, network, _ string) ([]netip.Addr, error) {
			<-time.After(10 * time.Millisecond)
			if network == "ip6" {
				return nil, noSuchHost()
			}
			asked.Add(1)
			return addresses("192.0.2.1", "192.0.2.2", "192.0.2.3"), nil
		}}
		var wg sync.WaitGroup
		for range 10 { // at once
			wg.Go(func() { found(n) })
		}
		wg.Wait()
		first := map[netip.Addr]int{}
		for range 6 {
			first[n.known()[0]]++
		}
		for _, addr := range addresses("192.0.2.1", "192.0.2.2", "192.0.2.3") {
			if first[addr] != 2 {
				t.Errorf("which one is tried first: %v", first)
			}
		}
		n.drop(addresses("192.0.2.2"))
		if got := n.known(); len(got) != 2 || slices.Contains(got, netip.MustParseAddr("192.0.2.2")) {
			t.Errorf("without the one that failed: %v", got)
		}
		if asked.Load() != 1 {
			t.Errorf("asked %d times", asked.Load())
		}
		<-time.After(keepAddresses)
		if got := n.known(); got != nil {
			t.Errorf("a name that moves isn't followed: %v", got)
		}
	})
}
