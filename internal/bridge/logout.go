package bridge

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A logout puts a name of its own kind on the deny list.
const (
	// loggedOutToken begins the name of one token. Its SHA-256 in base64url follows.
	loggedOutToken = "out:"
	// loggedOutMember begins the name of a member who has logged out with all tokens. The sub follows. The denial ends longestLife
	// after the logout, so the end also tells when that was.
	loggedOutMember = "all:"
	// longestLife is for how long a member's older tokens are turned away. It must be longer than any token lives; Glory's live
	// 60 days.
	longestLife = 400 * 24 * time.Hour
	// endSlack is how much longer than a token its denial holds. It covers the leeway and the differences of clocks.
	endSlack = 10 * time.Minute
	// maxDenied is the length up to which logouts fill the deny list: 50 MB on each replica, at about 100 bytes a name.
	maxDenied = 500_000
)

// IsLogout reports whether a name on the deny list comes from a logout, and if so, whether from one with all of the member's tokens.
func IsLogout(name string) (logout, all bool) {
	all = strings.HasPrefix(name, loggedOutMember)
	return all || strings.HasPrefix(name, loggedOutToken), all
}

// Logout denies the token that m has presented, until its expiry. With all, it denies each token that was issued to m until now. All
// replicas know of it within fleet.DenyDelay, this one at once. To log out twice is no error. It waits for Redis as fleet.DenyList.Add
// does, with all twice.
//
// The error wraps ErrLogout, or is ctx's if ctx was cancelled. After an error the logout may have happened, wholly or in part.
func (b *Bridge) Logout(ctx context.Context, m Member, all bool) error {
	if b.denied == nil || m.known == nil {
		return ErrLogout
	}
	ttl := time.Duration(0) // the token has no expiry, so the denial has no end
	if end := time.Unix(0, m.known.expiry); end.Before(farthest) {
		ttl = max(time.Until(end), 0) + endSlack
	}
	err := b.denied.Add(ctx, tokenName(m.token.digest), ttl, maxDenied)
	if err == nil && all {
		// Glory's clock may be ahead of this one. The present token must count as older than the logout all the same.
		until := time.Unix(max(time.Now().Unix(), m.known.issued), 0)
		err = b.denied.AddUntil(ctx, loggedOutMember+m.Subject, until.Add(longestLife), maxDenied)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(ctx.Err(), context.Canceled):
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrLogout, err)
}

// tokenName returns the name of a logged-out token on the deny list.
func tokenName(digest [32]byte) string {
	return loggedOutToken + base64.RawURLEncoding.EncodeToString(digest[:])
}

// listed returns ErrLoggedOut or ErrDenied if the member or the token is on the deny list, otherwise nil. It asks nobody. That the
// list has neither is remembered with the token, until the list changes.
func (b *Bridge) listed(m Member) error {
	if b.denied == nil {
		return nil
	}
	now := b.denied.Changes() // first, so that a change during the check isn't missed
	if m.known != nil && m.known.unlisted.Load() == now {
		return nil
	}
	issued := int64(0)
	if m.known != nil {
		issued = m.known.issued
	}
	err := cmp.Or(b.tokenListed(m.token.digest), b.memberListed(m.Subject, issued))
	if err == nil && m.known != nil {
		m.known.unlisted.Store(now)
	}
	return err
}

// memberListed is listed for a member's token that was issued at a time, in seconds since 1970. 0: the token doesn't tell; then it
// counts as older than any logout. b.denied must not be nil.
func (b *Bridge) memberListed(subject string, issued int64) error {
	if end, ok := b.denied.Until(loggedOutMember + subject); ok && issued <= end.Add(-longestLife).Unix() {
		return ErrLoggedOut
	}
	if b.denied.Has(deniedSub + subject) {
		return ErrDenied
	}
	return nil
}
