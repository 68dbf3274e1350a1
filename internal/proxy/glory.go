package proxy

// Member requests go to Glory, which decides about them itself.

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
)

const (
	// maxEntranceBody is the longest body of a login or join, in bytes. An account's fields are far shorter.
	maxEntranceBody = 64 << 10
	// maxWaitingBodies is the most bytes that all bodies of logins and joins in flight may take together.
	maxWaitingBodies = 16 << 20
)

// denier checks the deny list. *bridge.Bridge is one.
type denier interface {
	CheckBearer(ctx context.Context, authorization []string) error
}

// gloryHandler forwards requests to Glory. It applies the rate limits of login and join, and the deny list.
type gloryHandler struct {
	limiters *limiters
	denier   denier
	bodies   atomic.Int64 // bytes of login and join bodies in memory
	base     *url.URL
	reverse  *httputil.ReverseProxy
}

// newGloryHandler returns a handler that passes requests on as they came, except for some headers. It drops hop-by-hop headers and any
// credential for Interwater, and sets those of call.identity.
func newGloryHandler(o Options, limiters *limiters) *gloryHandler {
	h := &gloryHandler{limiters: limiters, denier: o.Bridge, base: o.Glory.Base()}
	h.reverse = &httputil.ReverseProxy{
		Rewrite:        h.rewrite,
		ModifyResponse: modifyGloryAnswer,
		Transport:      o.Glory,
		BufferPool:     newBufferPool(),
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, err error) { w.(*writer).fail(err) },
		ErrorLog:       slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return h
}

// serve answers a request on a Glory route.
func (h *gloryHandler) serve(w *writer, r *http.Request) {
	c := &w.call
	if kind := entranceOf(r.Method, c.target.path); kind != noEntrance {
		held, err := h.enter(r, c, kind)
		defer h.bodies.Add(-held)
		if err != nil {
			w.fail(err)
			return
		}
	}
	if c.route == apiPrefix {
		if err := h.denier.CheckBearer(r.Context(), r.Header["Authorization"]); err != nil {
			w.fail(err)
			return
		}
	}
	c.upstream = upstreamGlory
	h.reverse.ServeHTTP(w, withCall(r, c))
}

// enter applies the limits of a login or join. It reads the body whole before the request takes an upstream connection, so a slow
// client occupies only its own. The caller subtracts held from h.bodies when the request ends, after an error, too.
func (h *gloryHandler) enter(r *http.Request, c *call, kind entrance) (held int64, err error) {
	if err := h.limiters.login.Take(r.Context(), addressKey(c.client)); err != nil {
		return 0, err
	}
	body, held, err := h.hold(r.Body)
	if err != nil {
		return held, err
	}
	if kind == loginEntrance {
		if err := h.limiters.account.Take(r.Context(), accountKey(body)); err != nil {
			return held, err
		}
	}
	r.Body, r.ContentLength, r.TransferEncoding = newWholeBody(body), int64(len(body)), nil
	return held, nil
}

// hold reads a body of at most maxEntranceBody bytes. All bodies together take at most maxWaitingBodies. held is as for enter.
func (h *gloryHandler) hold(from io.Reader) (body []byte, held int64, err error) {
	const step = 4 << 10
	for {
		held += step
		if h.bodies.Add(step) > maxWaitingBodies {
			return nil, held, errOverloaded
		}
		read, err := io.ReadAll(io.LimitReader(from, step))
		body = append(body, read...)
		switch {
		case err != nil:
			return nil, held, err
		case len(body) > maxEntranceBody:
			return nil, held, errBodySize
		case len(read) < step:
			return body, held, nil
		}
	}
}

// rewrite turns the client's request into the one for Glory.
func (h *gloryHandler) rewrite(r *httputil.ProxyRequest) {
	c := callOf(r.In.Context())
	*r.Out.URL = c.target.at(h.base)
	r.Out.Host = ""
	r.Out.Trailer = nil
	dropHopByHop(r.Out.Header)
	dropCredentials(r.Out.Header)
	identify(r.Out.Header, c)
}

// modifyGloryAnswer reads a short answer whole, so a broken one becomes a 502. It marks answers to one member as private.
func modifyGloryAnswer(answer *http.Response) error {
	c := callOf(answer.Request.Context())
	keepPrivate(answer, c)
	if answer.ContentLength > 0 && answer.ContentLength <= smallAnswer && answer.Request.Method != http.MethodHead {
		return readWhole(answer)
	}
	answer.Body = &notedBody{answer.Body, c}
	return nil
}

// readWhole reads an answer of known length to its end.
func readWhole(answer *http.Response) error {
	text := make([]byte, answer.ContentLength)
	_, err := io.ReadFull(answer.Body, text)
	_ = answer.Body.Close()
	if err != nil {
		return brokenOff(err)
	}
	answer.Body = newWholeBody(text)
	return nil
}

// keepPrivate marks Glory's answer to one member as private, if Glory hasn't set Cache-Control. Some shared caches (nginx is one) reuse an
// answer for others though its request had an Authorization (RFC 9111 §3.5).
func keepPrivate(answer *http.Response, c *call) {
	personal := c.route == apiPrefix || len(answer.Request.Header["Authorization"]) > 0
	if personal && len(answer.Header["Cache-Control"]) == 0 {
		answer.Header["Cache-Control"] = []string{"private"}
	}
}
