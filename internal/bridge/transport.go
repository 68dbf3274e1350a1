package bridge

// This file builds the HTTP client side that every call to an upstream goes through.

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"
)

// NewTransport returns a transport for one upstream. It goes through no proxy of the environment, since a credential
// goes to its own host only, never asks for or undoes compression, and speaks HTTP/1.1. The caller bounds each call by
// its context, and ends the transport with CloseIdleConnections.
func NewTransport() *http.Transport {
	var http1 http.Protocols
	http1.SetHTTP1(true)
	dialer := &net.Dialer{Timeout: 2 * time.Second, KeepAlive: 15 * time.Second}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    5 * time.Second,
		Protocols:              &http1,
		DisableCompression:     true,
		MaxIdleConns:           0, // no limit beside the one per host: there is one host
		MaxIdleConnsPerHost:    1024,
		IdleConnTimeout:        60 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// newClient returns a client on rt that follows no redirect.
func newClient(rt http.RoundTripper) *http.Client {
	return &http.Client{
		Transport:     rt,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
