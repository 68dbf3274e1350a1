package tokencache

// A vault returns a saved value only to those with its secret, and only until its TTL ends.

import (
	"bytes"
	"context"
	"testing"
	"time"

	"roomgate/internal/fleet"
	"roomgate/internal/secret"
)

func TestVaultGivesBackWhatAnotherReplicaSaved(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	for name, value := range map[string][]byte{"text": []byte("admitted"), "nothing": {}, "bytes": {0, 255, '\n', ':'}, "large": bytes.Repeat([]byte("x"), 1<<16)} {
		replicas[0].Vault(secret.New("s"), "verdicts").Save(t.Context(), name, value, time.Minute)
		got, left, ok := replicas[1].Vault(secret.New("s"), "verdicts").Load(t.Context(), name)
		if !ok || !bytes.Equal(got, value) {
			t.Errorf("%s: %q, %v", name, got, ok)
		}
		if left <= 0 || left > time.Minute+time.Second {
			t.Errorf("%s: %v left of a minute", name, left)
		}
	}
}

func TestAResealedVaultOpensNothingOfTheOldSecret(t *testing.T) {
	t.Parallel()
	replicas := newFleet(t, 2, sharedRedis(t), Options{})
	v, behind := replicas[0].Vault(secret.New("old"), "verdicts"), replicas[1].Vault(secret.New("old"), "verdicts")
	v.Save(t.Context(), "name", []byte("admitted"), time.Minute)
	v.Reseal(secret.New("new"))
	if _, _, ok := v.Load(t.Context(), "name"); ok {
		t.Error("the old secret still opens a value")
	}
	v.Save(t.Context(), "name", []byte("denied"), time.Minute)
	if got, _, ok := behind.Load(t.Context(), "name"); !ok || string(got) != "admitted" {
		t.Error("a replica that has yet to rotate has lost its value")
	}
	behind.Reseal(secret.New("new"))
	if got, _, ok := behind.Load(t.Context(), "name"); !ok || string(got) != "denied" {
		t.Error("the new secret doesn't open a value")
	}
}

func TestVaultTakesTheLaterValue(t *testing.T) {
	t.Parallel()
	v := newFleet(t, 1, sharedRedis(t), Options{})[0].Vault(secret.New("s"), "verdicts")
	for _, value := range []string{"first", "second"} {
		v.Save(t.Context(), "name", []byte(value), time.Minute)
		if got, _, ok := v.Load(t.Context(), "name"); !ok || string(got) != value {
			t.Errorf("%q, %v after %q was saved", got, ok, value)
		}
	}
}

func TestVaultOpensOnlyWithItsSecretPurposeAndName(t *testing.T) {
	t.Parallel()
	c := newFleet(t, 1, sharedRedis(t), Options{})[0]
	c.Vault(secret.New("s"), "verdicts").Save(t.Context(), "name", []byte("value"), time.Minute)
	for what, load := range map[string]struct{ secret, purpose, name string }{
		"secret":           {"other", "verdicts", "name"},
		"purpose":          {"s", "profiles", "name"},
		"name":             {"s", "verdicts", "other"},
		"parts elsewhere":  {"s", "verdictsname", ""},
		"no name":          {"s", "verdicts", ""},
		"no secret at all": {"", "verdicts", "name"},
	} {
		if value, _, ok := c.Vault(secret.New(load.secret), load.purpose).Load(t.Context(), load.name); ok || value != nil {
			t.Errorf("another %s: %q", what, value)
		}
	}
}

func TestVaultForgetsInTime(t *testing.T) {
	t.Parallel()
	v := newFleet(t, 1, sharedRedis(t), Options{})[0].Vault(secret.New("s"), "verdicts")
	v.Save(t.Context(), "name", []byte("value"), 50*time.Millisecond)
	end := time.Now().Add(50 * time.Millisecond)
	eventually(t, "it is forgotten", func() bool {
		before := time.Now()
		_, left, ok := v.Load(t.Context(), "name")
		if ok && before.After(end.Add(time.Second)) {
			t.Fatalf("%v left, a second after its end", left)
		}
		return !ok
	})
	for _, ttl := range []time.Duration{0, -time.Second} {
		v.Save(t.Context(), "none", []byte("value"), ttl)
		if _, _, ok := v.Load(t.Context(), "none"); ok {
			t.Errorf("saved for %v", ttl)
		}
	}
}

func TestVaultIgnoresWhatSomebodyElseWrote(t *testing.T) {
	t.Parallel()
	c := newFleet(t, 1, sharedRedis(t), Options{})[0]
	v := c.Vault(secret.New("s"), "verdicts")
	v.Save(t.Context(), "admitted", []byte("yes"), time.Minute)
	from, to := newKey(t, "s", "verdicts", "admitted"), newKey(t, "s", "verdicts", "turned away")
	if err := c.store.client.Copy(t.Context(), c.store.name(from, "token"), c.store.name(to, "token"), 0, true).Err(); err != nil {
		t.Fatal(err)
	}
	if value, _, ok := v.Load(t.Context(), "turned away"); ok {
		t.Errorf("one name's value %q was taken for another's", value)
	}
	put(t, c, from, "token", "garbage")
	if value, _, ok := v.Load(t.Context(), "admitted"); ok {
		t.Errorf("garbage was taken for %q", value)
	}
	v.Save(t.Context(), "admitted", []byte("again"), time.Minute)
	if value, _, _ := v.Load(t.Context(), "admitted"); string(value) != "again" {
		t.Errorf("%q after garbage was overwritten", value)
	}
}

func TestVaultWithoutRedisIsEmptyAndTakesNothing(t *testing.T) {
	t.Parallel()
	gone := ownRedis(t)
	lost := newFleet(t, 1, gone.Addr, Options{}, fleet.Options{Timeout: 250 * time.Millisecond})[0].Vault(secret.New("s"), "p")
	if err := gone.Kill(); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]*Vault{"zero": {}, "no Redis": newCache(t, Options{}).Vault(secret.New("s"), "p"), "Redis is gone": lost} {
		for range 5 {
			v.Save(context.Background(), "name", []byte("value"), time.Minute)
			if value, _, ok := v.Load(context.Background(), "name"); ok {
				t.Errorf("%s: %q", name, value)
			}
		}
	}
}
