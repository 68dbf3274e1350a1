package proxy

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"roomgate/internal/bridge"
	"roomgate/internal/fleet"
)

const logoutRoute = "POST /session/logout"

// logoutLimit limits what one member can add to the deny list: about 30,000 entries in the 60 days that Glory's tokens live.
func logoutLimit() fleet.Limit { return fleet.Limit{Burst: 20, Per: time.Hour} }

// sessionEnder logs members out. *bridge.Bridge is one.
type sessionEnder interface {
	Verify(ctx context.Context, authorization []string) (bridge.Member, error)
	Logout(ctx context.Context, member bridge.Member, all bool) error
}

// logoutHandler answers logouts.
type logoutHandler struct {
	ender    sessionEnder
	limit    *fleet.Limiter // per member
	sessions *sessions      // nil: there are none
	log      *slog.Logger
	metrics  *metrics
}

func newLogoutHandler(o Options, s *sessions, m *metrics) *logoutHandler {
	return &logoutHandler{o.Bridge, fleet.NewLimiter(o.Redis, "logout", logoutLimit()), s, o.Log, m}
}

// serve answers a logout.
func (h *logoutHandler) serve(w *writer, r *http.Request) {
	scope, err := h.logOut(r, &w.call)
	if err != nil {
		w.fail(err)
		return
	}
	h.metrics.logouts.WithLabelValues(scope).Inc()
	audit(h.log, "logout", scope, &w.call)
	if w.call.session != nil {
		reason := map[string]string{"token": "logout", "member": "logout_all"}[scope]
		w.Header().Set("Set-Cookie", h.sessions.end(reason))
	}
	w.answer(map[string]string{"result": "ok"})
}

// logOut logs out what the request names. scope is token or member.
func (h *logoutHandler) logOut(r *http.Request, c *call) (scope string, err error) {
	scope, err = logoutScope(c.target.query)
	if err != nil {
		return "", err
	}
	member, err := h.ender.Verify(r.Context(), r.Header["Authorization"])
	if err != nil {
		return "", err
	}
	c.subject = member.Subject
	if err := h.limit.Take(r.Context(), member.Subject); err != nil {
		return "", err
	}
	return scope, h.ender.Logout(r.Context(), member, scope == "member")
}

// logoutScope returns member for ?all=true, and otherwise token. The error is errParameter.
func logoutScope(query string) (string, error) {
	values, _ := url.ParseQuery(query) // can't fail: the target is clean
	switch all := values["all"]; {
	case len(all) == 0 || len(all) == 1 && all[0] == "false":
		return "token", nil
	case len(all) == 1 && all[0] == "true":
		return "member", nil
	}
	return "", errParameter
}

// answer answers with data in Glory's envelope. It panics with http.ErrAbortHandler if too many such answers wait for their clients.
func (w *writer) answer(data any) {
	body, _ := json.Marshal(map[string]any{"data": data}) // can't fail: strings and booleans
	w.serve(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		h := rw.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Type", "application/json; charset=utf-8")
		h.Set("Content-Length", strconv.Itoa(len(body)))
		_, _ = rw.Write(body) // the server notices a client that has gone
	}), w.request)
}
