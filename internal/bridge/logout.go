package bridge

// This file logs members out: their tokens stand on the fleet's deny list, as kinds of their own.

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"
)

const (
	// loggedOutToken begins the name of one token that was logged out: its SHA-256 in base64url follows.
	loggedOutToken = "out:"
	// loggedOutMember begins the name of a member all of whose tokens were logged out: the sub follows. The denial ends longestLife
	// after that moment, so its end tells the moment.
	loggedOutMember = "all:"
	// longestLife is how long the tokens of such a member are turned away. Glory's live 60 days.
	longestLife = 400 * 24 * time.Hour
	// endSlack is how much longer than a token its denial lives: leeway, and clocks that differ.
	endSlack = 10 * time.Minute
	// maxDenied bounds the deny list, as far as members fill it: at some 100 bytes an entry on every replica, 50 MB.
	maxDenied = 500_000
)

// IsLogout reports whether a name on the deny list is there because a member has logged out, and whether with all tokens.
func IsLogout(name string) (logout, all bool) {
	all = strings.HasPrefix(name, loggedOutMember)
	return all || strings.HasPrefix(name, loggedOutToken), all
}

// Logout turns the token that m has presented away until its end, on every replica within fleet.DenyDelay. If all is set, it turns
// every token away that m was issued until now. It is no error to log out twice. The error wraps ErrLogout or is ctx's; then
// all or nothing of it may have been done.
func (b *Bridge) Logout(ctx context.Context, m Member, all bool) error {
	if b.denied == nil || m.known == nil {
		return ErrLogout
	}
	ttl := time.Duration(0) // a token without end
	if end := time.Unix(0, m.known.expiry); end.Before(farthest) {
		ttl = max(time.Until(end), 0) + endSlack
	}
	err := b.denied.Add(ctx, tokenName(m.token.digest), ttl, maxDenied)
	if err == nil && all {
		// Not earlier than this very token: Glory's clock may be ahead.
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

// tokenName is how a token that was logged out stands on the list.
func tokenName(digest [32]byte) string {
	return loggedOutToken + base64.RawURLEncoding.EncodeToString(digest[:])
}

// listed returns ErrLoggedOut or ErrDenied where the deny list says so of the member or of the very token.
func (b *Bridge) listed(m Member) error {
	if b.denied == nil {
		return nil
	}
	now := b.denied.Changes() // before the look
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

// memberListed is listed for a member's tokens of a time, in seconds since 1970. A token that doesn't tell when it was issued
// counts as one from before.
func (b *Bridge) memberListed(subject string, issued int64) error {
	if end, ok := b.denied.Until(loggedOutMember + subject); ok && issued <= end.Add(-longestLife).Unix() {
		return ErrLoggedOut
	}
	if b.denied.Has(deniedSub + subject) {
		return ErrDenied
	}
	return nil
}
