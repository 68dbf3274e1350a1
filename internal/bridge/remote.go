package bridge

// This file asks Glory whether it accepts a member token, once for all who present the same one.

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/semaphore"

	"roomgate/internal/upstream"
)

const (
	maxVerdicts    = 100_000         // in memory; about 300 bytes each
	maxDenials     = 4_096           // apart: strangers can make as many as they like
	denialTTL      = 5 * time.Second // a member who has just logged in must not wait longer
	leastStrangers = 8               // places; a small gateway serves new members too
)

// admission is all that a verdict says: only admissions are kept as such.
type admission struct{}

// remote verifies by Glory's check_login. It is safe for concurrent use.
type remote struct {
	glory    sender
	leeway   time.Duration
	verdicts *memory[admission]
	denials  *lru.Cache[[sha256.Size]byte, time.Time] // their ends
	known    *verified                                // members with a verdict, so that their tokens needn't be read again
}

func newRemote(o Options) (*remote, error) {
	verdicts, err := newMemory[admission]("verdict", maxVerdicts, o)
	if err != nil {
		return nil, err
	}
	verdicts.unknown = semaphore.NewWeighted(int64(max(leastStrangers, o.Strangers)))
	denials, err := lru.New[[sha256.Size]byte, time.Time](maxDenials)
	if err != nil {
		return nil, fmt.Errorf("denials: %w", err)
	}
	return &remote{
		glory: o.Glory, leeway: o.Local.Leeway, verdicts: verdicts, denials: denials, known: newVerified(o.Local.Leeway),
	}, nil
}

// recall returns the member of a token whose verdict is fresh in memory.
func (r *remote) recall(raw string) (Member, bool) {
	member, ok := r.known.get(raw)
	if ok {
		_, ok = r.verdicts.fresh(member.token.digest)
	}
	return member, ok
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
		return Member{}, fmt.Errorf("%w: expired", ErrMemberToken)
	}
	if end, ok := r.denials.Get(t.digest); ok && now.Before(end) {
		return Member{}, errDeniedByGlory
	}
	_, err = r.verdicts.of(ctx, inquiry[admission]{t.digest, expiry, func(ctx context.Context) (admission, error) {
		err := r.ask(ctx, t.raw)
		if errors.Is(err, ErrMemberToken) {
			r.denials.Add(t.digest, time.Now().Add(denialTTL))
		}
		return admission{}, err
	}})
	if err != nil {
		return Member{}, err
	}
	member := t.member()
	if !expiry.IsZero() {
		r.known.add(member, expiry)
	}
	return member, nil
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
