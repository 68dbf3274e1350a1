package tokencache

// Entries in Redis that somebody has spoilt, swapped or put back are misses, and are overwritten.

import (
	"context"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// entryOf returns the text of a token's entry that is sealed for k, as the cache stores it.
func entryOf(c *Cache, k Key, text string, generation uint64, left time.Duration) string {
	return c.store.pack(k, "token", markValue, sealed{life: time.Hour, generation: generation, value: []byte(text)}, left)
}

// put writes a string without a TTL under a part of the key.
func put(t *testing.T, c *Cache, k Key, part, value string) {
	t.Helper()
	if err := c.store.client.Set(t.Context(), c.store.name(k, part), value, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestSpoiltEntryIsAMissAndIsOverwritten(t *testing.T) {
	t.Parallel()
	good := func(c *Cache, k Key) string { return entryOf(c, k, "forged", 5, time.Hour) }
	for name, spoil := range map[string]func(c *Cache, k Key) string{
		"empty":                 func(*Cache, Key) string { return "" },
		"garbage":               func(*Cache, Key) string { return "\x00\xff garbage" },
		"no box":                func(*Cache, Key) string { return "5:" },
		"no generation":         func(c *Cache, k Key) string { _, box, _ := strings.Cut(good(c, k), ":"); return ":" + box },
		"no colon":              func(c *Cache, k Key) string { return strings.ReplaceAll(good(c, k), ":", "") },
		"truncated by one":      func(c *Cache, k Key) string { return good(c, k)[:len(good(c, k))-1] },
		"truncated to a nonce":  func(c *Cache, k Key) string { return good(c, k)[:2+16] },
		"truncated to 3 bytes":  func(c *Cache, k Key) string { return good(c, k)[:2+4] },
		"a bit flipped":         func(c *Cache, k Key) string { return flip(good(c, k)) },
		"clear generation":      func(c *Cache, k Key) string { return "6" + good(c, k)[1:] },
		"huge clear generation": func(c *Cache, k Key) string { return "18446744073709551615" + good(c, k)[1:] },
		"beyond all numbers":    func(c *Cache, k Key) string { return strings.Repeat("9", 400) + good(c, k)[1:] },
		"written otherwise":     func(c *Cache, k Key) string { return "0" + good(c, k) },
		"another secret's":      func(c *Cache, k Key) string { return entryOf(c, sameName(t, k), "forged", 5, time.Hour) },
		"in clear":              func(*Cache, Key) string { return "5:" + base64.RawStdEncoding.EncodeToString([]byte("forged")) },
		"huge":                  func(*Cache, Key) string { return "5:" + strings.Repeat("A", 1<<20) },
		"expired inside":        func(c *Cache, k Key) string { return entryOf(c, k, "forged", 5, -time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			replicas := newFleet(t, 2, sharedRedis(t), Options{})
			k, iss := newKey(t, "s"), &issuer{life: time.Hour}
			put(t, replicas[0], k, "token", spoil(replicas[0], k))
			notBelieved(t, replicas, k, iss)
		})
	}
	t.Run("wrong type", func(t *testing.T) {
		t.Parallel()
		replicas := newFleet(t, 2, sharedRedis(t), Options{})
		k, iss := newKey(t, "s"), &issuer{life: time.Hour}
		if err := replicas[0].store.client.HSet(t.Context(), replicas[0].store.name(k, "token"), "a", "b").Err(); err != nil {
			t.Fatal(err)
		}
		notBelieved(t, replicas, k, iss)
	})
	t.Run("another key's", func(t *testing.T) {
		t.Parallel()
		replicas := newFleet(t, 2, sharedRedis(t), Options{})
		k, other, iss := newKey(t, "s", "first"), newKey(t, "s", "second"), &issuer{life: time.Hour}
		takeFrom(t, Fetched, replicas[0], other, (&issuer{life: time.Hour}).fetch)
		client, name := replicas[0].store.client, replicas[0].store.name
		if err := client.Copy(t.Context(), name(other, "token"), name(k, "token"), 0, true).Err(); err != nil {
			t.Fatal(err)
		}
		notBelieved(t, replicas, k, iss)
	})
}

// flip changes the last whole character of an entry.
func flip(entry string) string {
	b := []byte(entry)
	b[len(b)-2] ^= 1
	return string(b)
}

// sameName returns a key with k's name in Redis and the seal of another secret.
func sameName(t *testing.T, k Key) Key {
	other := newKey(t, "another secret")
	other.id = k.id
	return other
}

// notBelieved fails the test unless the first replica fetches, and the second gets the first one's token from Redis.
func notBelieved(t *testing.T, replicas []*Cache, k Key, iss *issuer) {
	t.Helper()
	first := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
	second := takeFrom(t, Redis, replicas[1], k, iss.fetch)
	if first.Value() != "access-token-1" || second.Value() != first.Value() {
		t.Errorf("the replicas use %q and %q", first.Value(), second.Value())
	}
	calledTimes(t, iss, 1)
}

func TestSealedExpiryHoldsWhateverRedisSays(t *testing.T) {
	t.Parallel()
	for name, ttl := range map[string]time.Duration{"persisted": 0, "TTL too long": 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
			entry, latest := entryOf(c, k, "stored", 5, 5*time.Second), time.Now().Add(5*time.Second)
			if err := c.store.client.Set(t.Context(), c.store.name(k, "token"), entry, ttl).Err(); err != nil {
				t.Fatal(err)
			}
			token := takeFrom(t, Redis, c, k, nil)
			if late := token.Expiry().Sub(latest); late > 100*time.Millisecond {
				t.Errorf("would be used %v after the sealed expiry", late)
			}
		})
	}
}

func TestTTLOfRedisCanShortenALife(t *testing.T) {
	t.Parallel()
	c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
	entry := entryOf(c, k, "stored", 5, time.Hour)
	if err := c.store.client.Set(t.Context(), c.store.name(k, "token"), entry, 10*time.Second).Err(); err != nil {
		t.Fatal(err)
	}
	if token := takeFrom(t, Redis, c, k, nil); time.Until(token.Expiry()) > 10*time.Second {
		t.Errorf("would be used for %v", time.Until(token.Expiry()))
	}
}

func TestOldEntryPutBackReplacesNothingNewer(t *testing.T) {
	t.Parallel()
	c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
	iss := &issuer{life: time.Hour}
	old := takeFrom(t, Fetched, c, k, iss.fetch)
	recorded := c.store.client.Get(t.Context(), c.store.name(k, "token")).Val()
	if err := c.Reject(t.Context(), k, old, nil); err != nil {
		t.Fatal(err)
	}
	put(t, c, k, "token", recorded) // it opens and hasn't expired, but was rejected here
	newer := takeFrom(t, Fetched, c, k, iss.fetch)
	if newer.Generation() <= old.Generation() {
		t.Errorf("generation %d after %d", newer.Generation(), old.Generation())
	}
	put(t, c, k, "token", recorded) // a refresh finds it in place of the newer one
	seen, err := c.look(t.Context(), c.entry(k))
	if err != nil || seen.token != nil {
		t.Errorf("a look took generation %v for newer than %d; %v", seen.token, newer.Generation(), err)
	}
	if stored := saveOrFail(t, c, k, "", "newest", newer.Generation()+1); !stored {
		t.Error("it was not overwritten")
	}
}

func TestForeignNoteOfFailureStopsNobody(t *testing.T) {
	t.Parallel()
	for _, note := range []string{
		"transient:-1", "transient:-9223372036854775808", "transient:9223372036854775807", "transient:99999999999999999999",
		"transient:", "transient", ":1", "", "bogus:1", "budget:1", "rejected:1", "transient:1:2", "transient: 1", "transient:1e3",
	} {
		t.Run(note, func(t *testing.T) {
			t.Parallel()
			c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
			if err := c.store.client.Set(t.Context(), c.store.name(k, "failure"), note, time.Hour).Err(); err != nil {
				t.Fatal(err)
			}
			takeFrom(t, Fetched, c, k, (&issuer{life: time.Hour}).fetch)
		})
	}
	for name, write := range map[string]func(context.Context, redis.UniversalClient, string) error{
		"without an end": func(ctx context.Context, r redis.UniversalClient, name string) error {
			return r.Set(ctx, name, "transient:1", 0).Err()
		},
		"wrong type": func(ctx context.Context, r redis.UniversalClient, name string) error {
			return r.SAdd(ctx, name, "transient:1").Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
			if err := write(t.Context(), c.store.client, c.store.name(k, "failure")); err != nil {
				t.Fatal(err)
			}
			takeFrom(t, Fetched, c, k, (&issuer{life: time.Hour}).fetch)
		})
	}
}

