package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// call is a request under way. It holds a slot until it ends, and then reports its outcome to the circuit, the metrics and the
// span. It is also the body of its answer.
type call struct {
	upstream *Upstream
	ctx      context.Context // the caller's
	began    time.Time
	ticket   uint32        // from circuit.begin
	span     trace.Span    // nil: none
	status   int           // of the answer; 0: no answer yet
	body     io.ReadCloser // the transport's
	err      error         // the error of a failed Read
	ended    atomic.Bool
}

// answered returns the answer with the call as its body. If the answer has no body, the call ends here.
func (c *call) answered(answer *http.Response) *http.Response {
	c.status = answer.StatusCode
	if answer.Body == http.NoBody {
		c.finish(nil)
		return answer
	}
	if len(answer.TransferEncoding) > 0 {
		// When the body ends, transports write its trailers into their own Response. The caller gets a copy, so no trailer is
		// relayed.
		cleared := *answer
		cleared.Trailer = nil
		answer = &cleared
	}
	c.body, answer.Body = answer.Body, c
	return answer
}

// Read implements io.Reader.
func (c *call) Read(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	left := c.ctx.Err()
	n, err := c.body.Read(p)
	if err == nil {
		return n, nil
	}
	if err == io.EOF {
		c.finish(nil)
		return n, io.EOF
	}
	if c.ended.Load() {
		return n, errBodyClosed
	}
	c.err = c.cause(err)
	if left != nil {
		c.end(nothing, "client", c.err) // the context ended while the reader was busy elsewhere
	}
	c.finish(c.err)
	return n, c.err
}

// Close implements io.Closer. It may be called during a Read, which then ends.
func (c *call) Close() error {
	if c.ctx.Err() != nil {
		c.end(nothing, "client", c.ctx.Err())
	}
	c.finish(nil)
	return c.body.Close()
}

// failed ends a call that got no answer, and returns the error for the caller. It checks the request's body first: when a body
// fails, net/http's server also ends the request's context.
func (c *call) failed(err error, body *requestBody) error {
	if body != nil {
		if cause := body.failure(errors.Is(err, errLate)); cause != nil {
			err = fmt.Errorf("%s: %w: %w", c.upstream.name, ErrBody, cause)
			c.finish(err)
			return err
		}
	}
	err = c.cause(err)
	c.finish(err)
	return err
}

// cause turns a transport's error into the error for the caller.
func (c *call) cause(err error) error {
	switch {
	case c.ctx.Err() != nil:
		return c.ctx.Err()
	case errors.Is(err, context.DeadlineExceeded): // package net has its own timer, which may fire before the context's
		return context.DeadlineExceeded
	case errors.Is(err, errLate):
		return fmt.Errorf("%s: %w", c.upstream.name, ErrTimeout)
	}
	return fmt.Errorf("%s: %w: %w", c.upstream.name, ErrFailed, Plain(err))
}

// finish ends the call. err decides the outcome.
func (c *call) finish(err error) { c.finishAt(err, time.Now()) }

func (c *call) finishAt(err error, now time.Time) {
	switch {
	case err == nil && c.status >= http.StatusInternalServerError:
		c.endAt(good, "error", nil, now) // an answer like any other: a client can provoke it
	case err == nil:
		c.endAt(good, "ok", nil, now)
	case errors.Is(err, ErrBody), errors.Is(err, context.Canceled):
		c.endAt(nothing, "client", err, now)
	case errors.Is(err, ErrTimeout), errors.Is(err, context.DeadlineExceeded):
		c.endAt(bad, "timeout", err, now)
	case c.status != 0:
		c.endAt(bad, "broken", err, now)
	default:
		c.endAt(bad, "failed", err, now)
	}
}

func (c *call) end(o outcome, result string, err error) { c.endAt(o, result, err, time.Now()) }

// endAt ends the call. Only the first of several calls counts.
func (c *call) endAt(o outcome, result string, err error, now time.Time) {
	if c.ended.Swap(true) {
		return
	}
	u := c.upstream
	u.circuit.end(c.ticket, o, now)
	u.metrics.ended(result)
	if c.span != nil {
		endSpan(c.span, c.status, err)
	}
	u.slots.Release(1)
}
