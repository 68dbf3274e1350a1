package bridge

// This file remembers what Glory said of member tokens: an admission in memory and for the fleet, a denial for a moment.

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	maxVerdicts = 100_000         // in memory; about 300 bytes each
	maxDenials  = 4_096           // apart: strangers can make as many as they like
	denialTTL   = 5 * time.Second // a member who has just logged in must not wait longer
	runOutShare = 5               // an admission is kept for so many TTLs, for the time when Glory can't be asked
)

// vault is the fleet's shared memory for verdicts and profiles. *tokencache.Vault is one.
type vault interface {
	Load(ctx context.Context, name string) (value []byte, left time.Duration, ok bool)
	Save(ctx context.Context, name string, value []byte, ttl time.Duration)
}

// verdict is an admission by Glory. The zero value admits nobody.
type verdict struct {
	given   time.Time
	fresh   time.Time // until then it counts
	end     time.Time // until then it counts while Glory can't be asked
	recheck time.Time // Glory can't be asked: no check before; zero: nobody has tried
}

// admits reports whether v is one.
func (v verdict) admits() bool { return !v.given.IsZero() }

// verdicts is safe for concurrent use.
type verdicts struct {
	ttl     time.Duration // of an admission; 0: none is kept
	fleet   vault
	kept    *lru.Cache[[sha256.Size]byte, verdict]
	denials *lru.Cache[[sha256.Size]byte, time.Time] // their ends
}

func newVerdicts(o Options) (*verdicts, error) {
	kept, err := lru.New[[sha256.Size]byte, verdict](maxVerdicts)
	if err != nil {
		return nil, fmt.Errorf("verdicts: %w", err)
	}
	denials, err := lru.New[[sha256.Size]byte, time.Time](maxDenials)
	if err != nil {
		return nil, fmt.Errorf("denials: %w", err)
	}
	return &verdicts{ttl: o.MemberCacheTTL, fleet: o.Verdicts, kept: kept, denials: denials}, nil
}

// of returns the verdict in memory, fresh or run out; zero where there is none, or it has ended.
func (m *verdicts) of(digest [sha256.Size]byte, now time.Time) verdict {
	v, ok := m.kept.Get(digest)
	if !ok || !now.Before(v.end) {
		return verdict{}
	}
	return v
}

// denied reports whether Glory has just said no.
func (m *verdicts) denied(digest [sha256.Size]byte, now time.Time) bool {
	end, ok := m.denials.Get(digest)
	return ok && now.Before(end)
}

// given makes a verdict that counts for the TTL. It never counts past expiry, the token's own; zero: it has none.
func (m *verdicts) given(at, expiry time.Time) verdict {
	v := verdict{given: at, fresh: at.Add(m.ttl), end: at.Add(runOutShare * m.ttl)}
	if !expiry.IsZero() && v.fresh.After(expiry) {
		v.fresh = expiry
	}
	if !expiry.IsZero() && v.end.After(expiry) {
		v.end = expiry
	}
	return v
}

// admit remembers an admission, here and for the fleet.
func (m *verdicts) admit(ctx context.Context, digest [sha256.Size]byte, expiry time.Time) verdict {
	v := m.given(time.Now(), expiry)
	if life := v.end.Sub(v.given); life > 0 {
		m.kept.Add(digest, v)
		m.fleet.Save(ctx, verdictName(digest), lifeText(life), life)
	}
	return v
}

// deny remembers a denial here, and takes back old, an admission that has run out; zero: there is none.
func (m *verdicts) deny(ctx context.Context, digest [sha256.Size]byte, old verdict) {
	m.denials.Add(digest, time.Now().Add(denialTTL))
	m.kept.Remove(digest)
	if old.admits() {
		m.fleet.Save(ctx, verdictName(digest), lifeText(0), time.Until(old.end))
	}
}

// postpone remembers that Glory can't be asked about v, which has run out.
func (m *verdicts) postpone(digest [sha256.Size]byte, v verdict) verdict {
	v.recheck = time.Now().Add(recheckEvery)
	m.kept.Add(digest, v)
	return v
}

// shared is the fleet's verdict where it is newer than known, else known. It is remembered here. It is zero where the fleet has
// taken known back.
func (m *verdicts) shared(ctx context.Context, digest [sha256.Size]byte, expiry time.Time, known verdict) verdict {
	if m.ttl == 0 {
		return verdict{}
	}
	text, left, ok := m.fleet.Load(ctx, verdictName(digest))
	if !ok || len(text) != 8 {
		return known
	}
	life := time.Duration(binary.BigEndian.Uint64(text))
	if life == 0 {
		m.kept.Remove(digest)
		return verdict{}
	}
	v := m.given(time.Now().Add(-max(0, life-left)), expiry)
	if !time.Now().Before(v.end) || v.given.Before(known.given) {
		return known
	}
	m.kept.Add(digest, v)
	return v
}

// verdictName is where the fleet keeps a verdict.
func verdictName(digest [sha256.Size]byte) string { return "verdict " + hex.EncodeToString(digest[:]) }

// lifeText is what the fleet keeps: the whole life of the verdict. With the rest of it, it tells the age, and no clock of another
// machine takes part. A life of 0 takes an earlier verdict back.
func lifeText(life time.Duration) []byte { return binary.BigEndian.AppendUint64(nil, uint64(life)) }
