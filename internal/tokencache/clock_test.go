package tokencache

// Redis's clock may be far ahead of this machine's, or far behind it. An in-memory Redis is used here, because its clock can be set.

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// unitRedis starts an in-memory Redis, for behaviour that a real one can't be made to show.
func unitRedis(t *testing.T) *miniredis.Miniredis {
	t.Helper()
	return miniredis.RunT(t)
}

func TestWrongClocksDoNoHarm(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{-365 * 24 * time.Hour, -5 * time.Minute, 5 * time.Minute, 365 * 24 * time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			server := unitRedis(t)
			server.SetTime(time.Now().Add(off))
			replicas := newFleet(t, 3, server.Addr(), Options{})
			k, iss := newKey(t, "s"), &issuer{life: time.Hour}
			first := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
			second := takeFrom(t, Redis, replicas[1], k, iss.fetch)
			if apart := second.Expiry().Sub(first.Expiry()).Abs(); apart > 10*time.Second {
				t.Errorf("the replicas differ by %v about the expiry", apart)
			}
			server.SetTime(time.Now().Add(off + 2*time.Hour)) // the TTL stays; only the sealed expiry shows that the entry has ended
			takeFrom(t, Fetched, replicas[2], k, iss.fetch)
		})
	}
}

func TestGenerationsFollowTheClockOfRedisAlsoInAnOutage(t *testing.T) {
	t.Parallel()
	for _, off := range []time.Duration{-365 * 24 * time.Hour, 365 * 24 * time.Hour} {
		t.Run(off.String(), func(t *testing.T) {
			t.Parallel()
			server := unitRedis(t)
			server.SetTime(time.Now().Add(off))
			replicas := newFleet(t, 2, server.Addr(), Options{})
			k, iss := newKey(t, "s"), &issuer{life: time.Hour}
			first := takeFrom(t, Fetched, replicas[0], k, iss.fetch)

			server.SetError("LOADING") // now it fetches by itself
			reject(t, replicas[0], k, first)
			alone := takeFrom(t, Fetched, replicas[0], k, iss.fetch)
			if alone.Generation() <= first.Generation() {
				t.Errorf("generation %d after %d", alone.Generation(), first.Generation())
			}
			redisNow := uint64(time.Now().Add(off).UnixMicro())
			if ahead := int64(alone.Generation() - redisNow); ahead > 60_000_000 {
				t.Errorf("generation %d is %d µs ahead of Redis's clock: what the fleet fetches next would pass for older", alone.Generation(), ahead)
			}

			server.SetError("")
			server.SetTime(time.Now().Add(off + 2*time.Minute))
			server.Del(replicas[0].store.name(k, "token"))
			backInUse(t, replicas[0])
			backInUse(t, replicas[1])
			takeFrom(t, Fetched, replicas[1], k, iss.fetch) // and stores it for the fleet
			reject(t, replicas[0], k, alone)
			newest := takeFrom(t, Redis, replicas[0], k, iss.fetch)
			if newest.Generation() <= alone.Generation() {
				t.Errorf("generation %d after %d", newest.Generation(), alone.Generation())
			}
		})
	}
}
