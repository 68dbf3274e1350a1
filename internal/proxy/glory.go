package proxy

// This file forwards member requests to Glory, which decides by itself.

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strings"
)

// gloryHandler holds back who tries too often, and everything else passes.
type gloryHandler struct {
	limiters *limiters
	next     http.Handler
}

// ServeHTTP implements http.Handler.
func (h *gloryHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ex := exchangeOf(r)
	kind := entranceOf(r.Method, ex.target.path)
	if kind == noEntrance {
		h.next.ServeHTTP(w, r)
		return
	}
	if err := h.limiters.login.Take(r.Context(), addressKey(ex.client)); err != nil {
		fail(w, r, err)
		return
	}
	// Read whole before an upstream connection is taken: a slow sender holds nothing but its own.
	body, err := io.ReadAll(r.Body)
	if err != nil {
		fail(w, r, err)
		return
	}
	if kind == loginEntrance {
		if err := h.limiters.account.Take(r.Context(), accountKey(body)); err != nil {
			fail(w, r, err)
			return
		}
	}
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	// With it http.Transport can send again what a closed idle connection didn't take.
	r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	h.next.ServeHTTP(w, r)
}

// newGloryProxy passes requests on as they came, but for what belongs to this connection or to the other upstream.
func newGloryProxy(o Options, rt http.RoundTripper) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			ex := exchangeOf(r.In)
			ex.upstream = upstreamGlory
			*r.Out.URL = ex.target.at(o.Glory)
			r.Out.Host = ""
			r.Out.Trailer = nil
			dropHopByHop(r.Out.Header)
			dropCredentials(r.Out.Header)
			identify(r.Out.Header, ex)
		},
		ModifyResponse: func(answer *http.Response) error {
			keepPrivate(answer)
			_, err := completeSmall(answer)
			return err
		},
		Transport:    rt,
		BufferPool:   newBufferPool(),
		ErrorHandler: fail,
		ErrorLog:     slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
}

// keepPrivate marks what Glory answers to one member, where Glory says nothing about it: there are shared caches (nginx for
// one) that give an answer to whoever asks next, though the request had an Authorization (RFC 9111 §3.5).
func keepPrivate(answer *http.Response) {
	personal := strings.HasPrefix(exchangeOf(answer.Request).target.path, "/api/") || len(answer.Request.Header["Authorization"]) > 0
	if personal && len(answer.Header["Cache-Control"]) == 0 {
		answer.Header["Cache-Control"] = []string{"private"}
	}
}
