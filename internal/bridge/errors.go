package bridge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"roomgate/internal/tokencache"
	"roomgate/internal/upstream"
)

// The errors to test for with errors.Is, besides those of package upstream. Package proxy turns them into statuses. The texts
// around them are for logs only.
var (
	// ErrNoMemberToken: the request has no bearer token.
	ErrNoMemberToken = errors.New("no member token")
	// ErrMemberToken: the member token is malformed, forged or expired, or Glory doesn't accept it.
	ErrMemberToken = errors.New("member token not accepted")
	// ErrExpired: the member token has expired, and nothing else is known to be wrong with it. It wraps ErrMemberToken.
	ErrExpired = fmt.Errorf("%w: expired", ErrMemberToken)
	// ErrLoggedOut: the member token was logged out. It wraps ErrMemberToken.
	ErrLoggedOut = fmt.Errorf("%w: logged out", ErrMemberToken)
	// ErrSession: what was presented as a session isn't one that this fleet has sealed.
	ErrSession = errors.New("session doesn't open")
	// ErrLogout: the logout couldn't be written to the deny list.
	ErrLogout = errors.New("can't log out")
	// ErrForbidden: the member is known, but no license admits the request.
	ErrForbidden = errors.New("no license admits the member")
	// ErrDenied: the member or the member token is on the deny list. It wraps ErrForbidden.
	ErrDenied = fmt.Errorf("%w: on the deny list", ErrForbidden)
)

// NoCredential is the error if there is no access token for a license. Test for it with errors.AsType.
type NoCredential struct {
	// Refused: Interwater refuses the license, or rejects the token that it has just issued. If false, the failure may pass.
	Refused bool
	// RetryAfter is how long to wait before asking again can help; at least a second.
	RetryAfter time.Duration
	Err        error
}

// Error implements error.
func (e *NoCredential) Error() string { return fmt.Sprintf("no credential: %v", e.Err) }

// Unwrap returns the cause.
func (e *NoCredential) Unwrap() error { return e.Err }

// noCredential makes a *NoCredential of an error of the token cache. The error of the caller's context stays as it is.
func noCredential(err error) error {
	if u, ok := errors.AsType[*tokencache.Unavailable](err); ok {
		refused := u.Class == tokencache.Denied || u.Class == tokencache.Rejected
		return &NoCredential{Refused: refused, RetryAfter: u.RetryAfter, Err: err}
	}
	if errors.Is(err, tokencache.ErrClosed) {
		return &NoCredential{RetryAfter: time.Second, Err: err}
	}
	return err
}

// callFailed wraps the error of a call of Glory. ctx is the context of the call, whose deadline this package has set: if that has
// passed, the error wraps upstream.ErrTimeout.
func callFailed(ctx context.Context, what string, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", what, upstream.ErrTimeout)
	}
	return fmt.Errorf("%s: %w", what, err)
}
