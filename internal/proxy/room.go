package proxy

// This file is the way of a room request: who asks, what admits them, and then on to Interwater.

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httputil"

	"roomgate/internal/bridge"
)

// authorizer is who decides about members. *bridge.Bridge is one.
type authorizer interface {
	Authenticate(ctx context.Context, authorization []string) (bridge.Member, error)
	Authorize(ctx context.Context, member bridge.Member) (bridge.Grant, error)
}

// roomHandler lets authorised members through.
type roomHandler struct {
	authorizer authorizer
	next       http.Handler
}

// ServeHTTP implements http.Handler.
func (h *roomHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ex := exchangeOf(r)
	if (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.ContentLength != 0 {
		fail(w, r, errRoomBody)
		return
	}
	member, err := h.authorizer.Authenticate(r.Context(), r.Header["Authorization"])
	if err != nil {
		fail(w, r, err)
		return
	}
	ex.subject = member.Subject
	if ex.grant, err = h.authorizer.Authorize(r.Context(), member); err != nil {
		fail(w, r, err)
		return
	}
	h.next.ServeHTTP(w, r)
}

// newRoomProxy forwards to Interwater with the declared headers only, both ways.
func newRoomProxy(o Options, rt http.RoundTripper) http.Handler {
	request, response := roomRequestHeaders(), roomResponseHeaders()
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			ex := exchangeOf(r.In)
			r.Out.URL = ex.target.at(o.Interwater)
			r.Out.Host = ""
			r.Out.Trailer = nil
			r.Out.Header = pick(r.Out.Header, request)
			identify(r.Out.Header, ex)
		},
		ModifyResponse: func(r *http.Response) error {
			if r.StatusCode >= 300 && r.StatusCode < 400 && r.StatusCode != http.StatusNotModified {
				return errRedirect
			}
			r.Header = pick(r.Header, response)
			r.Header.Set("Cache-Control", "private, no-store")
			return nil
		},
		Transport:    rt,
		BufferPool:   newBufferPool(),
		ErrorHandler: fail,
		ErrorLog:     slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
}
