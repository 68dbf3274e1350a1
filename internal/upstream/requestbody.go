package upstream

import (
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// requestBody is a request's body that records why it failed and how long Reads waited for it. It tells the caller's fault from
// the upstream's. Transports may still read and close it after RoundTrip has returned.
type requestBody struct {
	io.ReadCloser
	begun  time.Time    // start of waited and since
	waited atomic.Int64 // nanoseconds spent in Reads that have ended
	since  atomic.Int64 // start of the current Read, in nanoseconds after begun; 0: none
	closed atomic.Bool
	err    atomic.Pointer[error] // a Read's error before Close, other than io.EOF
}

// newRequestBody wraps body.
func newRequestBody(body io.ReadCloser) *requestBody {
	return &requestBody{ReadCloser: body, begun: time.Now()}
}

// Read implements io.Reader.
func (b *requestBody) Read(p []byte) (int, error) {
	from := max(1, time.Since(b.begun))
	b.since.Store(int64(from))
	n, err := b.ReadCloser.Read(p)
	b.since.Store(0)
	b.waited.Add(int64(time.Since(b.begun) - from))
	if err != nil && !errors.Is(err, io.EOF) && !b.closed.Load() {
		b.err.Store(&err)
	}
	return n, err
}

// Close implements io.Closer. Transports close the body when a call has failed, so errors of later Reads don't count.
func (b *requestBody) Close() error {
	b.closed.Store(true)
	return b.ReadCloser.Close()
}

// failure returns why the body made the call fail, or nil. A late call is the body's fault if most of the time was spent waiting
// for it.
func (b *requestBody) failure(late bool) error {
	if err := b.err.Load(); err != nil {
		return *err
	}
	now := time.Since(b.begun)
	waited := time.Duration(b.waited.Load())
	if since := b.since.Load(); since != 0 {
		waited += now - time.Duration(since)
	}
	if late && 2*waited > now {
		return errSlowBody
	}
	return nil
}
