package proxy

// This file is the way of a room request: who asks, what admits them, and then on to Interwater.

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httputil"
	"strconv"
	"time"

	"roomgate/internal/bridge"
	"roomgate/internal/fleet"
)

// authorizer is who decides about members. *bridge.Bridge is one.
type authorizer interface {
	Authenticate(ctx context.Context, authorization []string) (bridge.Member, error)
	Authorize(ctx context.Context, member bridge.Member, request bridge.Request) (bridge.Grant, error)
}

// roomHandler lets authorised members through.
type roomHandler struct {
	authorizer authorizer
	limit      *fleet.LocalLimiter
	log        *slog.Logger
	tracing    tracing
	next       http.Handler
}

// ServeHTTP implements http.Handler.
func (h *roomHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ex := exchangeOf(r)
	if (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.ContentLength != 0 {
		fail(w, r, errRoomBody)
		return
	}
	began := time.Now()
	ctx, end := h.tracing.phase(r.Context(), "authorize")
	err := h.admit(ctx, r, ex)
	ex.took.authenticate = time.Since(began)
	end(err)
	if err != nil {
		fail(w, r, err)
		return
	}
	if ex.grant.Role == bridge.RoleOwner {
		audit(h.log, "owner_use", "", r, ex)
	}
	h.next.ServeHTTP(w, r)
}

// admit finds out who asks and which license serves them.
func (h *roomHandler) admit(ctx context.Context, r *http.Request, ex *exchange) error {
	member, err := h.authorizer.Authenticate(ctx, r.Header["Authorization"])
	if err != nil {
		return err
	}
	ex.subject = member.Subject
	if err := h.limit.Take(member.Subject); err != nil {
		return err
	}
	ex.grant, err = h.authorizer.Authorize(ctx, member, bridge.Request{Method: r.Method, Path: ex.target.path, Room: ex.room})
	return err
}

// redacted reports whether fields are taken out of the request's answer.
func redacted(o Options, ex *exchange) bool {
	return len(o.RedactFields) > 0 && ex.grant.Role != bridge.RoleOwner
}

// maxRoomAnswer is the longest answer of a room route that is passed on.
const maxRoomAnswer = 8 << 20

// smallAnswer is up to what length an answer is read whole before any of it is passed on.
const smallAnswer = 64 << 10

// completeSmall reads a small answer to its end, so that an upstream that breaks off in it is a 502 and not a broken
// connection, and returns its text. Larger ones are left alone; then there is none.
func completeSmall(answer *http.Response) ([]byte, error) {
	if answer.ContentLength <= 0 || answer.ContentLength > smallAnswer || answer.Request.Method == http.MethodHead {
		return nil, nil
	}
	body := answer.Body
	defer func() { _ = body.Close() }()
	text := make([]byte, answer.ContentLength)
	if _, err := io.ReadFull(body, text); err != nil {
		return nil, fmt.Errorf("%w: answer broken off: %w", bridge.ErrUpstream, err)
	}
	answer.Body = newWholeBody(text)
	return text, nil
}

// wholeBody is a body that has been read to its end.
type wholeBody struct {
	bytes.Reader
	text []byte // not to be changed: several may have it
}

func newWholeBody(text []byte) *wholeBody {
	b := &wholeBody{text: text}
	b.Reset(text)
	return b
}

// Close implements io.Closer.
func (*wholeBody) Close() error { return nil }

// boundedBody fails where an answer goes on beyond its bound: the client's then breaks off, and never looks complete.
type boundedBody struct {
	io.ReadCloser
	left int64
}

// Read implements io.Reader.
func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, errAnswerSize
	}
	return n, err
}

// newRoomProxy forwards to Interwater with the declared headers only, both ways.
func newRoomProxy(o Options, calls *coalescer) http.Handler {
	request, modify := roomRequestHeaders(), modifyRoomAnswer(o) //nolint:bodyclose // a function, no answer
	reverse := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			ex := exchangeOf(r.In)
			r.Out.Header = ex.sent
			*r.Out.URL = ex.target.at(o.Interwater)
			r.Out.Host = ""
			r.Out.Trailer = nil
			identify(r.Out.Header, ex)
		},
		ModifyResponse: modify,
		Transport:      calls,
		BufferPool:     newBufferPool(),
		ErrorHandler:   fail,
		ErrorLog:       slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ex := exchangeOf(r)
		r.Header = pick(r.Header, request)
		if redacted(o, ex) {
			r.Header.Del("Accept-Encoding") // what is compressed can't be read
		}
		answer, err := calls.enter(r, ex) //nolint:bodyclose // relay does
		if answer != nil || err != nil {
			relay(w, r, answer, err, modify)
			return
		}
		if ex.flight != nil {
			defer calls.land(ex.flight)
		}
		ex.sent, r.Header = r.Header, nil // ReverseProxy would copy them first
		reverse.ServeHTTP(w, r)
	})
}

// relay answers with another request's answer.
func relay(w http.ResponseWriter, r *http.Request, answer *http.Response, err error, modify func(*http.Response) error) {
	if err == nil {
		err = modify(answer)
	}
	if err != nil {
		fail(w, r, err)
		return
	}
	defer func() { _ = answer.Body.Close() }()
	maps.Copy(w.Header(), answer.Header)
	if answer.ContentLength >= 0 && answer.StatusCode != http.StatusNoContent && answer.StatusCode != http.StatusNotModified {
		w.Header().Set("Content-Length", strconv.FormatInt(answer.ContentLength, 10))
	}
	w.WriteHeader(answer.StatusCode)
	if _, err := io.Copy(w, answer.Body); err != nil {
		panic(http.ErrAbortHandler) // as ReverseProxy does: a cut answer must not look whole
	}
}

// modifyRoomAnswer returns what every answer of Interwater goes through.
func modifyRoomAnswer(o Options) func(*http.Response) error {
	response := roomResponseHeaders()
	return func(r *http.Response) error {
		if r.StatusCode >= 300 && r.StatusCode < 400 && r.StatusCode != http.StatusNotModified {
			return errRedirect
		}
		if r.ContentLength > maxRoomAnswer {
			return errAnswerSize
		}
		if _, whole := r.Body.(*wholeBody); !whole {
			r.Body = &boundedBody{ReadCloser: r.Body, left: maxRoomAnswer}
		}
		r.Header = pick(r.Header, response) // a new one: the other may be shared
		r.Header.Set("Cache-Control", "private, no-store")
		if redacted(o, exchangeOf(r.Request)) {
			return redact(r, o.RedactFields)
		}
		return nil
	}
}
