package bridge

// Changes of licenses' keys: each license changes independently of the others, and wrong keys are tried with a backoff.

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"roomgate/internal/secret"
	"roomgate/internal/tokencache"
)

// keyring is a token cache that fetches each time. Only the keys in right get a token.
type keyring struct {
	tokens
	mu    sync.Mutex
	right map[string]bool // by secret key
	tried []time.Time     // when wrong keys were tried
	gone  int             // how many keys were forgotten
}

func (k *keyring) Token(_ context.Context, key tokencache.Key, _ tokencache.Fetch) (*tokencache.Token, tokencache.Layer, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for text := range k.right {
		l := license()
		l.SecretKey = secret.New(text)
		if grant, err := newGrant(l, RoleMember, roundTrip(nil)); err == nil && grant.key.Same(key) {
			return &tokencache.Token{}, tokencache.Fetched, nil
		}
	}
	k.tried = append(k.tried, time.Now())
	return nil, "", &tokencache.Unavailable{Class: tokencache.Denied, RetryAfter: time.Second, Err: errors.New("no")}
}

func (k *keyring) Forget(tokencache.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone++
}

// named returns licenses with these secret keys, called 0, 1, 2.
func named(secrets ...string) []License {
	var all []License
	for i, text := range secrets {
		l := license()
		l.Name, l.SecretKey = string(rune('0'+i)), secret.New(text)
		all = append(all, l)
	}
	return all
}

// inUse returns the secret keys in use.
func inUse(b *Bridge) (all []string) {
	for _, l := range b.secrets.Load().licenses {
		all = append(all, l.member.issuer.license.SecretKey.Reveal(), l.admin.issuer.license.SecretKey.Reveal())
	}
	return slices.Compact(all)
}

// rotating returns a Bridge with three licenses, and two right new keys.
func rotating(t *testing.T) (*Bridge, *keyring) {
	ring := &keyring{right: map[string]bool{"new-0": true, "new-2": true}}
	b := newLocalBridge(t, func(o *Options) {
		o.Licenses, o.Tokens, o.Interwater = named("old-0", "old-1", "old-2"), ring, roundTrip(nil)
	})
	return b, ring
}

// The fleet's verdicts are sealed with the first license's secret key.
func TestTheOldKeyOfTheFirstLicenseOpensNoVerdictAfterItsRotation(t *testing.T) {
	b, _ := rotating(t)
	vault := &fakeVault{}
	b.options.Verdicts = vault
	for _, tt := range []struct {
		keys []string
		seal string
	}{
		{[]string{"old-0", "old-1", "new-2"}, ""},
		{[]string{"tpyo", "old-1", "new-2"}, ""}, // no token for the new key: the old one stays in use
		{[]string{"new-0", "old-1", "new-2"}, "new-0"},
	} {
		_ = b.Reload(t.Context(), nil, named(tt.keys...))
		if got := vault.seal.Reveal(); got != tt.seal {
			t.Errorf("%q: sealed with %q", tt.keys, got)
		}
	}
}

// Issue 16: if one new key was wrong, none of them was used.
func TestWrongKeyOfOneLicenseKeepsNoOtherFromItsNewOne(t *testing.T) {
	b, ring := rotating(t)
	err := b.Reload(t.Context(), nil, named("new-0", "tpyo", "new-2"))
	failure, ok := errors.AsType[*Unproved](err)
	if !ok || !strings.Contains(err.Error(), "license 1") || strings.Contains(err.Error(), "license 2") || strings.Contains(err.Error(), "tpyo") {
		t.Fatal(err)
	}
	if failure.RetryAfter <= 0 || failure.RetryAfter > time.Minute {
		t.Errorf("again after %s", failure.RetryAfter)
	}
	if got := inUse(b); !slices.Equal(got, []string{"new-0", "old-1", "new-2"}) {
		t.Errorf("%q in use", got)
	}
	if ring.gone != 5 { // two old licenses' member and owner, and the wrong one
		t.Errorf("%d keys were forgotten", ring.gone)
	}
	ring.right["new-1"] = true
	if err := b.Reload(t.Context(), nil, named("new-0", "new-1", "new-2")); err != nil {
		t.Error(err)
	}
	if got := inUse(b); !slices.Equal(got, []string{"new-0", "new-1", "new-2"}) {
		t.Errorf("%q in use", got)
	}
}

// Issue 16: a wrong key was tried every 5 s for ever.
func TestWrongKeyBacksOffAcrossReloads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, ring := rotating(t)
		began := time.Now()
		for time.Since(began) < time.Hour {
			err := b.Reload(t.Context(), nil, named("new-0", "tpyo", "new-2"))
			failure, ok := errors.AsType[*Unproved](err)
			if !ok || failure.RetryAfter <= 0 {
				t.Fatalf("%v", err)
			}
			time.Sleep(min(failure.RetryAfter, 5*time.Second)) // another file changes, or somebody sends SIGHUP
		}
		// On average half a minute apart.
		if n := len(ring.tried); n < 60 || n > 240 {
			t.Errorf("%d calls in an hour", n)
		}
		for i := range ring.tried[1:] {
			if gap := ring.tried[i+1].Sub(ring.tried[i]); gap < time.Second || gap > time.Minute+5*time.Second {
				t.Errorf("%s between two calls", gap)
			}
		}
		calls := len(ring.tried)
		if err := b.Reload(t.Context(), nil, named("new-0", "tpyo again", "new-2")); err == nil || len(ring.tried) != calls+1 {
			t.Errorf("another key waits for the wrong one's backoff: %v", err)
		}
		if err := b.Reload(t.Context(), nil, named("new-0", "old-1", "new-2")); err != nil {
			t.Errorf("the old key again: %v", err)
		}
	})
}
