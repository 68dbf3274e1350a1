package bridge

// This file asks Glory whether it accepts a member token, once for all who present the same one.

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"roomgate/internal/upstream"
)

const (
	leastStrangers = 8           // places; a small gateway serves new members too
	freshPatience  = time.Second // for Glory, where a verdict that has run out is at hand
	recheckEvery   = time.Second // of such a verdict, while Glory can't be asked
	runOutNoted    = time.Minute // after the last use of such a verdict
)

// remote verifies by Glory's check_login. It is safe for concurrent use.
type remote struct {
	glory     sender
	timeout   time.Duration // of one call
	leeway    time.Duration
	verdicts  *verdicts
	strangers *semaphore.Weighted // places of checks of tokens without a verdict in memory
	flights   flights[verdict]
	runOut    atomic.Int64 // when a verdict that has run out was used, in Unix nanoseconds; 0: Glory has answered since
}

func newRemote(o Options) (*remote, error) {
	kept, err := newVerdicts(o)
	if err != nil {
		return nil, err
	}
	return &remote{
		glory: o.Glory, timeout: o.GloryTimeout, leeway: o.Local.Leeway, verdicts: kept,
		strangers: semaphore.NewWeighted(int64(max(leastStrangers, o.Strangers))),
	}, nil
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
	v := r.verdicts.of(t.digest, now)
	switch {
	case now.Before(v.fresh):
	case v.admits():
		v, err = r.refresh(ctx, t, expiry, v)
	case !r.verdicts.denied(t.digest, now):
		v, err = r.join(ctx, t, expiry, v)
	}
	if err != nil {
		return Member{}, err
	}
	if !v.admits() {
		return Member{}, fmt.Errorf("%w: denied by Glory", ErrMemberToken)
	}
	return t.member(), nil
}

// refresh replaces v, which has run out. Glory gets a moment to answer, and none while it can't be asked: then v counts on for
// this request, and what comes of the check for the next one.
func (r *remote) refresh(ctx context.Context, t memberToken, expiry time.Time, v verdict) (verdict, error) {
	if time.Now().Before(v.recheck) {
		r.noteRunOut()
		return v, nil
	}
	patience := freshPatience
	if r.runsOut() {
		patience = 0
	}
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	newer, err := r.join(wait, t, expiry, v)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		r.noteRunOut()
		return v, nil
	}
	return newer, err
}

// join waits for the one check of this token.
func (r *remote) join(ctx context.Context, t memberToken, expiry time.Time, known verdict) (verdict, error) {
	return r.flights.join(ctx, t.digest, r.timeout, func(own context.Context) (verdict, error) {
		return r.check(own, t, expiry, known)
	})
}

// check looks in the fleet's memory and asks Glory, and remembers the outcome unless Glory failed. known is the verdict in
// memory that has run out; zero: there is none, and the check needs a place among strangers.
func (r *remote) check(ctx context.Context, t memberToken, expiry time.Time, known verdict) (verdict, error) {
	if !known.admits() {
		if !r.strangers.TryAcquire(1) {
			return verdict{}, fmt.Errorf("check_login: unknown member tokens: %w", upstream.ErrBusy)
		}
		defer r.strangers.Release(1)
	}
	v := r.verdicts.shared(ctx, t.digest, expiry, known)
	if time.Now().Before(v.fresh) {
		return v, nil
	}
	admitted, err := r.ask(ctx, t.raw)
	switch {
	case err != nil && v.admits() && unasked(err):
		r.noteRunOut()
		return r.verdicts.postpone(t.digest, v), nil
	case err != nil:
		return verdict{}, err
	}
	r.runOut.Store(0)
	if !admitted {
		r.verdicts.deny(ctx, t.digest, v)
		return verdict{}, nil
	}
	return r.verdicts.admit(ctx, t.digest, expiry), nil
}

// unasked reports whether err says that Glory has given no verdict.
func unasked(err error) bool {
	return errors.Is(err, upstream.ErrFailed) || errors.Is(err, upstream.ErrTimeout) ||
		errors.Is(err, upstream.ErrBusy) || errors.Is(err, upstream.ErrCircuit)
}

// noteRunOut notes that a verdict that has run out is used.
func (r *remote) noteRunOut() { r.runOut.Store(time.Now().UnixNano()) }

// runsOut reports whether one has been used lately, and Glory hasn't answered since.
func (r *remote) runsOut() bool {
	last := r.runOut.Load()
	return last != 0 && time.Since(time.Unix(0, last)) < runOutNoted
}

// VerdictsRunOut reports whether members are let in by verdicts of Glory that have run out, because Glory can't be asked. It is
// false where members are verified in process.
func (b *Bridge) VerdictsRunOut() bool { return b.remote != nil && b.remote.runsOut() }

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
