package tokencache

// Tokens from memory: until when they may be returned, and that nobody is asked.

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestTokenIsHandedOutUntilOneNanosecondBeforeExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: 100 * time.Second}
		first := takeFrom(t, Fetched, c, k, iss.fetch)
		iss.fail(failure(Transient)) // so that no refresh replaces it
		time.Sleep(time.Until(first.Expiry()) - time.Nanosecond)
		if last := takeFrom(t, Memory, c, k, iss.fetch); last != first {
			t.Error("another token was handed out")
		}
		time.Sleep(time.Nanosecond)
		denied(t, Transient, c, k, iss.fetch)
		time.Sleep(time.Hour)
		denied(t, Transient, c, k, iss.fetch)
	})
}

func TestLifeIsCountedFromBeforeTheFetchLessTheMargin(t *testing.T) {
	const years = 10 * 365 * 24 * time.Hour
	for _, tt := range []struct{ life, takes, want time.Duration }{
		{500 * time.Millisecond, 0, 450 * time.Millisecond},
		{time.Second, 0, 900 * time.Millisecond},
		{time.Second, 800 * time.Millisecond, 900 * time.Millisecond},
		{10 * time.Second, 0, 9 * time.Second},
		{time.Hour, 0, time.Hour - time.Second},
		{time.Hour, 4 * time.Second, time.Hour - time.Second},
		{years, 0, years - time.Second},
		{math.MaxInt64, 0, math.MaxInt64 - time.Second},
	} {
		t.Run(tt.life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: tt.life, takes: tt.takes}
				before := time.Now()
				token := takeFrom(t, Fetched, c, k, iss.fetch)
				if got := token.Expiry().Sub(before); got != tt.want {
					t.Errorf("expires %v after the fetch began, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestLifeOfZeroOrLessIsAFailure(t *testing.T) {
	for _, life := range []time.Duration{0, -1, -time.Second, math.MinInt64} {
		t.Run(life.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: life}
				denied(t, Garbage, c, k, iss.fetch)
				if s := c.Status(); s[0].State != StateFailing || s[0].ExpiresIn != 0 {
					t.Errorf("status %+v", s[0])
				}
			})
		})
	}
}

func TestEmptyTokenIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k := newCache(t, Options{}), newKey(t, "s")
		denied(t, Garbage, c, k, func(context.Context) (Issued, error) { return Issued{Life: time.Hour}, nil })
	})
}

func TestTokenThatExpiresDuringItsFetchIsNeverHandedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: time.Second, takes: 900 * time.Millisecond}
		denied(t, Transient, c, k, iss.fetch)
	})
}

func TestTokenOfTenYearsIsRefreshedOnlyMinutesBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const life = 10 * 365 * 24 * time.Hour
		c, k, iss := newCache(t, Options{}), newKey(t, "s"), &issuer{life: life}
		takeFrom(t, Fetched, c, k, iss.fetch)
		time.Sleep(life - 7*time.Minute)
		takeFrom(t, Memory, c, k, iss.fetch)
		calledTimes(t, iss, 1)
		time.Sleep(4 * time.Minute)
		takeFrom(t, Memory, c, k, iss.fetch)
		calledTimes(t, iss, 2)
	})
}

func TestTokenInMemoryIsServedWithoutAskingAnybody(t *testing.T) {
	t.Parallel()
	c := newFleet(t, 1, sharedRedis(t), Options{})[0]
	k, iss := newKey(t, "s"), &issuer{life: time.Hour}
	first := takeFrom(t, Fetched, c, k, iss.fetch)
	watch(c, func(_ context.Context, cmd redis.Cmder) error {
		if !strings.Contains(fmt.Sprint(cmd.Args()...), "probe") { // the first probe may come late
			t.Errorf("Redis was asked: %s", cmd.Name())
		}
		return nil
	})
	for range 1000 {
		if token := takeFrom(t, Memory, c, k, nil); token != first {
			t.Fatal("another token was handed out")
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, layer, err := c.Token(gone, k, nil); err != nil || layer != Memory {
		t.Errorf("with an ended context: %q, %v; nothing had to be waited for", layer, err)
	}
	calledTimes(t, iss, 1)
}

func BenchmarkToken(b *testing.B) {
	c, k, iss := newCache(b, Options{}), newKey(b, "s"), &issuer{life: time.Hour}
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := c.Token(context.Background(), k, iss.fetch); err != nil {
			b.Fatal(err)
		}
	}
}
