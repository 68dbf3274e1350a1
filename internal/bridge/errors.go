package bridge

// This file lists every way in which a request can fail here; package proxy turns them into statuses.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"roomgate/internal/tokencache"
	"roomgate/internal/upstream"
)

// The errors to test for, beside those of package upstream. What wraps them is for logs only.
var (
	// ErrNoMemberToken: the request carries no member token.
	ErrNoMemberToken = errors.New("no member token")
	// ErrMemberToken: the member token is malformed, forged, expired, or not accepted by Glory.
	ErrMemberToken = errors.New("member token not accepted")
	// ErrExpired: the member token is expired, and nothing else about it is known to be wrong. It wraps ErrMemberToken.
	ErrExpired = fmt.Errorf("%w: expired", ErrMemberToken)
	// ErrForbidden: the member is known, but no license admits the request.
	ErrForbidden = errors.New("no license admits the member")
	// ErrDenied: the member is on the deny list. It wraps ErrForbidden.
	ErrDenied = fmt.Errorf("%w: on the deny list", ErrForbidden)
)

// NoCredential is the error where no access token can be had for a license.
type NoCredential struct {
	// Refused tells that Interwater said no, to the license or to its fresh token; else it is a matter of time.
	Refused bool
	// RetryAfter is when asking again may help; at least a second.
	RetryAfter time.Duration
	Err        error
}

// Error implements error.
func (e *NoCredential) Error() string { return fmt.Sprintf("no credential: %v", e.Err) }

// Unwrap gives the cause.
func (e *NoCredential) Unwrap() error { return e.Err }

// noCredential translates what the token cache reports.
func noCredential(err error) error {
	if u, ok := errors.AsType[*tokencache.Unavailable](err); ok {
		refused := u.Class == tokencache.Denied || u.Class == tokencache.Rejected
		return &NoCredential{Refused: refused, RetryAfter: u.RetryAfter, Err: err}
	}
	if errors.Is(err, tokencache.ErrClosed) {
		return &NoCredential{RetryAfter: time.Second, Err: err}
	}
	return err // the caller's own context
}

// callFailed translates the error of a call. A deadline of ctx is one that this package has set.
func callFailed(ctx context.Context, what string, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", what, upstream.ErrTimeout)
	}
	return fmt.Errorf("%s: %w", what, err)
}
