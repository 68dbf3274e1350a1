package bridge

// Calls of Glory: which answers admit, deny or fail, and how often Glory is called.

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"roomgate/internal/sandbox"
	"roomgate/internal/upstream"
)

func remoteBridge(t testing.TB, rt roundTrip, change ...func(*Options)) *Bridge {
	o := options(t, mustParse("http://glory.invalid"))
	o.Glory, o.Local.Leeway = rt, 10*time.Second
	for _, f := range change {
		f(&o)
	}
	return newBridge(t, o)
}

func TestGloryAdmitsItsOwn(t *testing.T) {
	s := upstreams(t)
	b := newBridge(t, options(t, mustParse(s.GloryURL)))
	raw := s.Glory.MintToken("2", time.Hour)
	member, err := ask(b, raw)
	if err != nil || member.Subject != "2" || member.Issuer != "com.smarth" {
		t.Errorf("%+v, %v", member, err)
	}
	if r := s.Glory.LastRequest(); r.Method != "GET" || r.RequestURI != "/api/v1/check_login" ||
		!slices.Equal(r.Header["Authorization"], []string{"Bearer " + raw}) || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("Glory saw %+v", r)
	}
	if _, err := ask(b, signed(secretB, hs384, claims())); !errors.Is(err, ErrMemberToken) {
		t.Errorf("a forged token: %v", err)
	}
}

func TestAnswersOfGlory(t *testing.T) {
	s := upstreams(t)
	elsewhere := scripted(t, func(_ http.ResponseWriter, r *http.Request) { t.Errorf("a redirect was followed with %v", r.Header) })
	b := newBridge(t, options(t, mustParse(s.GloryURL)))
	for n, tt := range []struct {
		fault sandbox.Fault
		err   error
	}{
		{sandbox.Fault{}, nil},
		{sandbox.Fault{Body: " {\n\t\"data\" : { \"result\" : \"ok\", \"more\": [1] } }\r\n"}, nil},
		{sandbox.Fault{Kind: sandbox.KindEmpty}, upstream.ErrFailed},
		{sandbox.Fault{Kind: sandbox.KindGarbage}, upstream.ErrFailed}, // a maintenance page
		{sandbox.Fault{Kind: sandbox.KindHuge, Size: 1 << 20}, upstream.ErrFailed},
		{sandbox.Fault{Body: `{}`}, upstream.ErrFailed},
		{sandbox.Fault{Body: `{"data":null}`}, upstream.ErrFailed},
		{sandbox.Fault{Body: `{"data":{"result":"OK"}}`}, upstream.ErrFailed},
		{sandbox.Fault{Body: `{"data":{"result":true}}`}, upstream.ErrFailed},
		{sandbox.Fault{Body: `{"Data":{"result":"ok"}}`}, upstream.ErrFailed},
		{sandbox.Fault{Body: `{"result":"ok"}`}, upstream.ErrFailed},
		{sandbox.Fault{Body: `[{"data":{"result":"ok"}}]`}, upstream.ErrFailed},
		{sandbox.Fault{Body: `{"data":{"result":"no","result":"ok"}}`}, upstream.ErrFailed},
		{sandbox.Fault{Body: `{"data":{"result":"ok"}} <!-- cached -->`}, upstream.ErrFailed},
		{sandbox.Fault{Status: 401}, ErrMemberToken},
		{sandbox.Fault{Status: 403}, ErrMemberToken},
		{sandbox.Fault{Status: 201}, upstream.ErrFailed},
		{sandbox.Fault{Status: 204}, upstream.ErrFailed},
		{sandbox.Fault{Status: 400}, upstream.ErrFailed},
		{sandbox.Fault{Status: 404}, upstream.ErrFailed},
		{sandbox.Fault{Status: 407}, upstream.ErrFailed},
		{sandbox.Fault{Status: 429}, upstream.ErrFailed},
		{sandbox.Fault{Status: 500}, upstream.ErrFailed},
		{sandbox.Fault{Status: 503}, upstream.ErrFailed},
		{sandbox.Fault{Redirect: elsewhere.String()}, upstream.ErrFailed},
		{sandbox.Fault{Redirect: elsewhere.String(), Status: 307}, upstream.ErrFailed},
		{sandbox.Fault{Kind: sandbox.KindReset}, upstream.ErrFailed},
		{sandbox.Fault{Kind: sandbox.KindRaw, Body: "hello"}, upstream.ErrFailed},
		{sandbox.Fault{Kind: sandbox.KindUpgrade}, upstream.ErrFailed},
	} {
		s.Glory.SetFaults(tt.fault)
		_, err := ask(b, good("n", n)) // another token each time, so nothing is remembered
		if !errors.Is(err, tt.err) {
			t.Errorf("%+v: %v, want %v", tt.fault, err, tt.err)
		}
		if tt.err == upstream.ErrFailed && errors.Is(err, ErrMemberToken) {
			t.Errorf("%+v: a failure of Glory counts against the member", tt.fault)
		}
	}
}

