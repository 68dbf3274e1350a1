package bridge

// New and its errors, the errors for failures of the token cache, and the whole way from a license to a token that Interwater accepts.

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"roomgate/internal/sandbox"
	"roomgate/internal/secret"
	"roomgate/internal/tokencache"
)

func TestNewWantsWhatItNeeds(t *testing.T) {
	full := options(t, mustParse("http://glory.invalid"))
	if _, err := New(full); err != nil {
		t.Fatal(err)
	}
	for rule, change := range map[string]func(*Options){
		"no Glory":                  func(o *Options) { o.Glory = nil },
		"no Interwater":             func(o *Options) { o.Interwater = nil },
		"no Tokens":                 func(o *Options) { o.Tokens = nil },
		"no Verdicts":               func(o *Options) { o.Verdicts = nil },
		"no license":                func(o *Options) { o.Licenses = nil },
		"a license without minutes": func(o *Options) { o.Licenses = []License{license(), {Name: "second", SecretKey: license().SecretKey}} },
		"a license without secret":  func(o *Options) { o.Licenses = []License{{Name: "second", TokenMinutes: 1}} },
	} {
		o := full
		change(&o)
		if _, err := New(o); err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%s: %v", rule, err)
		} else if strings.Contains(rule, "license without") && !strings.Contains(err.Error(), "second") {
			t.Errorf("%s: %v does not say which", rule, err)
		}
	}
}

func TestVerificationsAreCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	answers := []int{200, 403, 500}
	o := options(t, mustParse("http://glory.invalid"))
	o.Metrics, o.Glory = registry, roundTrip(func(string) (int, error) {
		status := answers[0]
		answers = answers[1:]
		return status, nil
	})
	b := newBridge(t, o)
	for n := range 3 {
		ask(b, good("n", n))
	}
	ask(b, good("exp", 1))
	ask(b, "no token at all") // nothing to verify
	families, err := registry.Gather()
	at := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == "roomgate_member_verifications_total" })
	if err != nil || at < 0 {
		t.Fatalf("%v, %v", families, err)
	}
	var got []string
	for _, m := range families[at].GetMetric() {
		if m.GetCounter().GetValue() == 0 {
			continue
		}
		got = append(got, fmt.Sprint(m.GetLabel()[0].GetValue(), " ", m.GetLabel()[1].GetValue(), " ", m.GetCounter().GetValue()))
	}
	slices.Sort(got)
	if want := []string{"remote admitted 1", "remote denied 2", "remote failed 1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if _, err := New(o); err == nil {
		t.Error("two sets of the same metrics were taken")
	}
}

