package bridge

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

	"roomgate/internal/secret"
	"roomgate/internal/tokencache"
)

const (
	// triedAtOnce is the number of licenses whose new keys are tried at once.
	triedAtOnce = 8
	// The bounds of the wait before failed keys are tried again. They are those of a license that Interwater refuses.
	retryLeast, retryLongest = time.Second, time.Minute
)

// Unproved is the error of Reload if new keys got no access token. The old keys of these licenses stay in use.
type Unproved struct {
	// RetryAfter is how long to wait before Reload tries the first of them again; 0 or more.
	RetryAfter time.Duration
	// Err joins an error for each license.
	Err error
}

// Error implements error.
func (e *Unproved) Error() string { return e.Err.Error() }

// Unwrap returns the causes.
func (e *Unproved) Unwrap() error { return e.Err }

// trials are the new keys that got no access token. The zero value is ready.
type trials struct {
	// mu guards failed. It is also held while Bridge.try replaces one license in Bridge.secrets.
	mu     sync.Mutex
	failed map[int]trial // by the license's place in Options.Licenses
}

// trial is the last failed attempt to get an access token with new keys.
type trial struct {
	key      tokencache.Key // has the new keys in it
	attempts int            // failed ones with this key
	next     time.Time      // the next attempt isn't made before
	err      error
}

// Reload replaces secrets and licenses while requests go on. licenses must be those of Options, in the same number and order.
//
// New JWT secrets are used at once; none, or remote mode, leaves them as they are. If a license's key hasn't changed, its new
// rules are used at once. If it has, the license goes on with its old keys and rules until an access token was fetched with the
// new ones; the other licenses don't wait for that. Reload waits for these fetches. Keys that fail are tried again with a
// backoff, however often Reload is called.
//
// After a license's keys have been replaced, only a fetch that is already under way may still use the old ones. The first license's
// secret key also seals the fleet's verdicts and profiles: those that were sealed with the old one are no longer found.
//
// The error is an *Unproved if only such fetches have failed. After another error, which is about the licenses, all licenses
// are as before. It must not be called concurrently.
func (b *Bridge) Reload(ctx context.Context, jwt []secret.Value, licenses []License) error {
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

// try fetches an access token with the new keys of the license at place, and then uses l from now on. It does nothing if these keys
// have failed and their wait isn't over.
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

// only forgets the failures of all licenses that aren't at places. Their new keys are in use, or are no longer wanted.
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

// fail remembers a failed attempt and draws the wait until the next one. The wait's upper bound doubles with each failure, and
// the wait is evenly random below it (full jitter). It isn't shorter than the token cache says.
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

// unproved returns an *Unproved, or nil if no attempt has failed.
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

// current returns g with the present keys of its license: Reload may have replaced them since Authorize.
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
