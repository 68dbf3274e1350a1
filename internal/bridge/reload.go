package bridge

// This file replaces secrets while requests go on.

import (
	"context"
	"errors"
	"fmt"

	"roomgate/internal/tokencache"
)

// secrets is what may be replaced at run time. It is never changed itself.
type secrets struct {
	local    *local // nil: remote decides
	licenses []licensed
}

// Reload takes over JWT secrets at once, and the licenses' keys once each changed license has got an access token with its
// new ones: until then, and where the error is not nil, the old keys stay in use. The licenses are those of Options in
// number and order. Afterwards no old key is used again. It must not be called concurrently.
func (b *Bridge) Reload(ctx context.Context, jwt []tokencache.Secret, licenses []License) error {
	old := b.secrets.Load()
	next := &secrets{local: old.local, licenses: old.licenses}
	if old.local != nil && len(jwt) > 0 {
		verification := b.options.Local
		verification.Secrets = jwt
		next.local = newLocal(verification)
	}
	b.secrets.Store(next)

	options := b.options
	options.Licenses = licenses
	fresh, err := newLicenses(options, b.decided)
	if err != nil {
		return err
	}
	if len(fresh) != len(old.licenses) {
		return errors.New("the number of licenses has changed")
	}
	for i, l := range fresh {
		if l.member.key.Same(old.licenses[i].member.key) {
			continue
		}
		if _, _, err := b.tokens.Token(ctx, l.member.key, l.member.issuer.fetch); err != nil {
			b.tokens.Forget(l.member.key)
			return fmt.Errorf("license %s: the new keys get no access token: %w", l.member.License, err)
		}
	}
	b.secrets.Store(&secrets{local: next.local, licenses: fresh})
	for i, l := range old.licenses {
		if !l.member.key.Same(fresh[i].member.key) {
			b.tokens.Forget(l.member.key)
			b.tokens.Forget(l.admin.key)
		}
	}
	return nil
}

// current is the grant with the keys of now: those that g was made with may have been replaced while its request was
// under way.
func (b *Bridge) current(g Grant) Grant {
	for _, l := range b.secrets.Load().licenses {
		switch {
		case l.member.License != g.License:
		case g.Role == RoleOwner:
			return l.admin
		default:
			return l.member
		}
	}
	return g
}
