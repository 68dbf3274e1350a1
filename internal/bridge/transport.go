package bridge

// This file builds the HTTP client side that every call to an upstream goes through.

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

// MaxConnectionAge is for how long a connection to an upstream is used, about: by then its name may stand for other addresses,
// and a connection that is never idle would be kept for as long as the old one answers.
const MaxConnectionAge = 30 * time.Second

// errNoHTTP stands for every error that Plain does not know.
var errNoHTTP = errors.New("connection broken or no valid HTTP")

// NewTransport returns a transport for one upstream. It goes through no proxy of the environment, since a credential
// goes to its own host only, never asks for or undoes compression, and speaks HTTP/1.1. The caller bounds each call by
// its context, and ends the transport with CloseIdleConnections.
func NewTransport() *http.Transport {
	var http1 http.Protocols
	http1.SetHTTP1(true)
	t := &http.Transport{
		DialContext:            dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    5 * time.Second,
		Protocols:              &http1,
		DisableCompression:     true,
		MaxIdleConns:           0, // no limit beside the one per host: there is one host
		MaxIdleConnsPerHost:    1024,
		IdleConnTimeout:        60 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
	t.Proxy = renewed(t, MaxConnectionAge)
	return t
}

// renewed is what t asks before each request, in place of a proxy: now and then it closes those connections that are idle.
// Each of a few that are always busy will not be at one of these times.
func renewed(t *http.Transport, age time.Duration) func(*http.Request) (*url.URL, error) {
	began := time.Now()
	var last atomic.Int64
	return func(*http.Request) (*url.URL, error) {
		now, before := int64(time.Since(began)), last.Load()
		if now-before >= int64(age) && last.CompareAndSwap(before, now) {
			t.CloseIdleConnections()
		}
		return nil, nil
	}
}

// Plain returns what may be logged of the error of a call: its cause below HTTP, or that it is none of those. net/http
// quotes what it can't parse, and that may be a credential: an upstream can have written what it was sent.
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
	for _, cause := range []error{io.EOF, io.ErrUnexpectedEOF, context.Canceled, http.ErrSchemeMismatch} {
		if errors.Is(err, cause) {
			return cause
		}
	}
	return errNoHTTP
}