// Issue 16: a 200 with an HTML page or an empty body admitted forged tokens, and was remembered.
func TestMaintenancePageIsNotRemembered(t *testing.T) {
	s := upstreams(t)
	vault := &fakeVault{}
	o := options(t, mustParse(s.GloryURL))
	o.Verdicts = vault
	b := newBridge(t, o)
	forged := signed(secretB, hs384, claims())
	for _, kind := range []sandbox.Kind{sandbox.KindGarbage, sandbox.KindEmpty} {
		s.Glory.SetFaults(sandbox.Fault{Kind: kind})
		if _, err := ask(b, forged); !errors.Is(err, upstream.ErrFailed) {
			t.Errorf("%s: a forged token: %v", kind, err)
		}
	}
	s.Glory.SetFaults()
	if _, err := ask(b, forged); !errors.Is(err, ErrMemberToken) || strings.Contains(vault.asked(), "save") {
		t.Errorf("afterwards: %v; %s", err, vault.asked())
	}
}

func TestGloryThatIsSilentIsATimeout(t *testing.T) {
	s := upstreams(t)
	o := options(t, mustParse(s.GloryURL))
	o.GloryTimeout = 50 * time.Millisecond
	b := newBridge(t, o)
	s.Glory.SetFaults(sandbox.Fault{Kind: sandbox.KindHang})
	if _, err := ask(b, good()); !errors.Is(err, upstream.ErrTimeout) {
		t.Errorf("%v", err)
	}
	s.Glory.SetFaults()
	if _, err := ask(b, good()); err != nil {
		t.Errorf("a failure was remembered: %v", err)
	}
}

func TestGloryThatCannotBeReached(t *testing.T) {
	b := newBridge(t, options(t, mustParse("http://127.0.0.1:1")))
	if _, err := ask(b, good()); !errors.Is(err, upstream.ErrFailed) {
		t.Errorf("%v", err)
	}
}

func TestExpiredTokenIsNotAskedAbout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, status atomic.Int64
		status.Store(200)
		vault := &fakeVault{}
		b := remoteBridge(t, counted(&calls, &status), func(o *Options) { o.Verdicts = vault })
		now := time.Now().Unix()
		for _, exp := range []any{now - 3600, now - 11, now - 10, 0, "x", -1, 1e300, []int{1}} {
			if _, err := ask(b, good("exp", exp)); !errors.Is(err, ErrMemberToken) {
				t.Errorf("exp %v: %v", exp, err)
			}
		}
		if calls.Load() > 0 || vault.asked() != "" {
			t.Errorf("%d calls of Glory, and of the fleet's memory: %s", calls.Load(), vault.asked())
		}
		for n, exp := range []any{now + 1, nil} { // without exp, Glory decides
			if _, err := ask(b, good("exp", exp)); err != nil || calls.Load() != int64(n+1) {
				t.Errorf("exp %v: %v after %d calls", exp, err, calls.Load())
			}
		}
	})
}

func TestAdmissionIsRememberedForItsTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, status atomic.Int64
		status.Store(200)
		b := remoteBridge(t, counted(&calls, &status))
		raw, began := good(), time.Now()
		for _, tt := range []struct {
			at    time.Duration
			calls int64
		}{{0, 1}, {0, 1}, {time.Minute - 1, 1}, {time.Minute, 2}, {2*time.Minute - 1, 2}} {
			time.Sleep(time.Until(began.Add(tt.at)))
			if _, err := ask(b, raw); err != nil || calls.Load() != tt.calls {
				t.Errorf("after %s: %d calls, want %d; %v", tt.at, calls.Load(), tt.calls, err)
			}
		}
		if _, err := ask(b, good("sub", "another")); err != nil || calls.Load() != 3 {
			t.Errorf("another token: %d calls, %v", calls.Load(), err)
		}
		status.Store(500) // a remembered verdict doesn't need Glory
		if _, err := ask(b, raw); err != nil {
			t.Error(err)
		}
	})
}

func TestAdmissionNeverOutlivesTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, status atomic.Int64
		status.Store(200)
		vault := &fakeVault{}
		b := remoteBridge(t, counted(&calls, &status), func(o *Options) { o.Verdicts = vault })
		raw := good("exp", time.Now().Add(20*time.Second).Unix())
		ask(b, raw)
		if asked := vault.asked(); !strings.HasSuffix(asked, " 20s") {
			t.Errorf("%s", asked)
		}
		time.Sleep(20*time.Second - 1)
		ask(b, raw)
		if calls.Load() != 1 {
			t.Errorf("%d calls", calls.Load())
		}
		status.Store(403)
		time.Sleep(time.Nanosecond) // expired, but within the leeway: Glory decides again
		if _, err := ask(b, raw); !errors.Is(err, ErrMemberToken) || calls.Load() != 2 {
			t.Errorf("%d calls, %v", calls.Load(), err)
		}
	})
}

// Another replica's clock, or a Redis whose TTL is off, must not carry an admission past exp either.
func TestSharedAdmissionNeverOutlivesTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, status atomic.Int64
		status.Store(403)
		vault := &fakeVault{}
		b := remoteBridge(t, counted(&calls, &status), func(o *Options) { o.Verdicts = vault })
		raw := good("exp", time.Now().Add(20*time.Second).Unix())
		token, err := parseMemberToken(raw)
		if err != nil {
			t.Fatal(err)
		}
		vault.Save(t.Context(), b.remote.verdicts.name(token.digest), append(lifeText(time.Hour), "{}"...), time.Hour)
		if _, err := ask(b, raw); err != nil || calls.Load() != 0 {
			t.Fatalf("%d calls, %v", calls.Load(), err)
		}
		time.Sleep(20 * time.Second)
		if _, err := ask(b, raw); !errors.Is(err, ErrMemberToken) || calls.Load() != 1 {
			t.Errorf("%d calls, %v", calls.Load(), err)
		}
	})
}

func TestDenialIsRememberedForFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, ttl := range []time.Duration{0, time.Second, time.Hour} {
			var calls, status atomic.Int64
			status.Store(403)
			vault := &fakeVault{}
			b := remoteBridge(t, counted(&calls, &status), func(o *Options) { o.Verdicts, o.MemberCacheTTL = vault, ttl })
			raw := good()
			for _, tt := range []struct {
				wait  time.Duration
				calls int64
			}{{0, 1}, {0, 1}, {5*time.Second - 1, 1}, {1, 2}} {
				time.Sleep(tt.wait)
				if _, err := ask(b, raw); !errors.Is(err, ErrMemberToken) || calls.Load() != tt.calls {
					t.Errorf("TTL %s: %d calls, want %d; %v", ttl, calls.Load(), tt.calls, err)
				}
			}
			if strings.Contains(vault.asked(), "save") {
				t.Error("a denial was told to the fleet")
			}
			status.Store(200)
			time.Sleep(5 * time.Second)
			if _, err := ask(b, raw); err != nil {
				t.Errorf("then: %v", err)
			}
		}
	})
}

func TestAdmissionIsSharedByTheFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls, status atomic.Int64
		status.Store(200)
		vault := &fakeVault{}
		replicas := []*Bridge{}
		for range 3 {
			replicas = append(replicas, remoteBridge(t, counted(&calls, &status), func(o *Options) { o.Verdicts = vault }))
		}
		raw := good()
		for _, replica := range replicas {
			if _, err := ask(replica, raw); err != nil {
				t.Error(err)
			}
			time.Sleep(10 * time.Second)
		}
		if calls.Load() != 1 {
			t.Errorf("%d calls", calls.Load())
		}
		time.Sleep(30*time.Second - 1) // a nanosecond before the end of the first replica's minute
		ask(replicas[2], raw)
		if calls.Load() != 1 {
			t.Errorf("%d calls", calls.Load())
		}
		time.Sleep(time.Nanosecond)
		if ask(replicas[2], raw); calls.Load() != 2 {
			t.Errorf("a shared admission began its minute again: %d calls", calls.Load())
		}
		if asked := vault.asked(); strings.Contains(asked, raw) || strings.Contains(asked, strings.Split(raw, ".")[2]) {
			t.Errorf("the JWT is told to the fleet: %s", asked)
		}
	})
}

