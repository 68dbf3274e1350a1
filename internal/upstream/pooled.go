package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"
)

// maxConnectionAge is about how long a connection is used. After that time the upstream's name may have other addresses, and a
// connection that is never idle would otherwise be kept as long as the old address answers.
const maxConnectionAge = 30 * time.Second

// newHTTPTransport returns the settings of both ways. They ignore the environment's proxies, because a credential may go to its
// own host only. They neither request nor undo compression, and use HTTP/1.1.
func newHTTPTransport() *http.Transport {
	var http1 http.Protocols
	http1.SetHTTP1(true)
	return &http.Transport{
		DialContext:            newDialer(resolve).dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    5 * time.Second,
		Protocols:              &http1,
		DisableCompression:     true,
		MaxIdleConns:           0, // no limit besides the one per host: there is only one host
		MaxIdleConnsPerHost:    1024,
		IdleConnTimeout:        60 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// pooled sends requests through net/http. It adds a timeout that doesn't count a slow reader's time, a limit on how often a
// request is sent, and a check of the idle connection before a request that must not be sent twice.
type pooled struct{ http *http.Transport }

// newPooled returns a pooled over h, which it changes. Connections are used for about age.
func newPooled(h *http.Transport, age time.Duration) *pooled {
	connect := h.DialContext
	h.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := connect(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return newSocket(conn), nil
	}
	renew := renewed(h, age)
	// net/http calls Proxy before each attempt to send a request, and nothing else. There is no proxy.
	h.Proxy = func(r *http.Request) (*url.URL, error) {
		renew()
		return nil, r.Context().Value(attemptsKey{}).(*attempts).another(h)
	}
	return &pooled{http: h}
}

// renewed returns a function that closes the idle connections once per age. A busy connection is closed by a later call.
func renewed(h *http.Transport, age time.Duration) func() {
	began := time.Now()
	var last atomic.Int64
	return func() {
		now, before := int64(time.Since(began)), last.Load()
		if now-before >= int64(age) && last.CompareAndSwap(before, now) {
			h.CloseIdleConnections()
		}
	}
}

type attemptsKey struct{}

// attempts counts how often net/http has begun to send a request. Left alone, net/http repeats a request that died on an idle
// connection as long as it finds another idle one. If the client sends Idempotency-Key, it even repeats requests that aren't safe
// to repeat.
type attempts struct {
	repeatable bool // GET or HEAD
	n          int
	stale      bool // the idle connection was dead: nothing was sent
}

// another begins an attempt, or returns an error if there may be no more.
func (a *attempts) another(h *http.Transport) error {
	a.n++
	switch {
	case a.n == 1:
		return nil
	case a.n > 2 || !a.repeatable:
		return errRepeated
	}
	h.CloseIdleConnections() // the others are no better: repeat over a new one
	return nil
}

// send sends a request and returns the answer. The error is errLate if timeout is over; so is that of a Read of the answer's
// body. If the request's context ends, so does all of it.
func (t *pooled) send(r *http.Request, timeout time.Duration) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(r.Context())
	began := time.Now()
	timer := time.AfterFunc(timeout, func() { cancel(errLate) })
	answer, err := t.attempt(ctx, r)
	timer.Stop()
	if err != nil {
		if r.Context().Err() == nil && context.Cause(ctx) != nil {
			err = context.Cause(ctx)
		}
		cancel(nil)
		return nil, err
	}
	if answer.Body == http.NoBody {
		cancel(nil)
		return answer, nil
	}
	answer.Body = &pooledBody{
		ReadCloser: answer.Body, ctx: ctx, cancel: cancel, timer: timer, left: timeout - time.Since(began),
		toTheEnd: answer.ContentLength < 0 && len(answer.TransferEncoding) == 0,
	}
	return answer, nil
}

// attempt sends the request again until it has gone over a live connection.
func (t *pooled) attempt(ctx context.Context, r *http.Request) (*http.Response, error) {
	bodiless := r.Body == nil || r.Body == http.NoBody
	if bodiless && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		a := &attempts{repeatable: true}
		return t.http.RoundTrip(r.WithContext(context.WithValue(ctx, attemptsKey{}, a)))
	}
	if r.GetBody != nil && !bodiless {
		defer func() { _ = r.Body.Close() }()
	}
	for {
		a := &attempts{}
		watched := httptrace.WithClientTrace(context.WithValue(ctx, attemptsKey{}, a), &httptrace.ClientTrace{GotConn: a.look})
		sent := r.WithContext(watched)
		if err := a.giveBody(sent, bodiless); err != nil {
			return nil, err
		}
		answer, err := t.http.RoundTrip(sent)
		if err == nil || !a.stale || ctx.Err() != nil {
			return answer, err
		}
	}
}

// giveBody sets a body that can be given again as long as nothing of it was sent. A body in memory isn't wrapped: net/http then
// writes it together with the header.
func (a *attempts) giveBody(r *http.Request, bodiless bool) (err error) {
	switch {
	case bodiless:
	case r.GetBody != nil:
		if r.Body, err = r.GetBody(); err != nil {
			return fmt.Errorf("request body: %w", err)
		}
	default:
		r.Body = &unsentBody{ReadCloser: r.Body, attempts: a}
	}
	r.GetBody = nil
	return nil
}

// look closes a reused connection that is dead before anything is sent over it.
func (a *attempts) look(info httptrace.GotConnInfo) {
	conn := info.Conn
	if encrypted, ok := conn.(*tls.Conn); ok {
		conn = encrypted.NetConn()
	}
	if info.Reused && !conn.(*socket).silent() {
		a.stale = true
		_ = conn.Close()
	}
}

// unsentBody is a request's body that stays unread and open if the connection is dead.
type unsentBody struct {
	io.ReadCloser
	attempts *attempts
}

// Read implements io.Reader.
func (b *unsentBody) Read(p []byte) (int, error) {
	if b.attempts.stale {
		return 0, errStale
	}
	return b.ReadCloser.Read(p)
}

// Close implements io.Closer.
func (b *unsentBody) Close() error {
	if b.attempts.stale {
		return nil
	}
	return b.ReadCloser.Close()
}

// pooledBody is an answer's body. The timeout runs only during Read.
type pooledBody struct {
	io.ReadCloser
	ctx      context.Context
	cancel   context.CancelCauseFunc
	timer    *time.Timer // ends ctx
	left     time.Duration
	toTheEnd bool  // it ends when its connection ends
	err      error // what ended the body; nil: not ended
}

// Read implements io.Reader.
func (b *pooledBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	began := time.Now()
	b.timer.Reset(b.left)
	n, err := b.ReadCloser.Read(p)
	b.timer.Stop()
	b.left -= time.Since(began)
	if err == nil {
		return n, nil
	}
	// When a call over TLS is canceled, the upstream replies to our close alert. That looks like the body's end.
	whole := errors.Is(err, io.EOF) && !b.toTheEnd
	if cause := context.Cause(b.ctx); cause != nil && !whole {
		err = cause
	}
	b.err = err
	b.cancel(nil)
	return n, err
}

// Close implements io.Closer.
func (b *pooledBody) Close() error {
	err := b.ReadCloser.Close()
	b.timer.Stop()
	b.cancel(nil)
	return err
}
