package proxy

// Browser sessions: a cookie counts as the member token that is sealed in it. It counts only if the request has no other token, and comes
// from a page that may send it.

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"roomgate/internal/bridge"
)

const sessionRoute = "GET /session"

// sessions handles browser sessions. A nil *sessions is off.
type sessions struct {
	seals      *bridge.Sessions
	authorizer authorizer
	origins    *http.CrossOriginProtection
	metrics    sessionMetrics
}

type sessionMetrics struct{ begun, ended *prometheus.CounterVec }

func newSessionMetrics() sessionMetrics {
	return sessionMetrics{
		begun: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_sessions_begun_total", Help: "Browser sessions that began, by how (login, join).",
		}, []string{"by"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "roomgate_sessions_ended_total",
			Help: "Browser sessions whose cookie the gateway deleted, by reason (logout, logout_all: of all tokens, logged_out: elsewhere, expired, refused: " +
				"the token isn't valid any more, unopened: forged, or sealed with a secret that is gone). Sessions that end in the browser aren't counted.",
		}, []string{"reason"}),
	}
}

func newSessions(o Options, m *metrics) (*sessions, error) {
	if o.Sessions == nil {
		return nil, nil //nolint:nilnil // nil is off
	}
	s := &sessions{o.Sessions, o.Bridge, http.NewCrossOriginProtection(), m.sessions}
	for _, origin := range o.CORSOrigins {
		if err := s.origins.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("proxy: sessions: %w", err)
		}
	}
	return s, nil
}

// bear removes the session's cookie from the request. If the endpoint takes a member token and the request has none, bear adds the
// session's. After an error, the caller must refuse the request.
func (s *sessions) bear(r *http.Request, c *call, to *endpoint) error {
	headers := r.Header["Cookie"]
	if s == nil || len(headers) == 0 || c.preflight {
		return nil
	}
	own, others, rest := splitCookies(headers, s.seals.Name())
	delete(r.Header, "Cookie")
	if len(rest) > 0 {
		r.Header["Cookie"] = rest
	}
	if len(own) > 0 {
		if err := s.checkOrigin(r, c); err != nil {
			return err
		}
	}
	if !to.token && c.route != apiPrefix || len(r.Header["Authorization"]) > 0 && c.route != sessionRoute {
		return nil
	}
	session, err := s.open(own, others)
	if errors.Is(err, bridge.ErrNoMemberToken) {
		return nil // the endpoint decides about requests without a token
	}
	c.session = &session
	r.Header["Authorization"] = []string{"Bearer " + session.Token()}
	return err
}

// checkOrigin refuses unsafe methods from pages of other origins that aren't listed. The error is errCrossOrigin.
func (s *sessions) checkOrigin(r *http.Request, c *call) error {
	// The host is the one that browsers use. A balancer may use another.
	if err := s.origins.Check(&http.Request{Method: r.Method, Header: r.Header, Host: c.forwarded.host}); err != nil {
		return errCrossOrigin
	}
	return nil
}

// serve answers whether the request has a session, whose it is, and when it ends.
func (s *sessions) serve(w *writer, r *http.Request) {
	c := &w.call
	if c.session == nil {
		w.answer(map[string]any{"result": "ok", "session": false})
		return
	}
	member, err := s.authorizer.Authenticate(r.Context(), r.Header["Authorization"])
	if err != nil {
		w.fail(err)
		return
	}
	c.subject = member.Subject
	w.answer(map[string]any{
		"result": "ok", "session": true, "sub": member.Subject, "ends": c.session.Ends.UTC().Format(time.RFC3339),
	})
}

// end counts the end of a session, by reason. It returns the Set-Cookie value that deletes the cookie.
func (s *sessions) end(reason string) (setCookie string) {
	s.metrics.ended.WithLabelValues(reason).Inc()
	return s.line("", -1)
}

// endedBy returns why a session ends if its request is answered 401 because of err.
func endedBy(err error) string {
	switch {
	case errors.Is(err, bridge.ErrExpired):
		return "expired"
	case errors.Is(err, bridge.ErrLoggedOut):
		return "logged_out"
	case errors.Is(err, bridge.ErrSession):
		return "unopened"
	}
	return "refused"
}
