package tokencache

// This file defines what the cache hands out, what it takes from a fetch, and how a lookup can fail.

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Token is a token that was valid when it was handed out. It is immutable.
type Token struct {
	value      Secret
	expiry     time.Time // with monotonic reading; the early-expiry margin is already taken off
	life       time.Duration
	generation uint64
	after      uint64 // generations up to this one had been rejected here when its fetch began; 0 where it came from Redis
}

// Value returns the token itself.
func (t *Token) Value() string { return t.value.Reveal() }

// Generation orders the tokens of one key: a later one has a greater number.
func (t *Token) Generation() uint64 { return t.generation }

// Expiry returns the time from which the cache no longer hands the token out.
func (t *Token) Expiry() time.Time { return t.expiry }

// valid reports whether t may be handed out at now. A nil token never is.
func (t *Token) valid(now time.Time) bool { return t != nil && now.Before(t.expiry) }

// again is t, which the issuer has handed out once more, as issued: its life has begun before, so issued lives too long. Where t has
// expired here, or nearly, the issuer still knows better: it is good for a moment more.
func (t *Token) again(issued *Token, now time.Time) *Token {
	moment := margin(issued.life) / 2
	if t.expiry.Sub(now) >= moment {
		return t
	}
	return &Token{value: t.value, expiry: now.Add(moment), life: moment, generation: issued.generation, after: issued.after}
}

// Layer says where a lookup found its token.
type Layer string

// The layers, in the order in which they are asked.
const (
	Memory  Layer = "memory"
	Redis   Layer = "redis"
	Fetched Layer = "fetched"
)

// Issued is what a fetch brings back.
type Issued struct {
	Value Secret
	// Life is how long the token is good for, counted from before the fetch began. Zero or less is a failure.
	Life time.Duration
}

// Fetch obtains a new token. Its context has a deadline and belongs to no caller. An error that is no *FetchError
// counts as Transient.
type Fetch func(context.Context) (Issued, error)

// Class is the kind of a failure; it decides how long the cache backs off.
type Class string

// The classes of failure.
const (
	Transient Class = "transient" // no answer, or one that promises nothing: 0.25 s to 10 s
	Throttled Class = "throttled" // the issuer asks for patience: its Retry-After, else as Transient
	Garbage   Class = "garbage"   // an answer that makes no sense: as Transient
	Denied    Class = "refused"   // the issuer knows the key and says no: 1 s to 60 s
	Rejected  Class = "rejected"  // the issued token itself is turned down where it is used
	Budget    Class = "budget"    // without Redis, and this replica has fetched enough by itself
)

// FetchError is a failed fetch.
type FetchError struct {
	Class Class
	// RetryAfter is the wait that the issuer asked for; 0: none.
	RetryAfter time.Duration
	Err        error
}

// Error implements error.
func (e *FetchError) Error() string { return fmt.Sprintf("%s: %v", e.Class, e.Err) }

// Unwrap gives the cause.
func (e *FetchError) Unwrap() error { return e.Err }

// asFetchError gives err its class: Transient unless it says otherwise.
func asFetchError(err error) *FetchError {
	if failure, ok := errors.AsType[*FetchError](err); ok {
		return failure
	}
	return &FetchError{Class: Transient, Err: err}
}

// Unavailable is the error of a lookup that can't be served now.
type Unavailable struct {
	Class Class
	// RetryAfter is when asking again may help; never 0.
	RetryAfter time.Duration
	Err        error
}

// Error implements error.
func (e *Unavailable) Error() string { return fmt.Sprintf("no token (%s): %v", e.Class, e.Err) }

// Unwrap gives the cause.
func (e *Unavailable) Unwrap() error { return e.Err }

// ErrClosed is returned by lookups that would need a flight after Close.
var ErrClosed = errors.New("token cache is closed")
