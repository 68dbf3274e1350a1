package bridge

// This file asks Glory whether it accepts a member token, once for all who present the same one.

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/semaphore"

	"roomgate/internal/lru"
	"roomgate/internal/upstream"
)

const (
	maxDenials     = 4_096           // apart: strangers can make as many as they like
	denialTTL      = 5 * time.Second // a member who has just logged in must not wait longer
	leastStrangers = 8               // places; a small gateway serves new members too
)

// admission is all that a verdict says: only admissions are kept as such. To the fleet it says no more than that.
type admission struct{ known *known }

// remote verifies by Glory's check_login. It is safe for concurrent use.
type remote struct {
	glory    sender
	leeway   time.Duration
	verdicts *memory[admission]
	denials  *digests[time.Time] // their ends
}

func newRemote(o Options, c clock) *remote {
	verdicts := newMemory[admission]("verdict", maxKnown, o, c)
	verdicts.unknown = semaphore.NewWeighted(int64(max(leastStrangers, o.Strangers)))
	return &remote{
		glory: o.Glory, leeway: o.Local.Leeway, verdicts: verdicts, denials: lru.New[[sha256.Size]byte, time.Time](maxDenials, nil),
	}
}

// recall returns the member of a token whose verdict is fresh in memory.
func (r *remote) recall(raw string) (Member, bool) {
	digest, now := digestOf(raw), time.Now()
	verdict, ok := r.verdicts.fresh(digest, now)
	if !ok || verdict.what.known.expired(now, r.leeway) {
		return Member{}, false
	}
	return verdict.what.known.member(raw, digest), true
}

// verify admits the member whose token Glory accepts. The error wraps ErrMemberToken or an error of
// package upstream, or is ctx's.
func (r *remote) verify(ctx context.Context, t memberToken) (Member, error) {
	expiry, _, err := numericDate(t.claims, "exp")
	if err != nil {
		return Member{}, fmt.Errorf("%w: %w", ErrMemberToken, err)
	}
	now := time.Now()
	if !expiry.IsZero() && !now.Before(expiry.Add(r.leeway)) {
		return Member{}, ErrExpired
	}
	if end, ok := r.denials.Get(t.digest); ok && now.Before(end) {
		return Member{}, errDeniedByGlory
	}
	found := admission{newKnown(t, expiry)}
	verdict, err := r.verdicts.of(ctx, inquiry[admission]{t.digest, expiry, found, func(ctx context.Context) (admission, error) {
		err := r.ask(ctx, t.raw)
		if errors.Is(err, ErrMemberToken) {
			r.denials.Add(t.digest, time.Now().Add(denialTTL))
		}
		return found, err
	}})
	if err != nil {
		return Member{}, err
	}
	return verdict.what.known.first(t), nil
}

// VerdictsRunOut reports whether members are let in by verdicts of Glory that have run out, because Glory can't be asked. It is
// false where members are verified in process.
func (b *Bridge) VerdictsRunOut() bool { return b.remote != nil && b.remote.verdicts.runsOut() }

var errDeniedByGlory = fmt.Errorf("%w: denied by Glory", ErrMemberToken)

// ask makes the call; nil: Glory accepts the token. Only the documented answer admits: a 200 alone can come from a maintenance page.
func (r *remote) ask(ctx context.Context, raw string) error {
	answer, denied, err := askGlory(ctx, r.glory, "check_login", raw)
	switch {
	case err != nil:
		return err
	case denied:
		return errDeniedByGlory
	}
	object, err := StrictObject(answer)
	if err != nil {
		return fmt.Errorf("check_login: %w: %w", upstream.ErrFailed, err)
	}
	if data, _ := object["data"].(map[string]any); data["result"] != "ok" {
		return fmt.Errorf("check_login: %w: the answer has no data.result that is ok", upstream.ErrFailed)
	}
	return nil
}
