package proxy

// This file is the client side of a forward: the credential and its repair, the time limit, and what every upstream
// answer is cleared of.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"roomgate/internal/bridge"
)

// credentials is who supplies access tokens. *bridge.Bridge is one.
type credentials interface {
	Credential(context.Context, bridge.Grant) (bridge.Credential, error)
	Reject(context.Context, bridge.Credential) error
	Refuse(context.Context, bridge.Credential) error
}

// credentialTransport adds the access token of the request's grant, and replaces a rejected one once.
type credentialTransport struct {
	credentials credentials
	reject      []int // statuses that mean "access token rejected"
	tracing     tracing
	next        http.RoundTripper
}

// RoundTrip implements http.RoundTripper. A rejection is never returned as an answer: the client would take it for its
// own and log the member out.
func (t *credentialTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, ex := r.Context(), exchangeOf(r)
	credential, err := t.credential(ctx, ex)
	if err != nil {
		return nil, err
	}
	answer, err := t.send(r, credential)
	if err != nil || !slices.Contains(t.reject, answer.StatusCode) {
		return answer, err
	}
	discard(answer)
	if err := t.credentials.Reject(ctx, credential); err != nil {
		return nil, err
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil, errRejectedTwo
	}
	if credential, err = t.credential(ctx, ex); err != nil {
		return nil, err
	}
	answer, err = t.send(r, credential)
	if err != nil || !slices.Contains(t.reject, answer.StatusCode) {
		return answer, err
	}
	discard(answer)
	return nil, t.credentials.Refuse(ctx, credential)
}

// credential looks the access token up.
func (t *credentialTransport) credential(ctx context.Context, ex *exchange) (bridge.Credential, error) {
	began := time.Now()
	ctx, end := t.tracing.phase(ctx, "token")
	credential, err := t.credentials.Credential(ctx, ex.grant)
	end(err, attribute.String("roomgate.token_source", credential.Source))
	ex.took.token += time.Since(began)
	return credential, err
}

// send makes one attempt. The request is ReverseProxy's own copy, which nobody else reads: the credential goes into it.
func (t *credentialTransport) send(r *http.Request, credential bridge.Credential) (*http.Response, error) {
	ex := exchangeOf(r)
	ex.upstream, ex.tokenSource = upstreamInterwater, credential.Source
	r.Header[credentialHeader] = []string{credential.Value()}
	answer, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	text, err := completeSmall(answer)
	if err != nil {
		return nil, err
	}
	if len(text) > 0 && bytes.Contains(text, []byte(credential.Value())) {
		return nil, errEchoed
	}
	return answer, nil
}

// discard gives the connection back where little is left to read, and closes it otherwise.
func discard(answer *http.Response) {
	_, _ = io.CopyN(io.Discard, answer.Body, 4<<10)
	_ = answer.Body.Close()
}

// timeLimit bounds one upstream call from its start to the end of the answer's body, and tells apart who was at fault
// when it fails.
type timeLimit struct {
	next     http.RoundTripper
	limit    time.Duration
	upstream string
}

// RoundTrip implements http.RoundTripper. The error wraps bridge.ErrUpstream or bridge.ErrUpstreamTimeout, or is the
// caller's own context's.
func (t timeLimit) RoundTrip(r *http.Request) (*http.Response, error) {
	exchangeOf(r).attempts = 0
	ctx, cancel := context.WithTimeout(r.Context(), t.limit)
	answer, err := t.next.RoundTrip(r.WithContext(ctx))
	if err == nil && answer.StatusCode == http.StatusSwitchingProtocols {
		_ = answer.Body.Close()
		cancel()
		return nil, fmt.Errorf("%s: %w: %w", t.upstream, bridge.ErrUpstream, errSwitch)
	}
	if err != nil {
		defer cancel()
		switch {
		case r.Context().Err() != nil:
			return nil, r.Context().Err()
		case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, context.DeadlineExceeded): // net's may come first
			return nil, fmt.Errorf("%s: %w", t.upstream, bridge.ErrUpstreamTimeout)
		case errors.Is(err, errGuard): // our own, and nothing that an upstream wrote
			return nil, err
		}
		return nil, fmt.Errorf("%s: %w: %w", t.upstream, bridge.ErrUpstream, bridge.Plain(err))
	}
	if len(answer.TransferEncoding) > 0 {
		// Transports write trailers into their own Response when the body ends. A copy doesn't get them: none are relayed.
		cleared := *answer
		cleared.Trailer = nil
		answer = &cleared
	}
	answer.Body = &cancelledBody{ReadCloser: answer.Body, cancel: cancel}
	if answer.ContentLength < 0 && len(answer.TransferEncoding) == 0 {
		answer.Body = &untilClosed{ReadCloser: answer.Body, ctx: ctx}
	}
	return answer, nil
}

// repeatOnce makes t repeat a request once at most. By itself http.Transport repeats a GET that died on an idle connection
// for as long as it finds another: an upstream that resets them all would get one request as often as it has connections.
func repeatOnce(t *http.Transport) *http.Transport {
	renew := t.Proxy
	// The one thing that is asked before each attempt. There is no proxy.
	t.Proxy = func(r *http.Request) (*url.URL, error) {
		ex := exchangeOf(r)
		ex.attempts++
		switch {
		case ex.attempts > 2:
			return nil, errRepeated
		case ex.attempts == 2:
			t.CloseIdleConnections() // the others are no better: the repetition goes over a new one
		}
		return renew(r)
	}
	return t
}

// cancelledBody ends the call's context with the body.
type cancelledBody struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Read implements io.Reader.
func (b *cancelledBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		err = bridge.Plain(err) // ReverseProxy logs it
	}
	return n, err
}

// untilClosed is a body that ends with its connection. When a call is given up over TLS, the upstream's reply to our own end
// of the connection looks like that.
type untilClosed struct {
	io.ReadCloser
	ctx context.Context
}

// Read implements io.Reader.
func (b *untilClosed) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) && b.ctx.Err() != nil {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close implements io.Closer.
func (b *cancelledBody) Close() error {
	defer b.cancel()
	return b.ReadCloser.Close()
}

// bufferPool lends ReverseProxy its copy buffers; allocating them was its largest single cost.
type bufferPool struct{ pool sync.Pool }

func newBufferPool() *bufferPool {
	return &bufferPool{sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}}
}

// Get implements httputil.BufferPool.
func (p *bufferPool) Get() []byte { return *p.pool.Get().(*[]byte) }

// Put implements httputil.BufferPool.
func (p *bufferPool) Put(b []byte) { p.pool.Put(&b) }
