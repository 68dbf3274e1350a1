package upstream

// This file tells the caller's fault from the upstream's where a request has a body.

import (
	"errors"
	"io"
	"sync/atomic"
	"time"
)

// requestBody is a request's body that knows why it failed and how long it was waited for. Transports may still read and
// close it when RoundTrip has returned.
type requestBody struct {
	io.ReadCloser
	begun  time.Time    // of all times
	waited atomic.Int64 // nanoseconds, of the Reads that have ended
	since  atomic.Int64 // when the Read began that is under way, in nanoseconds after begun; 0: none is
	closed atomic.Bool
	err    atomic.Pointer[error] // what a Read failed with before Close; io.EOF is no failure
}

// newRequestBody watches body.
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

// Close implements io.Closer. Transports close the body of a call that has failed; what a Read says then is no news.
func (b *requestBody) Close() error {
	b.closed.Store(true)
	return b.ReadCloser.Close()
}

// failure returns why the body has failed the call, or nil. A call that is late is the body's fault when most of the
// time went by waiting for the body.
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
