package tokencache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"roomgate/internal/secret"
)

// Token is a token that was valid when it was handed out. It is immutable.
type Token struct {
	value secret.Value
	// expiry is by the monotonic clock. The margin for issuers that round down is already taken off.
	expiry time.Time
	// life is the whole lifetime, margin included.
	life       time.Duration
	generation uint64
	// after is the greatest generation that this replica had seen rejected when it began to fetch the token. 0: nothing was
	// rejected, or the token came from Redis.
	after uint64
}

// Value returns the token itself. Don't log it.
func (t *Token) Value() string { return t.value.Reveal() }

// Generation orders the tokens of one key, on all replicas: a newer token has a greater number.
func (t *Token) Generation() uint64 { return t.generation }

// Expiry returns the time from which lookups no longer return the token. It is a little before the token's own end.
func (t *Token) Expiry() time.Time { return t.expiry }

// valid reports whether lookups may return t at now. A nil token is never valid.
func (t *Token) valid(now time.Time) bool { return t != nil && now.Before(t.expiry) }

// repeated returns the token to keep if the issuer has issued t, the token in use, once more. Usually that is t with its old expiry,
// because it is older than issued says. If t has expired, or nearly, it is valid for a moment longer: the issuer knows best.
func (t *Token) repeated(issued *Token, now time.Time) *Token {
	moment := margin(issued.life) / 2
	if t.expiry.Sub(now) >= moment {
		return t
	}
	return &Token{value: t.value, expiry: now.Add(moment), life: moment, generation: issued.generation, after: issued.after}
}

// Layer says where a lookup found its token.
type Layer string

// The layers, in the order in which they are asked. Fetched means that this replica fetched the token during the lookup.
const (
	Memory  Layer = "memory"
	Redis   Layer = "redis"
	Fetched Layer = "fetched"
)

// Issued is the token that a fetch returns.
type Issued struct {
	// Value must not be empty.
	Value secret.Value
	// Life is the token's lifetime. It is counted from before the call of the fetch function. 0 or less makes the fetch fail.
	Life time.Duration
}

// Fetch obtains a new token from the issuer. Its context ends after Options.FetchTimeout or with Close, not with the context of
// a lookup; the function must return then. It is never called concurrently for one key of one Cache. An error that is no
// *FetchError counts as Transient, and so does a panic.
type Fetch func(context.Context) (Issued, error)

// Class is the kind of a failure. It decides how long the cache waits before it fetches again.
type Class string

// The classes of failure, with the shortest and the longest wait after one. The wait is random; its upper bound doubles with
// each failure in a row. While no token is valid the bound is 1.5 s, except for Denied. FetchError.RetryAfter lengthens any wait.
const (
	// Transient: the issuer gave no answer, or one that says nothing about the future. 0.25 s to 10 s.
	Transient Class = "transient"
	// Throttled: the issuer asked to wait. Its RetryAfter, or as Transient.
	Throttled Class = "throttled"
	// Garbage: the answer has no usable token. As Transient.
	Garbage Class = "garbage"
	// Denied: the issuer knows the key and refuses it. 1 s to 60 s.
	Denied Class = "refused"
	// Rejected: the token is rejected where it is used, and so was the one before it. Options.RefusedTTL. A Fetch doesn't return it.
	Rejected Class = "rejected"
	// Budget: Redis is down, and this replica has used up the fetches that it may make on its own. A Fetch doesn't return it.
	Budget Class = "budget"
)

// FetchError is a failed fetch.
type FetchError struct {
	Class Class
	// RetryAfter is the shortest wait before the next fetch. 0: the cache decides.
	RetryAfter time.Duration
	// Err is the cause. It is logged, and must hold no secret.
	Err error
}

// Error implements error.
func (e *FetchError) Error() string { return fmt.Sprintf("%s: %v", e.Class, e.Err) }

// Unwrap returns the cause.
func (e *FetchError) Unwrap() error { return e.Err }

// asFetchError returns the *FetchError in err, or makes err one of class Transient.
func asFetchError(err error) *FetchError {
	if failure, ok := errors.AsType[*FetchError](err); ok {
		return failure
	}
	return &FetchError{Class: Transient, Err: err}
}

// Unavailable is the error of Token and Reject when there is no usable token now.
type Unavailable struct {
	Class Class
	// RetryAfter is how long to wait before asking again can help; at least a second.
	RetryAfter time.Duration
	Err        error
}

// Error implements error.
func (e *Unavailable) Error() string { return fmt.Sprintf("no token (%s): %v", e.Class, e.Err) }

// Unwrap returns the cause.
func (e *Unavailable) Unwrap() error { return e.Err }

// ErrClosed is the error of a lookup that needs a flight after Close.
var ErrClosed = errors.New("token cache is closed")
