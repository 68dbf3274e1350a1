package bridge

// A logout turns away one token until its expiry, or all of the member's tokens from before, and no other member's.

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// logoutModes returns a Bridge in each mode, with an empty deny list.
func logoutModes(t *testing.T) map[string]func() (*Bridge, *denyList) {
	var calls, status atomic.Int64
	status.Store(200)
	return map[string]func() (*Bridge, *denyList){
		"local": func() (*Bridge, *denyList) {
			list := &denyList{}
			return newLocalBridge(t, func(o *Options) { o.Denied = list }), list
		},
		"remote": func() (*Bridge, *denyList) {
			list := &denyList{}
			return newLocalBridge(t, func(o *Options) {
				o.Denied, o.Glory, o.Local.Secrets, o.MemberCacheTTL = list, counted(&calls, &status), nil, time.Minute
			}), list
		},
	}
}

// logOut verifies a token and logs it out.
func logOut(t *testing.T, b *Bridge, raw string, all bool) {
	t.Helper()
	m, err := b.Verify(context.Background(), []string{"Bearer " + raw})
	if err == nil {
		err = b.Logout(context.Background(), m, all)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// standing returns the error for a token on room routes. It fails the test if the error under /api/ is another one.
func standing(t *testing.T, b *Bridge, raw string) error {
	t.Helper()
	_, room := ask(b, raw)
	if api := b.CheckBearer(context.Background(), []string{"Bearer " + raw}); !errors.Is(api, room) && !errors.Is(room, api) {
		t.Errorf("in rooms %v, under /api/ %v", room, api)
	}
	return room
}

func TestALoggedOutTokenIsRefusedUntilItsEnd(t *testing.T) {
	for mode, start := range logoutModes(t) {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, list := start()
				one, other, anothers := good("sub", "7", "jti", "1"), good("sub", "7", "jti", "2"), good("sub", "8")
				for _, raw := range []string{one, other, anothers} {
					if err := standing(t, b, raw); err != nil {
						t.Fatal(err)
					}
				}
				for range 2 { // a second logout is no error
					logOut(t, b, one, false)
					if err := standing(t, b, one); !errors.Is(err, ErrLoggedOut) || !errors.Is(err, ErrMemberToken) {
						t.Errorf("logged out: %v", err)
					}
				}
				for _, raw := range []string{other, anothers} {
					if err := standing(t, b, raw); err != nil {
						t.Errorf("not logged out: %v", err)
					}
				}
				// The denial is longer than the token's life, because exp has leeway.
				time.Sleep(time.Hour + 9*time.Second)
				if err := standing(t, b, one); !errors.Is(err, ErrLoggedOut) {
					t.Errorf("at its end: %v", err)
				}
				time.Sleep(endSlack)
				if list.Has(tokenName(digestOf(one))) {
					t.Error("the denial doesn't end")
				}
			})
		})
	}
}

func TestALogoutOfAllTokensTurnsAwayThoseFromBefore(t *testing.T) {
	for mode, start := range logoutModes(t) {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _ := start()
				const life = 60 * 24 * time.Hour
				issue := func(sub string) string {
					return good("sub", sub, "iat", time.Now().Unix(), "exp", time.Now().Add(life).Unix())
				}
				phone, anothers, timeless := issue("7"), issue("8"), good("sub", "7", "iat", nil)
				time.Sleep(time.Minute)
				here := issue("7")
				for _, raw := range []string{phone, anothers, here, timeless} {
					if err := standing(t, b, raw); err != nil {
						t.Fatal(err)
					}
				}
				logOut(t, b, here, true)
				time.Sleep(time.Second)
				later := issue("7")
				for range 2 {
					for _, raw := range []string{phone, here, timeless} {
						if err := standing(t, b, raw); !errors.Is(err, ErrLoggedOut) {
							t.Errorf("issued before: %v", err)
						}
					}
					for _, raw := range []string{later, anothers} {
						if err := standing(t, b, raw); err != nil {
							t.Errorf("issued later, or to another: %v", err)
						}
					}
					time.Sleep(30 * time.Minute)
				}
				time.Sleep(life - 2*time.Hour)
				if err := standing(t, b, phone); !errors.Is(err, ErrLoggedOut) {
					t.Errorf("after weeks: %v", err)
				}
			})
		})
	}
}

// Glory's clock is ahead of this replica's.
func TestALogoutOfAllTokensIncludesThisOneWhateverTheClocksSay(t *testing.T) {
	b := newLocalBridge(t, func(o *Options) { o.Denied = &denyList{} })
	ahead := time.Now().Add(8 * time.Second).Unix() // within the leeway
	raw, sibling := good("iat", ahead, "jti", "1"), good("iat", ahead, "jti", "2")
	logOut(t, b, raw, true)
	for _, token := range []string{raw, sibling} {
		if err := standing(t, b, token); !errors.Is(err, ErrLoggedOut) {
			t.Error(err)
		}
	}
}

func TestALogoutThatTheFleetDoesNotLearnOfIsAnError(t *testing.T) {
	for name, list := range map[string]*denyList{"full": {full: true}, "none": nil} {
		b := newLocalBridge(t, func(o *Options) {
			if list != nil {
				o.Denied = list
			}
		})
		m, err := ask(b, good())
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Logout(t.Context(), m, false); !errors.Is(err, ErrLogout) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A token without exp could be used for ever, so its denial has no end.
func TestATokenWithoutEndIsLoggedOutForEver(t *testing.T) {
	list := &denyList{}
	var calls, status atomic.Int64
	status.Store(200)
	b := newLocalBridge(t, func(o *Options) { o.Denied, o.Glory, o.Local.Secrets = list, counted(&calls, &status), nil })
	for _, raw := range []string{good("exp", nil), good("exp", 253402300799)} {
		logOut(t, b, raw, false)
		if end, ok := list.Until(tokenName(digestOf(raw))); !ok || !end.IsZero() {
			t.Errorf("until %v, %v", end, ok)
		}
	}
}