func TestWithoutTTLGloryIsAskedEachTime(t *testing.T) {
	var calls, status atomic.Int64
	status.Store(200)
	vault := &fakeVault{}
	b := remoteBridge(t, counted(&calls, &status), func(o *Options) { o.MemberCacheTTL, o.Verdicts = 0, vault })
	raw := good()
	token, err := parseMemberToken(raw)
	if err != nil {
		t.Fatal(err)
	}
	// A replica with other settings may have left a verdict.
	vault.Save(t.Context(), b.remote.verdicts.name(token.digest), append(lifeText(time.Hour), "{}"...), time.Hour)
	for n := range 3 {
		if _, err := ask(b, raw); err != nil || calls.Load() != int64(n+1) {
			t.Errorf("%d calls, %v", calls.Load(), err)
		}
	}
	if strings.Count(vault.asked(), "save") != 1 {
		t.Errorf("an admission was kept: %s", vault.asked())
	}
}

func TestFailureIsNotRemembered(t *testing.T) {
	var calls, status atomic.Int64
	vault := &fakeVault{}
	b := remoteBridge(t, counted(&calls, &status), func(o *Options) { o.Verdicts = vault })
	raw := good()
	for n := range 3 {
		if _, err := ask(b, raw); !errors.Is(err, upstream.ErrFailed) || calls.Load() != int64(n+1) {
			t.Errorf("%d calls, %v", calls.Load(), err)
		}
	}
	if strings.Contains(vault.asked(), "save") {
		t.Error("a failure was told to the fleet")
	}
}

func TestConcurrentChecksAreOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		release := make(chan struct{})
		b := remoteBridge(t, func(string) (int, error) {
			calls.Add(1)
			<-release
			return 200, nil
		})
		raws := []string{good("sub", "a"), good("sub", "b")}
		var admitted atomic.Int64
		var all sync.WaitGroup
		for n := range 200 {
			all.Go(func() {
				if member, err := ask(b, raws[n%2]); err == nil && member.Subject == []string{"a", "b"}[n%2] {
					admitted.Add(1)
				}
			})
		}
		synctest.Wait() // all callers wait
		close(release)
		all.Wait()
		if calls.Load() != 2 || admitted.Load() != 200 {
			t.Errorf("%d calls for two tokens, %d admitted", calls.Load(), admitted.Load())
		}
	})
}

func TestCallerThatLeavesFailsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var calls atomic.Int64
		b := remoteBridge(t, func(string) (int, error) {
			calls.Add(1)
			<-release
			return 200, nil
		})
		headers := []string{"Bearer " + good()}
		first, leave := context.WithCancel(t.Context())
		errs := make(chan error, 2)
		go func() {
			_, err := b.Authenticate(first, headers)
			errs <- err
		}()
		synctest.Wait() // the first caller has started the call
		go func() {
			_, err := b.Authenticate(t.Context(), headers)
			errs <- err
		}()
		synctest.Wait()
		leave()
		if err := <-errs; !errors.Is(err, context.Canceled) {
			t.Errorf("who left got %v", err)
		}
		close(release)
		if err := <-errs; err != nil || calls.Load() != 1 {
			t.Errorf("who stayed got %v after %d calls", err, calls.Load())
		}
	})
}

func TestGlorysErrorsRepeatNoToken(t *testing.T) {
	for _, form := range []string{"%s\r\n\r\n", "HTTP/1.1 %s\r\n\r\n", "HTTP/1.1 200 OK\r\n%s\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\n"} {
		glory := scripted(t, func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			fmt.Fprintf(conn, form, r.Header.Get("Authorization"))
		})
		raw := good()
		if _, err := ask(newBridge(t, options(t, glory)), raw); err == nil || strings.Contains(err.Error(), raw) || !errors.Is(err, upstream.ErrFailed) {
			t.Errorf("%q: %v", form, err)
		}
	}
}

// While Glory's circuit is open, a rule that needs a profile is neither true nor false. So later licenses must not be tried.
func TestOpenCircuitAdmitsNobodyByALaterLicense(t *testing.T) {
	glory := scripted(t, func(w http.ResponseWriter, _ *http.Request) {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			conn.Close()
		}
	})
	o := options(t, glory)
	first, second := license(), license()
	first.Allow, second.Name = "member.profile.point > 5", "second"
	o.Licenses = []License{first, second}
	b := newBridge(t, o)
	for i := range 30 {
		grant, err := b.Authorize(t.Context(), Member{Subject: "2", token: presented{digest: [32]byte{byte(i)}}}, Request{})
		if grant.License != "" || i < 20 && !errors.Is(err, upstream.ErrFailed) || i >= 20 && !errors.Is(err, upstream.ErrCircuit) {
			t.Fatalf("%d: %+v, %v", i, grant, err)
		}
	}
}
