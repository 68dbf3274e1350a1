package bridge

// The deny list on Glory's routes, where the token hasn't been verified.

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"roomgate/internal/fleet"
	"roomgate/internal/secret"
	"roomgate/internal/upstream"
)

// denyList is a deny list in memory. Each name has its end; the zero time: no end. The zero value is an empty list.
type denyList struct {
	names   map[string]time.Time
	changes uint64
	full    bool
}

// denies returns a list with these names, without end.
func denies(names ...string) *denyList {
	d := &denyList{}
	for _, name := range names {
		_ = d.Add(context.Background(), name, 0, 0)
	}
	return d
}

func (d *denyList) Empty() bool     { return len(d.names) == 0 }
func (d *denyList) Changes() uint64 { return d.changes }

func (d *denyList) Has(names ...string) bool {
	return slices.ContainsFunc(names, func(n string) bool { _, ok := d.Until(n); return ok })
}

func (d *denyList) Until(name string) (time.Time, bool) {
	end, ok := d.names[name]
	if ok && !end.IsZero() && !time.Now().Before(end) {
		return time.Time{}, false
	}
	return end, ok
}

func (d *denyList) Add(ctx context.Context, name string, ttl time.Duration, most int) error {
	if ttl == 0 {
		return d.AddUntil(ctx, name, time.Time{}, most)
	}
	return d.AddUntil(ctx, name, time.Now().Add(ttl), most)
}

func (d *denyList) AddUntil(_ context.Context, name string, end time.Time, _ int) error {
	if d.full {
		return fleet.ErrFull
	}
	if d.names == nil {
		d.names = map[string]time.Time{}
	}
	d.names[name] = end
	d.changes++
	return nil
}

// bridges returns a Bridge in local mode and one in remote mode, each with the list.
func bridges(t *testing.T, list *denyList) map[string]*Bridge {
	s := upstreams(t)
	o := options(t, mustParse(s.GloryURL))
	o.Denied = list
	inProcess := o
	inProcess.Local = LocalVerification{
		Secrets: []secret.Value{secret.New(secretB), secret.New(secretA)}, Algorithms: []string{"HS384"}, Issuer: "com.smarth",
	}
	return map[string]*Bridge{"local": newBridge(t, inProcess), "remote": newBridge(t, o)}
}

func TestDeniedTokenIsKnownInEverySpelling(t *testing.T) {
	token, other := good(), good("sub", "8")
	parts := strings.Split(token, ".")
	digest := digestOf(token)
	for name, list := range map[string]*denyList{
		"sub": denies(deniedSub + "2"), "token": denies(deniedToken + hex.EncodeToString(digest[:])), "logged out": denies(tokenName(digest)), "nobody": denies(),
	} {
		for mode, b := range bridges(t, list) {
			for _, headers := range [][]string{
				{"Bearer " + token}, {"bearer   " + token}, {"Bearer\t" + token + " "}, {"Token " + token}, {token}, {"Bearer x", "Bearer " + token}, {"Bearer x, Bearer " + token},
				{"Bearer " + parts[0] + "." + parts[1] + "." + parts[2] + "="}, {"Bearer " + parts[0] + "." + parts[1] + "." + strings.NewReplacer("-", "+", "_", "/").Replace(parts[2])},
			} {
				want := map[string]error{"sub": ErrDenied, "token": ErrDenied, "logged out": ErrLoggedOut}[name]
				if err := b.CheckBearer(t.Context(), headers); !errors.Is(err, want) {
					t.Errorf("%s, %s: %.40q: %v", mode, name, headers, err)
				}
			}
			for _, headers := range [][]string{nil, {""}, {"Bearer " + other}, {"Bearer a.b.c"}, {"Basic Nzo3"}, {"Bearer " + strings.Repeat("a.", 5000)}} {
				if err := b.CheckBearer(t.Context(), headers); err != nil {
					t.Errorf("%s, %s: %.40q: %v", mode, name, headers, err)
				}
			}
		}
	}
}

// Anybody can forge a token of member 2. The answer must be the same whether member 2 is denied or not: Glory refuses the token.
func TestForgedTokenDoesNotTellWhoIsDenied(t *testing.T) {
	out := denies()
	_ = out.AddUntil(t.Context(), loggedOutMember+"2", time.Now().Add(longestLife), 0)
	all := bridges(t, denies(deniedSub+"2"))
	for mode, b := range bridges(t, out) {
		all["logged out, "+mode] = b
	}
	for mode, b := range all {
		for name, token := range map[string]string{
			"another secret":    signed(strings.Repeat("c", 48), hs384, claims()),
			"none":              segment(`{"alg":"none"}`) + "." + segment(claims()) + ".",
			"cut":               good()[:len(good())-4],
			"another signature": good() + "AAAA",
			"of another member": good("sub", "8")[:len(segment(hs384))+1] + segment(claims()) + "." + strings.Split(good("sub", "8"), ".")[2],
		} {
			if err := b.CheckBearer(t.Context(), []string{"Bearer " + token}); err != nil {
				t.Errorf("%s, %s: %v", mode, name, err)
			}
		}
	}
}

// For rooms, one algorithm and one issuer are accepted. Glory may accept others.
func TestEveryTokenThatASecretHasSignedIsDenied(t *testing.T) {
	b := bridges(t, denies(deniedSub+"2"))["local"]
	for name, token := range map[string]string{
		"HS256": signed(secretA, `{"alg":"HS256"}`, claims(), hs256), "HS512": signed(secretA, `{"alg":"HS512"}`, claims(), hs512),
		"the other secret": signed(secretB, hs384, claims()), "another issuer": good("iss", "elsewhere"),
	} {
		if err := b.CheckBearer(t.Context(), []string{"Bearer " + token}); !errors.Is(err, ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGloryIsAskedAboutDeniedMembersTokensAlone(t *testing.T) {
	var calls, status atomic.Int64
	status.Store(200)
	b := remoteBridge(t, counted(&calls, &status), func(o *Options) { o.Denied = denies(deniedSub + "2") })
	check := func(token string, want error, n int64) {
		t.Helper()
		if err := b.CheckBearer(t.Context(), []string{"Bearer " + token}); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%v, want %v", err, want)
		}
		if calls.Load() != n {
			t.Errorf("%d calls, want %d", calls.Load(), n)
		}
	}
	check(good("sub", "8"), nil, 0)
	check(good(), ErrDenied, 1)
	check(good(), ErrDenied, 1) // the verdict is kept
	status.Store(403)
	check(good("x", 1), nil, 2)
	check(good("x", 1), nil, 2)
	status.Store(0) // a denied member doesn't get through while Glory fails
	check(good("x", 2), upstream.ErrFailed, 3)
	check(good(), ErrDenied, 3)
	status.Store(403)
	many := make([]string, 300)
	for i := range many {
		many[i] = good("x", 10+i)
	}
	check(strings.Join(many, ","), nil, 3+maxQuestions)
}
