package upstream

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// clientError is a body's own error, like that of net/http's server for a body that is too large.
type clientError struct{ limit int }

// Error implements error.
func (*clientError) Error() string { return "body too large" }

// parts is a body that returns its parts and then fails with err, or ends if err is nil.
type parts struct {
	list  []string
	pause time.Duration // before each
	err   error

	closed atomic.Bool // reads fail then, as with net/http's server
}

func (p *parts) Read(b []byte) (int, error) {
	if p.pause > 0 {
		<-time.After(p.pause)
	}
	switch {
	case p.closed.Load():
		return 0, http.ErrBodyReadAfterClose
	case len(p.list) == 0 && p.err == nil:
		return 0, io.EOF
	case len(p.list) == 0:
		return 0, p.err
	}
	n := copy(b, p.list[0])
	p.list = p.list[1:]
	return n, nil
}

func (p *parts) Close() error {
	p.closed.Store(true)
	return nil
}

// upload posts a body with a declared length of 100 bytes. Fewer may come.
func upload(t *testing.T, rt *tested, u *rawUpstream, body io.ReadCloser) error {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "POST", u.base.String()+"/v1/rooms", body)
	if err != nil {
		t.Fatal(err)
	}
	r.ContentLength = 100
	answer, err := rt.RoundTrip(r)
	if err == nil {
		answer.Body.Close()
	}
	return err
}

// readAll reads each request's body, and answers.
func readAll(p *peer) {
	for r := p.request(); r != nil; r = p.request() {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		p.ok("good")
	}
}

func TestBodyThatFailsIsItsSendersFault(t *testing.T) {
	both(t, func(t *testing.T, k kind) {
		u := listen(t, readAll)
		rt, results := k.counted(t, u, Options{Slots: 1})
		for range circuitLeast + 5 {
			err := upload(t, rt, u, &parts{list: []string{"some"}, err: &clientError{7}})
			cause, ok := errors.AsType[*clientError](err)
			if !errors.Is(err, ErrBody) || !ok || cause.limit != 7 || errors.Is(err, ErrFailed) {
				t.Fatal(err)
			}
		}
		want(t, rt.Circuit()+" "+results(), fmt.Sprintf("closed client=%d", circuitLeast+5))
		rt.wantFree(t, 1)
	})
}

func TestBodyThatComesTooSlowlyIsItsSendersFault(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, k kind) {
		u := listen(t, readAll)
		rt, results := k.counted(t, u, Options{Timeout: 200 * time.Millisecond})
		err := upload(t, rt, u, &parts{list: slices.Repeat([]string{"a"}, 3), pause: 500 * time.Millisecond})
		if !errors.Is(err, ErrBody) || errors.Is(err, ErrTimeout) {
			t.Error(err)
		}
		want(t, results(), "client=1")
	})
}

// Transports close a request's body when the call has failed. Errors after that are not the body's fault.
func TestUpstreamThatFailsIsNotTheBodysFault(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, k kind) {
		const patience = 300 * time.Millisecond
		hangs := listen(t, func(p *peer) {
			p.request()
			p.ended()
		})
		rt := k.of(t, hangs, Options{Timeout: patience})
		if _, err := post(t, rt, hangs, "POST", "hello"); !errors.Is(err, ErrTimeout) || errors.Is(err, ErrBody) {
			t.Errorf("a silent upstream: %v", err)
		}
		breaks := listen(t, func(p *peer) { p.request() })
		rt = k.of(t, breaks, Options{})
		for range 20 {
			err := upload(t, rt, breaks, &parts{list: slices.Repeat([]string{"a"}, 100), pause: time.Millisecond})
			if !errors.Is(err, ErrFailed) || errors.Is(err, ErrBody) {
				t.Errorf("an upstream that breaks off: %v", err)
			}
		}
	})
}
