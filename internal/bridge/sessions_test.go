package bridge

// A text opens as a session only if it is complete, was sealed under the same name with one of the secrets, and hasn't ended.

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"roomgate/internal/secret"
)

const cookieName = "__Host-session"

func sessionSecrets(names ...string) []secret.Value {
	var long []secret.Value
	for _, name := range names {
		long = append(long, secret.New(strings.Repeat(name, 32)))
	}
	return long
}

func newSessions(t testing.TB, name string, secrets ...string) *Sessions {
	t.Helper()
	s, err := NewSessions(name, sessionSecrets(secrets...), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// seal begins a session.
func seal(t testing.TB, s *Sessions, raw string) string {
	t.Helper()
	text, _, err := s.Seal(raw)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestASessionOpensWithEverySecretUnderItsNameAlone(t *testing.T) {
	raw := good("sub", "7")
	s := newSessions(t, cookieName, "a")
	text := seal(t, s, raw)
	for name, tt := range map[string]struct {
		opens *Sessions
		ok    bool
	}{
		"the same":      {s, true},
		"rotated":       {newSessions(t, cookieName, "b", "a"), true},
		"rotated out":   {newSessions(t, cookieName, "b"), false},
		"another name":  {newSessions(t, "session", "a"), false},
		"no such fleet": {newSessions(t, cookieName, "c", "d"), false},
	} {
		got, err := tt.opens.Open(text)
		if tt.ok && (err != nil || got.Token() != raw) || !tt.ok && (!errors.Is(err, ErrSession) || got.Token() != "") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := s.Reload(sessionSecrets("b")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(text); !errors.Is(err, ErrSession) {
		t.Errorf("after a reload: %v", err)
	}
	if err := s.Reload(nil); err == nil {
		t.Error("no secret is taken")
	}
	if _, err := s.Open(seal(t, s, raw)); err != nil {
		t.Errorf("after a reload that failed: %v", err)
	}
	if again := seal(t, s, raw); again == seal(t, s, raw) || strings.Contains(text, raw) || strings.Contains(fmt.Sprintf("%+v", Session{token: secret.New(raw)}), raw) {
		t.Error("the token shows")
	}
}

func TestNoOtherTextIsASession(t *testing.T) {
	s := newSessions(t, cookieName, "a")
	one, other := seal(t, s, good("sub", "7")), seal(t, s, good("sub", "8"))
	texts := map[string]string{
		"nothing": "", "truncated": one[:len(one)-1], "its half": one[:len(one)/2], "swapped halves": one[:len(one)/2] + other[len(other)/2:],
		"longer": one + "A", "padded": one + "=", "a line end": one + "\n", "in it": one[:20] + "\r\n" + one[20:], "quoted": `"` + one + `"`, "a token": good(),
		"long": strings.Repeat("A", 1<<20), "the nonce alone": one[:16], "a header too short": base64.RawURLEncoding.EncodeToString((*s.seals.Load())[0].Seal(cookieName, []byte("short"))),
	}
	for i := range one { // each character counts, and so do the unused bits of the last one
		flipped := []byte(one)
		flipped[i] = map[bool]byte{true: 'B', false: 'A'}[flipped[i] == 'A']
		texts[fmt.Sprint("character ", i)] = string(flipped)
	}
	for name, text := range texts {
		if got, err := s.Open(text); !errors.Is(err, ErrSession) || got.Token() != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASessionEndsWithItsTokenOrByItsAge(t *testing.T) {
	for name, tt := range map[string]struct{ exp, want time.Duration }{
		"token": {time.Hour, time.Hour}, "age": {60 * 24 * time.Hour, 24 * time.Hour}, "a token without end": {0, 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSessions(t, cookieName, "a")
				exp := any(time.Now().Add(tt.exp).Unix())
				if tt.exp == 0 {
					exp = nil
				}
				text, session, err := s.Seal(good("sub", "7", "exp", exp))
				if err != nil || session.Subject != "7" || time.Until(session.Ends) != tt.want {
					t.Fatalf("%v, %s until the end, want %s", err, time.Until(session.Ends), tt.want)
				}
				time.Sleep(tt.want - time.Nanosecond)
				if got, err := s.Open(text); err != nil || !got.Ends.Equal(session.Ends) {
					t.Errorf("before the end: %v", err)
				}
				time.Sleep(time.Nanosecond)
				if _, err := s.Open(text); !errors.Is(err, ErrExpired) {
					t.Errorf("at the end: %v", err)
				}
			})
		})
	}
}

func TestWhatIsNoMemberTokenBeginsNoSession(t *testing.T) {
	s := newSessions(t, cookieName, "a")
	for name, raw := range map[string]string{
		"nothing": "", "no JWT": "abc", "expired": good("exp", time.Now().Add(-time.Minute).Unix()), "an odd end": good("exp", "tomorrow"), "long": good("x", strings.Repeat("x", 3000)),
	} {
		if text, _, err := s.Seal(raw); !errors.Is(err, ErrMemberToken) || text != "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Of all texts that a client may make up, only sealed ones open, and give the token that was sealed.
func FuzzSession(f *testing.F) {
	s := newSessions(f, cookieName, "a", "b")
	raw := signed(secretA, hs384, `{"sub":"2","exp":4102444800}`) // the same in all of the fuzzer's processes
	text := seal(f, s, raw)
	for _, t := range []string{text, text[1:], text[:len(text)-1], text + text, "", "=", raw, strings.Repeat("A", 60)} {
		f.Add(t)
	}
	f.Fuzz(func(t *testing.T, presented string) {
		if session, err := s.Open(presented); err == nil && session.Token() != raw {
			t.Errorf("%q opens", presented)
		}
	})
}
