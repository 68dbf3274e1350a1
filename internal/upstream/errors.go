package upstream

// This file lists every way in which a call can fail, and says what of an error may be logged.

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
)

// The errors of a call to test for, besides those of the caller's own context. What wraps them is for logs only.
var (
	// ErrFailed: the upstream could not be reached, broke off, or answered no valid HTTP.
	ErrFailed = errors.New("upstream failed")
	// ErrTimeout: the upstream did not deliver its answer within Options.Timeout.
	ErrTimeout = errors.New("upstream timed out")
	// ErrBusy: all slots are taken. No call was made.
	ErrBusy = errors.New("too many calls of the upstream at once")
	// ErrCircuit: the circuit is open. No call was made.
	ErrCircuit = errors.New("upstream circuit is open")
	// ErrBody: the request's body could not be read, or came too slowly: the caller's doing. It wraps the body's own error.
	ErrBody = errors.New("request body can't be read")
)

// Errors that only this package tells apart.
var (
	errElsewhere  = errors.New("request to another host than the upstream's")
	errNoHTTP     = errors.New("connection broken or no valid HTTP") // for every error that Plain does not know
	errSwitch     = errors.New("protocols switched unasked")
	errStatus     = errors.New("no valid status")
	errSlowBody   = errors.New("too slow")
	errBodyClosed = errors.New("read on closed answer") // a Read after Close, or interrupted by it
	errLate       = errors.New("time is over")          // a transport's own: Upstream makes ErrTimeout of it
	errLine       = errors.New("target or header that can't be sent")
	errStale      = errors.New("idle connection is no longer good")
	errRepeated   = errors.New("connection broken, and the request may not be sent again")
)

// Plain returns what may be logged of the error of a call: its cause below HTTP, or that it is none of those. net/http
// quotes what it can't parse, and that may be a credential: an upstream can send back what it was sent.
func Plain(err error) error {
	if call, ok := errors.AsType[*url.Error](err); ok {
		err = call.Err
	}
	if cause, ok := errors.AsType[net.Error](err); ok {
		return cause
	}
	if cause, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return cause
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return http.ErrSchemeMismatch // as net/http's own transport calls it
	}
	for _, cause := range []error{
		io.EOF, io.ErrUnexpectedEOF, context.Canceled, http.ErrSchemeMismatch,
		ErrTimeout, ErrBusy, ErrCircuit, errElsewhere, errSwitch, errStatus, errBodyClosed, errRepeated,
	} {
		if errors.Is(err, cause) {
			return cause
		}
	}
	return errNoHTTP
}
