package bridge

// This file replaces secrets while requests go on.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"roomgate/internal/tokencache"
)

// New keys are tried for a few licenses at once. Those that fail are tried again after the backoff of a refused license.
const (
	triedAtOnce              = 8
	retryLeast, retryLongest = time.Second, time.Minute
)

// Unproved is the error of Reload where new keys got no access token: the old ones of these licenses stay in use.
type Unproved struct {
	// RetryAfter is when to call Reload again.
	RetryAfter time.Duration
	Err        error
}

// Error implements error.
func (e *Unproved) Error() string { return e.Err.Error() }

// Unwrap gives the causes.
func (e *Unproved) Unwrap() error { return e.Err }

// trials are the new keys that got no access token, by the place of their license. The zero value is ready.
type trials struct {
	mu     sync.Mutex // guards failed, and the change of Bridge.secrets by one license
	failed map[int]trial
}

type trial struct {
	key      tokencache.Key
	attempts int
	next     time.Time
	err      error
}

// Reload takes over JWT secrets at once, and each license's keys and rules once its new keys have got an access token. Until then
// that license keeps the old ones; the others don't wait for it. The error is an *Unproved where only that has failed. Keys that
// fail are tried again with a backoff, however often Reload is called. The licenses are those of Options in number and order.
// Afterwards no replaced key is used again, for the fleet's memory of verdicts neither. It must not be called concurrently.
func (b *Bridge) Reload(ctx context.Context, jwt []tokencache.Secret, licenses []License) error {
	old := b.secrets.Load()
	local := old.local
	if local != nil && len(jwt) > 0 {
		verification := b.options.Local
		verification.Secrets = jwt
		local = newLocal(verification)
	}
	b.secrets.Store(newSecrets(local, old.licenses))

	options := b.options
	options.Licenses = licenses
	fresh, err := newLicenses(options, b.decided)
	if err != nil {
		return err
	}
	if len(fresh) != len(old.licenses) {
		return errors.New("the number of licenses has changed")
	}
	var changed []int
	kept := slices.Clone(fresh)
	for i, l := range fresh {
		if !l.member.key.Same(old.licenses[i].member.key) {
			kept[i], changed = old.licenses[i], append(changed, i)
		}
	}
	b.secrets.Store(newSecrets(local, kept))
	b.trials.only(changed)
	var group errgroup.Group
	group.SetLimit(triedAtOnce)
	for _, i := range changed {
		group.Go(func() error { b.try(ctx, i, fresh[i]); return nil })
	}
	_ = group.Wait()
	return b.trials.unproved()
}

// try fetches an access token with a license's new keys, unless they have failed just now, and puts them to use.
func (b *Bridge) try(ctx context.Context, place int, l licensed) {
	if !b.trials.due(place, l.member.key) {
		return
	}
	if _, _, err := b.tokens.Token(ctx, l.member.key, l.member.issuer.fetch); err != nil {
		b.tokens.Forget(l.member.key)
		b.trials.fail(place, l.member.key, fmt.Errorf("license %s: the new keys get no access token: %w", l.member.License, err))
		return
	}
	b.trials.mu.Lock()
	defer b.trials.mu.Unlock()
	delete(b.trials.failed, place)
	now := b.secrets.Load()
	old := now.licenses[place]
	next := slices.Clone(now.licenses)
	next[place] = l
	b.secrets.Store(newSecrets(now.local, next))
	if place == 0 {
		b.options.Verdicts.Reseal(l.member.issuer.license.SecretKey)
	}
	b.tokens.Forget(old.member.key)
	b.tokens.Forget(old.admin.key)
}

// only forgets all but those at places: the keys of the others are in use, or were taken back.
func (t *trials) only(places []int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for place := range t.failed {
		if !slices.Contains(places, place) {
			delete(t.failed, place)
		}
	}
}

// due reports whether key may be tried now.
func (t *trials) due(place int, key tokencache.Key) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	last, failed := t.failed[place]
	return !failed || !last.key.Same(key) || !time.Now().Before(last.next)
}

// fail remembers a failed trial and draws the wait until the next one, with full jitter.
func (t *trials) fail(place int, key tokencache.Key, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	attempts := 1
	if last, failed := t.failed[place]; failed && last.key.Same(key) {
		attempts = last.attempts + 1
	}
	wait := max(retryLeast, rand.N(min(retryLongest, retryLeast<<min(attempts, 6))))
	if u, ok := errors.AsType[*tokencache.Unavailable](err); ok {
		wait = max(wait, u.RetryAfter)
	}
	if t.failed == nil {
		t.failed = map[int]trial{}
	}
	t.failed[place] = trial{key, attempts, time.Now().Add(wait), err}
}

// unproved is the error of Reload; nil where no trial has failed.
func (t *trials) unproved() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.failed) == 0 {
		return nil
	}
	var all []error
	soonest := retryLongest
	for _, place := range slices.Sorted(maps.Keys(t.failed)) {
		all = append(all, t.failed[place].err)
		soonest = min(soonest, time.Until(t.failed[place].next))
	}
	return &Unproved{RetryAfter: max(0, soonest), Err: errors.Join(all...)}
}

// current is the grant with the keys of now: those that g was made with may have been replaced while its request was
// under way.
func (b *Bridge) current(g Grant) Grant {
	l := b.secrets.Load().licenses[g.place]
	switch {
	case l.member.License != g.License:
		return g
	case g.Role == RoleOwner:
		return l.admin
	}
	return l.member
}
