package proxy

// This file keeps a request within bounds before it is looked at, and the process alive when a handler panics.

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"
)

// maxHeaderLines is Envoy's default: many tiny lines cost more memory than their bytes tell.
const maxHeaderLines = 100

// limits refuses what is too large or too much at once.
func limits(o Options, next http.Handler) http.Handler {
	var inFlight atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer inFlight.Add(-1)
		if inFlight.Add(1) > int64(o.MaxInFlight) {
			fail(w, r, errOverloaded)
			return
		}
		if lines, bytes := headerSize(r); lines > maxHeaderLines || bytes > o.MaxHeaderBytes {
			fail(w, r, errHeaderSize)
			return
		}
		if r.ContentLength > o.MaxBodyBytes {
			fail(w, r, errBodySize)
			return
		}
		if r.Body != nil && r.Body != http.NoBody {
			// The limiter is given the server's own writer: it tells that one to close the connection.
			limited := http.MaxBytesReader(w.(*response).ResponseWriter, r.Body, o.MaxBodyBytes)
			r.Body = &clientBody{ReadCloser: limited, exchange: exchangeOf(r)}
		}
		next.ServeHTTP(w, r)
	})
}

// headerSize counts lines and bytes as they were on the wire, about; Host is one of them.
func headerSize(r *http.Request) (lines, bytes int) {
	lines, bytes = 1, len("Host: \r\n")+len(r.Host)
	for name, values := range r.Header {
		for _, value := range values {
			lines++
			bytes += len(name) + len(": \r\n") + len(value)
		}
	}
	return lines, bytes
}

// clientBody remembers that the client's body could not be read, so that the upstream isn't blamed.
type clientBody struct {
	io.ReadCloser
	exchange *exchange
}

// Read implements io.Reader.
func (b *clientBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		cause := errBodySize
		if _, tooLarge := errors.AsType[*http.MaxBytesError](err); !tooLarge {
			cause = fmt.Errorf("%w: %w", errBody, err)
		}
		b.exchange.bodyErr.Store(&cause)
	}
	return n, err
}

// recovered turns a panic into a 500, or breaks the answer off where it has begun. It runs inside observe, so that the
// access event tells of it.
func recovered(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler: // a panic value, compared as net/http does
				panic(p)
			default:
				log.Error("panic", "request_id", exchangeOf(r).requestID, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
				if w.(*response).status != 0 {
					panic(http.ErrAbortHandler)
				}
				fail(w, r, errPanic)
			}
		}()
		next.ServeHTTP(w, r)
	})
}
