package bridge

// What is remembered of verified tokens, for how long, and how much that saves.

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"roomgate/internal/secret"
)

// newLocalBridge returns a Bridge that verifies with secretA.
func newLocalBridge(t testing.TB, change ...func(*Options)) *Bridge {
	t.Helper()
	glory := at(t, mustParse("http://glory.invalid"))
	o := Options{
		Glory: glory, Interwater: at(t, mustParse("http://interwater.invalid")), GloryTimeout: patience, Licenses: []License{license()},
		Tokens: noTokens{}, Verdicts: &fakeVault{},
		Local: LocalVerification{Secrets: []secret.Value{secret.New(secretA)}, Algorithms: []string{"HS384"}, Leeway: 10 * time.Second},
	}
	for _, f := range change {
		f(&o)
	}
	b, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKnownTokenIsGoodUntilOneNanosecondBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newLocalBridge(t)
		raw := good("exp", time.Now().Add(time.Minute).Unix(), "sub", "7", "role", "host")
		for range 2 {
			if m, err := ask(b, raw); err != nil || m.Subject != "7" || m.Claims()["role"] != "host" || m.token.raw.Reveal() != raw {
				t.Fatalf("%+v, %v", m, err)
			}
		}
		time.Sleep(time.Minute + 10*time.Second - time.Nanosecond)
		if _, err := ask(b, raw); err != nil {
			t.Errorf("within the leeway: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := ask(b, raw); !errors.Is(err, ErrMemberToken) {
			t.Errorf("at its end: %v", err)
		}
	})
}

// J17 of the catalogue: a token expires by the wall clock, even if that is set while the process runs. So the expiry must not be a moment
// of the Bridge's clock, nor a time with a monotonic reading.
func TestKnownTokenEndsByTheWallClock(t *testing.T) {
	end := time.Now().Add(time.Hour).Unix()
	for name, b := range modes(t, remembered) {
		for range 2 {
			m, err := ask(b, good("exp", end))
			if err != nil || m.known.expiry != end*int64(time.Second) {
				t.Errorf("%s: it ends at %d, want %d s after 1970 (%v)", name, m.known.expiry, end, err)
			}
		}
	}
}

func TestKnownTokenIsForgottenWithItsSecret(t *testing.T) {
	b := newLocalBridge(t)
	raw := good("sub", "7")
	if _, err := ask(b, raw); err != nil {
		t.Fatal(err)
	}
	if err := b.Reload(context.Background(), []secret.Value{secret.New(secretB)}, []License{license()}); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(b, raw); !errors.Is(err, ErrMemberToken) {
		t.Errorf("after its secret has gone: %v", err)
	}
}

func TestOnlyGoodTokensAreRemembered(t *testing.T) {
	b := newLocalBridge(t)
	forged := good("sub", "7")
	forged = forged[:len(forged)-4] + "AAAA"
	for _, raw := range []string{forged, good("exp", 1), good("sub", ""), signed(secretB, hs384, claims()), "a.b.c", ""} {
		if _, err := ask(b, raw); err == nil {
			t.Fatalf("%q is admitted", raw)
		}
	}
	if n := b.secrets.Load().local.known.Len(); n != 0 {
		t.Errorf("%d tokens are remembered", n)
	}
}

// A known member costs about the same in both modes.
func BenchmarkAuthenticateByGlory(b *testing.B) {
	raw := []string{"Bearer " + good("sub", "7")}
	bridge := remoteBridge(b, func(string) (int, error) { return 200, nil }, func(o *Options) { o.MemberCacheTTL = time.Hour })
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bridge.Authenticate(context.Background(), raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	raw := []string{"Bearer " + good("sub", "7")}
	for name, known := range map[string]bool{"known": true, "first": false} {
		b.Run(name, func(b *testing.B) {
			bridge := newLocalBridge(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bridge.Authenticate(context.Background(), raw); err != nil {
					b.Fatal(err)
				}
				if !known {
					bridge.secrets.Load().local.known.Remove(digestOf(strings.TrimPrefix(raw[0], "Bearer ")))
				}
			}
		})
	}
}
