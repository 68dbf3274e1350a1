package proxy

// A room request that comes through net/http: admit, then ReverseProxy with fetch as its transport.

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"

	"roomgate/internal/bridge"
	"roomgate/internal/fleet"
)

// headerOfNothing is for requests whose header nobody reads. Its User-Agent keeps ReverseProxy from adding one.
var headerOfNothing = http.Header{"User-Agent": {""}}

// roomHandler answers room requests of authorised members.
type roomHandler struct {
	admission admission
	redacts   bool // ROOM_REDACT_FIELDS isn't empty
	log       *slog.Logger
	tracing   tracing
	fetcher   *fetcher
	reverse   *httputil.ReverseProxy
}

func newRoomHandler(o Options, limit *fleet.LocalLimiter, t tracing, m *metrics) *roomHandler {
	f := newFetcher(o, t, m)
	return &roomHandler{
		admission: admission{o.Bridge, limit}, redacts: len(o.RedactFields) > 0, log: o.Log, tracing: t, fetcher: f,
		reverse: &httputil.ReverseProxy{
			// fetch writes the upstream request from c.asked and doesn't use this header. See headerOfNothing.
			Rewrite:      func(r *httputil.ProxyRequest) { r.Out.Header = headerOfNothing },
			Transport:    f,
			BufferPool:   newBufferPool(),
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) { w.(*writer).fail(err) },
			ErrorLog:     slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		},
	}
}

// serve answers a room request.
func (h *roomHandler) serve(w *writer, r *http.Request) {
	c := &w.call
	if err := withoutBody(r); err != nil {
		w.fail(err)
		return
	}
	stop := c.timer(&c.took.authenticate)
	ctx, end := h.tracing.phase(r.Context(), "authorize")
	err := h.admission.admit(ctx, c, r.Header["Authorization"])
	stop()
	end(err)
	if err != nil {
		w.fail(err)
		return
	}
	if c.grant.Role == bridge.RoleOwner {
		audit(h.log, "owner_use", "", c)
	}
	if h.redacts && c.grant.Role != bridge.RoleOwner {
		r.Header.Del("Accept-Encoding") // a compressed answer can't be redacted
	}
	values := valuesOf(r.Header)
	c.ask(&values)
	crossing := withCall(r, c)
	crossing.Header = nil // saves ReverseProxy a copy
	h.reverse.ServeHTTP(w, crossing)
}

// withoutBody returns errRoomBody for a GET or HEAD with a body. If the length is unknown, it waits for the first byte. It also
// returns the errors of reading.
func withoutBody(r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead || r.ContentLength == 0 {
		return nil
	}
	if r.ContentLength > 0 {
		return errRoomBody
	}
	switch _, err := io.ReadFull(r.Body, make([]byte, 1)); {
	case errors.Is(err, io.EOF):
		r.Body, r.ContentLength, r.TransferEncoding = http.NoBody, 0, nil
		return nil
	case err != nil:
		return err
	}
	return errRoomBody
}