// Everything that changes what a token may do must change its key. Otherwise a request could get another license's token.
func TestGrantsOfAnotherAuthorityHaveOtherKeys(t *testing.T) {
	base := mustParse("http://interwater.invalid")
	var grants []Grant
	for _, tt := range []struct {
		change     func(*License)
		role, base string
	}{
		{func(*License) {}, RoleMember, ""}, {func(*License) {}, RoleOwner, ""}, {func(*License) {}, RoleMember, "other"},
		{func(l *License) { l.AccessKey = secret.New("x") }, RoleMember, ""},
		{func(l *License) { l.SecretKey = secret.New("x") }, RoleMember, ""},
		{func(l *License) { l.TokenMinutes = 61 }, RoleMember, ""},
	} {
		l := license()
		tt.change(&l)
		grant, err := newGrant(l, tt.role, at(t, base.JoinPath(tt.base)))
		if err != nil {
			t.Fatal(err)
		}
		grants = append(grants, grant)
	}
	for _, grant := range grants { // only the cache can tell keys apart
		cache, err := tokencache.New(tokencache.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer cache.Close()
		if _, _, err := cache.Token(t.Context(), grant.key, issue("first")); err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, other := range grants {
			token, _, err := cache.Token(t.Context(), other.key, issue("second"))
			if err != nil {
				t.Fatal(err)
			}
			if token.Value() == "first" {
				found++
			}
		}
		if found != 1 {
			t.Errorf("%s: %d keys lead to its token", grant.Role, found)
		}
	}
}

func issue(value string) tokencache.Fetch {
	return func(context.Context) (tokencache.Issued, error) {
		return tokencache.Issued{Value: secret.New(value), Life: time.Hour}, nil
	}
}

// withCache returns a Bridge with a real token cache, and the sandbox as Interwater.
func withCache(t *testing.T, s *sandbox.Sandbox) (*Bridge, *tokencache.Cache) {
	t.Helper()
	cache, err := tokencache.New(tokencache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	o := options(t, mustParse(s.GloryURL))
	o.Interwater, o.Tokens = at(t, mustParse(s.InterwaterURL)), cache
	return newBridge(t, o), cache
}

func TestCredentialsComeFromTheCache(t *testing.T) {
	s := upstreams(t)
	b, _ := withCache(t, s)
	grant, err := b.Authorize(t.Context(), Member{Subject: "2"}, Request{})
	if err != nil || grant.License != "default" || grant.Role != RoleMember {
		t.Fatalf("%+v, %v", grant, err)
	}
	first, err := b.Credential(t.Context(), grant)
	if err != nil || first.Source != "fetched" || first.Value() == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	again, err := b.Credential(t.Context(), grant)
	if err != nil || again.Source != "memory" || again.Value() != first.Value() || s.Interwater.AuthCalls() != 1 {
		t.Errorf("%+v, %v after %d calls of v1/auth", again, err, s.Interwater.AuthCalls())
	}
	if err := b.Reject(t.Context(), first, Credential{}); err != nil {
		t.Fatal(err)
	}
	second, err := b.Credential(t.Context(), grant)
	if err != nil || second.Source != "fetched" || second.Value() == first.Value() {
		t.Errorf("%+v, %v", second, err)
	}
	// The first once more: it is gone already, and the second stays.
	if err := b.Reject(t.Context(), first, Credential{}); err != nil {
		t.Fatal(err)
	}
	if third, err := b.Credential(t.Context(), grant); err != nil || third.Value() != second.Value() {
		t.Errorf("%+v, %v", third, err)
	}
	err = b.Reject(t.Context(), second, first)
	if none, ok := errors.AsType[*NoCredential](err); !ok || !none.Refused || none.RetryAfter < time.Second {
		t.Errorf("%v", err)
	}
	if none, ok := errors.AsType[*NoCredential](b.Reject(t.Context(), second, Credential{})); !ok || !none.Refused {
		t.Error("a refused generation is rejected as if it were not known")
	}
	if text := fmt.Sprintf("%v %+v %#v", second, second, grant); strings.Contains(text, second.Value()) || strings.Contains(text, "CANARY") {
		t.Errorf("printed: %s", text)
	}
}

func TestFailuresOfCredential(t *testing.T) {
	for _, tt := range []struct {
		fault    sandbox.Fault
		refused  bool
		atLeast  time.Duration
		andToken bool
	}{
		{fault: sandbox.Fault{Status: 401}, refused: true, atLeast: time.Second},
		{fault: sandbox.Fault{Status: 403}, refused: true, atLeast: time.Second},
		{fault: sandbox.Fault{Status: 500}, atLeast: 1},
		{fault: sandbox.Fault{Status: 429, RetryAfter: 9}, atLeast: 8 * time.Second},
		{fault: sandbox.Fault{Kind: sandbox.KindGarbage}, atLeast: 1},
		{fault: sandbox.Fault{Kind: sandbox.KindReset}, atLeast: 1},
		{fault: sandbox.Fault{Redirect: "http://interwater.invalid"}, atLeast: 1},
		{fault: sandbox.Fault{Token: &sandbox.TokenFault{TTL: -time.Hour}}, atLeast: 1},
	} {
		s := upstreams(t)
		b, _ := withCache(t, s)
		grant, _ := b.Authorize(t.Context(), Member{}, Request{})
		s.Interwater.SetFaults(tt.fault)
		_, err := b.Credential(t.Context(), grant)
		none, ok := errors.AsType[*NoCredential](err)
		if !ok || none.Refused != tt.refused || none.RetryAfter < tt.atLeast || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%+v: %v", tt.fault, err)
		}
	}
}

func TestCredentialWaitsNoLongerThanItsCaller(t *testing.T) {
	s := upstreams(t)
	b, _ := withCache(t, s)
	s.Interwater.SetFaults(sandbox.Fault{Kind: sandbox.KindHang})
	grant, _ := b.Authorize(t.Context(), Member{}, Request{})
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if _, err := b.Credential(ctx, grant); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestClosedCacheIsNoCredential(t *testing.T) {
	s := upstreams(t)
	b, cache := withCache(t, s)
	cache.Close()
	grant, _ := b.Authorize(t.Context(), Member{}, Request{})
	_, err := b.Credential(t.Context(), grant)
	if none, ok := errors.AsType[*NoCredential](err); !ok || none.Refused || none.RetryAfter != time.Second {
		t.Errorf("%v", err)
	}
}

func TestClassesOfTheCacheAreTold(t *testing.T) {
	cause := errors.New("cause")
	for class, refused := range map[tokencache.Class]bool{
		tokencache.Denied: true, tokencache.Rejected: true, tokencache.Transient: false, tokencache.Throttled: false, tokencache.Garbage: false, tokencache.Budget: false,
	} {
		err := noCredential(fmt.Errorf("wrapped: %w", &tokencache.Unavailable{Class: class, RetryAfter: 3 * time.Second, Err: cause}))
		none, ok := errors.AsType[*NoCredential](err)
		if !ok || none.Refused != refused || none.RetryAfter != 3*time.Second || !errors.Is(err, cause) {
			t.Errorf("%s: %+v", class, err)
		}
	}
	if err := noCredential(context.DeadlineExceeded); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestCredentialThatNoBridgeIssued(t *testing.T) {
	c := NewCredential("redis", "CANARY")
	if c.Source != "redis" || c.Value() != "CANARY" {
		t.Errorf("%q, %q", c.Source, c.Value())
	}
	if text := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(text, "CANARY") {
		t.Errorf("printed: %s", text)
	}
}