func TestNoteOfManyFailuresIsBelievedWithinBounds(t *testing.T) {
	t.Parallel()
	c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
	note := c.store.pack(k, "failure", markValue, sealed{generation: 1<<63 - 1, value: []byte(Denied)}, 100*time.Millisecond)
	if err := c.store.client.Set(t.Context(), c.store.name(k, "failure"), note, 100*time.Millisecond).Err(); err != nil {
		t.Fatal(err)
	}
	iss := &issuer{err: failure(Denied)}
	denied(t, Denied, c, k, iss.fetch)
	eventually(t, "a fetch of its own fails", func() bool { // the backoff after so many failures doesn't overflow
		_, _, _ = c.Token(t.Context(), k, iss.fetch)
		return iss.calls() == 1
	})
	if u := denied(t, Denied, c, k, iss.fetch); u.RetryAfter > time.Minute {
		t.Errorf("RetryAfter %v", u.RetryAfter)
	}
}

func TestForeignMemoryOfRefusalIsIgnored(t *testing.T) {
	t.Parallel()
	for _, refused := range []string{"", "garbage", "-1", "99999999999999999999", "18446744073709551615"} {
		t.Run(refused, func(t *testing.T) {
			t.Parallel()
			c, k := newFleet(t, 1, sharedRedis(t), Options{})[0], newKey(t, "s")
			put(t, c, k, "refused", refused)
			iss := &issuer{life: time.Hour}
			token := takeFrom(t, Fetched, c, k, iss.fetch)
			if err := c.Reject(t.Context(), k, token, nil); err != nil {
				t.Errorf("rejection: %v", err)
			}
			takeFrom(t, Fetched, c, k, iss.fetch)
		})
	}
}
