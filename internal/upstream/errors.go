package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
)

// Errors of a call that callers may test for, besides those of their own context. Whatever else is in the chain is for logs only.
var (
	// ErrFailed: the upstream could not be reached, broke off, or sent no valid HTTP.
	ErrFailed = errors.New("upstream failed")
	// ErrTimeout: the upstream did not deliver its answer within Options.Timeout.
	ErrTimeout = errors.New("upstream timed out")
	// ErrBusy: all slots are taken. The request was not sent.
	ErrBusy = errors.New("too many concurrent calls")
	// ErrCircuit: the circuit is open. The request was not sent.
	ErrCircuit = errors.New("upstream circuit is open")
	// ErrBody: the request's body could not be read, or came too slowly. That is the caller's fault. The body's own error is
	// wrapped too.
	ErrBody = errors.New("request body can't be read")
)

// Errors that only this package tests for.
var (
	errElsewhere  = errors.New("request is for another host")
	errNoHTTP     = errors.New("connection broken or no valid HTTP") // for all errors that Plain doesn't know
	errSwitch     = errors.New("unrequested protocol switch")
	errStatus     = errors.New("invalid status")
	errSlowBody   = errors.New("too slow")
	errBodyClosed = errors.New("read on closed body") // a Read after Close, or interrupted by it
	errLate       = errors.New("time is over")        // a transport's: callers get ErrTimeout
	errLine       = errors.New("target or header can't be sent")
	errStale      = errors.New("idle connection is no longer good")
	errRepeated   = errors.New("connection broken, and the request may not be sent again")
)

// Plain returns the part of a call's error that may be logged: its cause below HTTP, or one error for all others. net/http quotes
// what it can't parse, which may be a credential that the upstream sent back.
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
