package bridge

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
	// maxDenials is the number of denied tokens that are remembered. They are kept apart from admissions, because anybody can
	// cause as many denials as they like.
	maxDenials = 4_096
	// denialTTL is short: if Glory denies a token just after the login, and then accepts it, the member doesn't wait longer.
	denialTTL = 5 * time.Second
	// leastStrangers is the lower bound of Options.Strangers, so that new members get in at a small gateway too.
	leastStrangers = 8
)

// admission is a verdict of Glory that admits a member. Denials are kept elsewhere. In the fleet its value is empty, because its presence
// is the verdict.
type admission struct{ known *known }

// remote verifies member tokens by asking Glory's check_login. It is safe for concurrent use.
type remote struct {
	glory    sender
	leeway   time.Duration // added to exp
	verdicts *memory[admission]
	denials  *digests[time.Time] // denied tokens, with the end of the denial
}

// newRemote returns a remote that remembers no token.
func newRemote(o Options, c clock) *remote {
	verdicts := newMemory[admission]("verdict", maxKnown, o, c)
	verdicts.unknown = semaphore.NewWeighted(int64(max(leastStrangers, o.Strangers)))
	return &remote{
		glory: o.Glory, leeway: o.Local.Leeway, verdicts: verdicts, denials: lru.New[[sha256.Size]byte, time.Time](maxDenials, nil),
	}
}

// recall returns the member of a token whose verdict is on this replica and fresh, if the token hasn't expired. It asks nobody.
func (r *remote) recall(raw string) (Member, bool) {
	digest, now := digestOf(raw), time.Now()
	verdict, ok := r.verdicts.fresh(digest, now)
	if !ok || verdict.what.known.expired(now, r.leeway) {
		return Member{}, false
	}
	return verdict.what.known.member(raw, digest), true
}

// verify returns the member if Glory accepts the token. It asks Glory unless this replica or the fleet has a verdict. All who present
// the same token at once share one call. The error wraps ErrMemberToken or an error of package upstream, or is ctx's.
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

// VerdictsRunOut reports whether members are admitted by verdicts older than Options.MemberCacheTTL, because Glory fails: one was
// used in the last minute, and Glory hasn't given a verdict since. In local mode it is false.
func (b *Bridge) VerdictsRunOut() bool { return b.remote != nil && b.remote.verdicts.runsOut() }

// errDeniedByGlory is the error for a token that Glory denies, now or in the last denialTTL.
var errDeniedByGlory = fmt.Errorf("%w: denied by Glory", ErrMemberToken)

// ask calls check_login. nil: Glory accepts the token. Only the documented answer counts as that (glory.md, section 3), because a
// maintenance page may come with a 200. The error is as in inquiry.ask.
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
