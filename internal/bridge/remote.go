package bridge

// This file asks Glory whether it accepts a member token, once for all who present the same one, and remembers what it
// said: an admission in memory and for the fleet, a denial for a moment.

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"roomgate/internal/upstream"
)

const (
	maxVerdicts = 100_000         // in memory; about 200 bytes each
	denialTTL   = 5 * time.Second // a member who has just logged in must not wait longer
)

// vault is the fleet's shared memory for verdicts and profiles. *tokencache.Vault is one.
type vault interface {
	Load(ctx context.Context, name string) (value []byte, left time.Duration, ok bool)
	Save(ctx context.Context, name string, value []byte, ttl time.Duration)
}

// remote verifies by Glory's check_login. It is safe for concurrent use.
type remote struct {
	glory    sender
	timeout  time.Duration // of one call
	ttl      time.Duration // of an admission; 0: none is kept
	leeway   time.Duration
	shared   vault
	verdicts *lru.Cache[[32]byte, verdict]
	flights  flights[verdict]
}

// verdict is what Glory said of a token, until when it counts.
type verdict struct {
	admitted bool
	until    time.Time
}

func newRemote(o Options) (*remote, error) {
	verdicts, err := lru.New[[32]byte, verdict](maxVerdicts)
	if err != nil {
		return nil, fmt.Errorf("verdicts: %w", err)
	}
	return &remote{
		glory: o.Glory, timeout: o.GloryTimeout, ttl: o.MemberCacheTTL, leeway: o.Local.Leeway, shared: o.Verdicts, verdicts: verdicts,
	}, nil
}

// verify admits the member whose token Glory accepts. The error wraps ErrMemberToken or an error of
// package upstream, or is ctx's.
func (r *remote) verify(ctx context.Context, t memberToken) (Member, error) {
	expiry, bounded, err := numericDate(t.claims, "exp")
	if err != nil {
		return Member{}, fmt.Errorf("%w: %w", ErrMemberToken, err)
	}
	now := time.Now()
	if bounded && !now.Before(expiry.Add(r.leeway)) {
		return Member{}, fmt.Errorf("%w: expired", ErrMemberToken)
	}
	v, known := r.verdicts.Get(t.digest)
	if !known || !now.Before(v.until) {
		v, err = r.flights.join(ctx, t.digest, r.timeout, func(own context.Context) (verdict, error) {
			return r.check(own, t, expiry, bounded)
		})
		if err != nil {
			return Member{}, err
		}
	}
	if !v.admitted {
		return Member{}, fmt.Errorf("%w: denied by Glory", ErrMemberToken)
	}
	return t.member(), nil
}

// check looks in the fleet's memory and asks Glory, and remembers the outcome unless Glory failed.
func (r *remote) check(ctx context.Context, t memberToken, expiry time.Time, bounded bool) (verdict, error) {
	name := hex.EncodeToString(t.digest[:])
	if r.ttl > 0 {
		_, left, ok := r.shared.Load(ctx, name)
		if v := admission(min(left, r.ttl), expiry, bounded); ok && time.Until(v.until) > 0 {
			r.verdicts.Add(t.digest, v)
			return v, nil
		}
	}
	admitted, err := r.ask(ctx, t.raw)
	if err != nil {
		return verdict{}, err
	}
	if !admitted {
		v := verdict{until: time.Now().Add(denialTTL)}
		r.verdicts.Add(t.digest, v)
		return v, nil
	}
	v := admission(r.ttl, expiry, bounded)
	if left := time.Until(v.until); left > 0 {
		r.verdicts.Add(t.digest, v)
		r.shared.Save(ctx, name, []byte{1}, left)
	}
	return v, nil
}

// admission counts for ttl, but never past the token's own expiry, whatever another replica's clock has made of it.
func admission(ttl time.Duration, expiry time.Time, bounded bool) verdict {
	v := verdict{admitted: true, until: time.Now().Add(ttl)}
	if bounded && v.until.After(expiry) {
		v.until = expiry
	}
	return v
}

// ask makes the call. Only the documented answer admits: a 200 alone can come from a maintenance page.
func (r *remote) ask(ctx context.Context, raw string) (admitted bool, err error) {
	answer, denied, err := askGlory(ctx, r.glory, "check_login", raw)
	if err != nil || denied {
		return false, err
	}
	object, err := StrictObject(answer)
	if err != nil {
		return false, fmt.Errorf("check_login: %w: %w", upstream.ErrFailed, err)
	}
	if data, _ := object["data"].(map[string]any); data["result"] != "ok" {
		return false, fmt.Errorf("check_login: %w: the answer has no data.result that is ok", upstream.ErrFailed)
	}
	return true, nil
}
