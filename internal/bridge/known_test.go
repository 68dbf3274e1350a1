package bridge

// The cost of a known member: time for each request, and memory.

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"roomgate/internal/fleet"
	"roomgate/internal/secret"
)

// modes returns a Bridge for each mode.
func modes(t testing.TB, change func(*Options)) map[string]*Bridge {
	t.Helper()
	return map[string]*Bridge{
		"local":  newLocalBridge(t, change),
		"remote": remoteBridge(t, func(string) (int, error) { return 200, nil }, func(o *Options) { o.MemberCacheTTL, o.Verdicts = time.Hour, noVault{} }, change),
	}
}

// remembered is a rule whose decision is remembered.
func remembered(o *Options) { o.Licenses[0].Allow = `member.iss == "com.smarth"` }

// admit does for a request what package proxy does.
func admit(t testing.TB, b *Bridge, limit *fleet.LocalLimiter, raw []string) {
	member, err := b.Authenticate(context.Background(), raw)
	if err == nil {
		err = limit.TakeShare(member.Subject, member.Share())
	}
	if err == nil {
		_, err = b.Authorize(context.Background(), member, Request{Method: "GET", Path: "/v1/info"})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func BenchmarkAdmitKnown(b *testing.B) {
	for name, bridge := range modes(b, remembered) {
		b.Run(name, func(b *testing.B) {
			limit := fleet.NewLocalLimiter("member", fleet.Limit{Burst: 1_000_000_000, Per: time.Second})
			raw := []string{"Bearer " + good("sub", "1234567")}
			b.ReportAllocs()
			for b.Loop() {
				admit(b, bridge, limit, raw)
			}
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			limit := fleet.NewLocalLimiter("member", fleet.Limit{Burst: 1_000_000_000, Per: time.Second})
			var raws [][]string
			for i := range 1000 {
				raws = append(raws, []string{"Bearer " + good("sub", fmt.Sprint(1000000+i))})
			}
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					admit(b, bridge, limit, raws[i%1000])
				}
			})
		})
	}
}

func TestTwoTokensOfAMemberHaveOneLimit(t *testing.T) {
	for name, b := range modes(t, remembered) {
		limit := fleet.NewLocalLimiter("member", fleet.Limit{Burst: 4, Per: time.Hour})
		tokens := []string{good("sub", "7", "n", 1), good("sub", "7", "n", 2)}
		for i := range 6 {
			member, err := ask(b, tokens[i%2])
			if err != nil {
				t.Fatal(err)
			}
			if err := limit.TakeShare(member.Subject, member.Share()); (err == nil) != (i < 4) {
				t.Errorf("%s: request %d: %v", name, i, err)
			}
		}
	}
}

// Item 7 of issue 15: each member took 1.07 KiB in 20 objects, so 100,000 members took 255 to 322 MiB of resident memory.
func TestRememberedMemberCostsHalfAKiB(t *testing.T) {
	const n = 20_000
	for name, bridge := range modes(t, remembered) {
		limit := fleet.NewLocalLimiter("member", fleet.Limit{Burst: 100, Per: time.Hour})
		before := heap()
		for i := range n {
			admit(t, bridge, limit, []string{"Bearer " + good("sub", fmt.Sprint(1_000_000+i))})
		}
		after := heap()
		bytes, objects := (int64(after.HeapAlloc)-int64(before.HeapAlloc))/n, float64(after.HeapObjects-before.HeapObjects)/n
		if t.Logf("%s: %d bytes in %.1f objects", name, bytes, objects); bytes > 512 {
			t.Errorf("%s: a remembered member costs %d bytes", name, bytes)
		}
		runtime.KeepAlive(bridge)
		runtime.KeepAlive(limit)
	}
}

// heap returns the bytes in use after a garbage collection.
func heap() (s runtime.MemStats) {
	runtime.GC()
	runtime.GC() // pools are empty only after the second one
	runtime.ReadMemStats(&s)
	return s
}

// noVault is a vault that keeps nothing.
type noVault struct{}

func (noVault) Load(context.Context, string) ([]byte, time.Duration, bool) { return nil, 0, false }
func (noVault) Save(context.Context, string, []byte, time.Duration)        {}
func (noVault) Reseal(secret.Value)                                        {}
