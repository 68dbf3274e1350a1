package tokencache

// Names and seals of keys. Bytes that were never sealed don't open.

import (
	"bytes"
	"encoding/base64"
	"errors"
	"testing"
	"time"

	"roomgate/internal/fleet"
	"roomgate/internal/secret"
)

func TestKeyNeedsASecret(t *testing.T) {
	for name, secret := range map[string]secret.Value{"zero": {}, "empty": secret.New("")} {
		if _, err := NewKey(secret, "scope"); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestKeyIsItsSecretAndScopeAndNothingElse(t *testing.T) {
	a, b := newKey(t, "s", "x", "y"), newKey(t, "s", "x", "y")
	b.Labels, b.AskedLife = []string{"other", "second"}, time.Minute
	if a.id != b.id {
		t.Error("the same secret and scope gave two names")
	}
	for name, other := range map[string]Key{
		"secret": newKey(t, "S", "x", "y"), "part": newKey(t, "s", "x", "Y"), "order": newKey(t, "s", "y", "x"),
		"border": newKey(t, "s", "xy"), "border moved": newKey(t, "s", "xy", ""), "empty part": newKey(t, "s", "x", "y", ""),
		"no scope": newKey(t, "s"),
	} {
		if other.id == a.id {
			t.Errorf("another %s, the same name", name)
		}
	}
}

func TestSealOpensUnderItsKeyAndNameOnly(t *testing.T) {
	k, in := newKey(t, "s", "x"), sealed{expiry: time.UnixMilli(1234567890123), life: time.Hour, generation: 42, value: []byte("value")}
	box := k.seal("name", in)
	out, err := k.open("name", box)
	if err != nil || !out.expiry.Equal(in.expiry) || out.life != in.life || out.generation != in.generation || !bytes.Equal(out.value, in.value) {
		t.Fatalf("%+v became %+v, %v", in, out, err)
	}
	if again := k.seal("name", in); bytes.Equal(again, box) {
		t.Error("sealed twice alike: the nonce was used again")
	}
	if _, err := k.open("other name", box); !errors.Is(err, errSealed) {
		t.Errorf("under another name: %v", err)
	}
	if _, err := newKey(t, "other").open("name", box); !errors.Is(err, errSealed) {
		t.Errorf("under another key: %v", err)
	}
	for n := range len(box) {
		if _, err := k.open("name", box[:n]); !errors.Is(err, errSealed) {
			t.Errorf("its first %d bytes: %v", n, err)
		}
		spoilt := bytes.Clone(box)
		spoilt[n] ^= 1
		if _, err := k.open("name", spoilt); !errors.Is(err, errSealed) {
			t.Errorf("with byte %d changed: %v", n, err)
		}
	}
}

// FuzzOpen opens entries that somebody else may have left in Redis. That must not panic, and must not return anything about a token that
// wasn't sealed.
func FuzzOpen(f *testing.F) {
	k, err := NewKey(secret.New("fuzz secret"), "scope")
	if err != nil {
		f.Fatal(err)
	}
	now := time.Now()
	client, err := fleet.Connect(fleet.Connection{Mode: "single", URL: "redis://127.0.0.1:1", Timeout: time.Second})
	if err != nil {
		f.Fatal(err)
	}
	r := fleet.New(client, fleet.Options{})
	f.Cleanup(r.Close)
	s := newStore(r)
	name := s.name(k, "token") + markValue
	box := k.seal(name, sealed{expiry: now.Add(time.Hour), life: time.Hour, generation: 7, value: []byte("the sealed value")})
	entry := "7:" + base64.RawStdEncoding.EncodeToString(box)
	expired := k.seal(name, sealed{expiry: now.Add(-time.Hour), life: time.Hour, generation: 7, value: []byte("expired")})
	elsewhere := k.seal("elsewhere", sealed{expiry: now.Add(time.Hour), life: time.Hour, generation: 7, value: []byte("elsewhere")})
	headless := k.box.Seal(name, []byte("short"))
	for _, raw := range []string{
		entry, "8" + entry[1:], "07:" + entry[2:], entry[:len(entry)-1], entry + "=", entry + "\n", "7:", ":", "",
		"7:" + base64.RawStdEncoding.EncodeToString(expired), "7:" + base64.RawStdEncoding.EncodeToString(elsewhere),
		"7:" + base64.RawStdEncoding.EncodeToString(headless), "-1:" + entry[2:], "18446744073709551615:" + entry[2:], string(box),
	} {
		f.Add(raw, int64(1000))
		f.Add(raw, int64(-1))
	}
	f.Fuzz(func(t *testing.T, raw string, left int64) {
		token, buried := s.openToken(k, raw, now, time.Duration(left)*time.Millisecond)
		if buried != 0 {
			t.Errorf("%q opened as a tombstone", raw)
		}
		if token != nil && (token.Value() != "the sealed value" || token.Generation() != 7 || token.Expiry().After(now.Add(time.Hour+time.Second))) {
			t.Errorf("%q opened as generation %d, expiry %v", raw, token.Generation(), token.Expiry())
		}
		in, err := k.open(name, []byte(raw))
		if text := string(in.value); err == nil && (in.generation != 7 || text != "the sealed value" && text != "expired") {
			t.Errorf("%q opened as %q, generation %d", raw, text, in.generation)
		}
	})
}
