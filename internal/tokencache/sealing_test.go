package tokencache

// A reader of Redis learns no secret, and nothing stays there after its end.

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"roomgate/internal/secret"
)

// dump reads every name under the cache's prefix with its value and TTL.
func dump(t *testing.T, c *Cache) (values map[string]string, ttls map[string]time.Duration) {
	t.Helper()
	ctx, client := t.Context(), c.store.client
	values, ttls = make(map[string]string), make(map[string]time.Duration)
	names := client.Scan(ctx, 0, c.store.use.Key("*"), 1000).Iterator()
	for names.Next(ctx) {
		values[names.Val()] = client.Get(ctx, names.Val()).Val()
		ttls[names.Val()] = client.PTTL(ctx, names.Val()).Val()
	}
	if err := names.Err(); err != nil {
		t.Fatal(err)
	}
	return values, ttls
}

// spellings returns the forms in which a secret could be found: as it is, in hex, and in base64 at each of the three offsets that it can
// have in a longer text.
func spellings(secret string) []string {
	all := []string{secret, hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret)))}
	for offset := range 3 {
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := encoding.EncodeToString([]byte(strings.Repeat("x", offset) + secret))
			all = append(all, text[(offset*8+5)/6:len(text)-2])
		}
	}
	return all
}

func TestSpellingsFindASecretInsideLongerTexts(t *testing.T) {
	const secret = "marker-of-the-secret"
	for _, before := range []string{"", "a", "ab", "abc"} {
		text := base64.StdEncoding.EncodeToString([]byte(before + secret + "and more"))
		if !holds(text, secret) {
			t.Errorf("not found after %q", before)
		}
	}
	if holds("nothing of that kind", secret) {
		t.Error("found where it is not")
	}
}

// holds reports whether text has the secret in any spelling.
func holds(text, secret string) bool {
	for _, spelling := range spellings(secret) {
		if strings.Contains(text, spelling) {
			return true
		}
	}
	return false
}

func TestRedisHoldsNoSecretAndNothingForEver(t *testing.T) {
	t.Parallel()
	const secretKey, accessKey, issued, kept = "marker-secret-key-3141", "marker-access-key-5926", "marker-token-5358", "marker-vault-9793"
	c := newFleet(t, 1, sharedRedis(t), Options{RefusedTTL: time.Minute})[0]
	k := newKey(t, secretKey, "https://issuer", accessKey, "first", "60")
	fetch := func(context.Context) (Issued, error) { return Issued{Value: secret.New(issued), Life: time.Hour}, nil }
	token := takeFrom(t, Fetched, c, k, fetch)
	unavailable(t, Rejected, c.refuse(t.Context(), c.entry(k), token))
	bad := newKey(t, secretKey, "https://issuer", accessKey, "second", "60")
	denied(t, Denied, c, bad, (&issuer{err: &FetchError{Class: Denied, RetryAfter: time.Minute, Err: context.Canceled}}).fetch)
	lockOrFail(t, c, newKey(t, secretKey, "locked"), "somebody", time.Minute)
	c.Vault(secret.New(secretKey), "verdicts").Save(t.Context(), accessKey, []byte(kept), time.Hour)
	values, ttls := dump(t, c)
	if len(values) < 8 { // token, fence, refused; failure, fence; lock, fence; vault
		t.Errorf("only %d names in Redis", len(values))
	}
	for name, value := range values {
		for _, secret := range []string{secretKey, accessKey, issued, kept} {
			if holds(name, secret) || holds(value, secret) {
				t.Errorf("%s = %q holds %s", name, value, secret)
			}
		}
		if ttls[name] <= 0 {
			t.Errorf("%s has no end (TTL %v)", name, ttls[name])
		}
	}
}

func TestTTLIsNoLongerThanTheLife(t *testing.T) {
	t.Parallel()
	const years = 10 * 365 * 24 * time.Hour
	for _, life := range []time.Duration{10 * time.Second, 90 * time.Second, time.Hour, years} {
		t.Run(life.String(), func(t *testing.T) {
			t.Parallel()
			c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
			before := time.Now()
			takeFrom(t, Fetched, c, k, (&issuer{life: life}).fetch)
			ttl := c.store.client.PTTL(t.Context(), c.store.name(k, "token")).Val()
			if ttl <= 0 || ttl > life-margin(life)+time.Millisecond {
				t.Errorf("TTL %v for a life of %v", ttl, life)
			}
			if least := life - margin(life) - time.Since(before); ttl < least-time.Millisecond {
				t.Errorf("TTL %v, want %v at least", ttl, least)
			}
		})
	}
}

func TestShortestLifeLeavesNoEntryForEver(t *testing.T) {
	t.Parallel()
	c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
	for _, left := range []time.Duration{time.Nanosecond, 100 * time.Microsecond, time.Millisecond, 20 * time.Millisecond} {
		_, err := c.store.save(t.Context(), k, "", &Token{value: secret.New("v"), life: left, expiry: time.Now().Add(left), generation: 1})
		if err != nil {
			t.Errorf("%v: %v", left, err)
		}
		if ttl := c.store.client.PTTL(t.Context(), c.store.name(k, "token")).Val(); ttl == -1 {
			t.Errorf("%v: the entry has no end", left)
		}
	}
}

func TestTTLIsRoundedUpAndNeverZero(t *testing.T) {
	for d, want := range map[time.Duration]int64{
		-time.Hour: 1, 0: 1, 1: 1, time.Millisecond - 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2, 1500 * time.Microsecond: 2, time.Hour: 3_600_000,
	} {
		if got := roundUp(d); got != want {
			t.Errorf("roundUp(%v) is %d, want %d", d, got, want)
		}
	}
}
