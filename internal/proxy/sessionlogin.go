package proxy

// This file begins browser sessions: a login or join at Glory whose token stays in the gateway's hands.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"

	"roomgate/internal/bridge"
)

const (
	sessionLoginRoute = "POST /session/login"
	sessionJoinRoute  = "POST /session/join"
	// maxTokenAnswer is more than any answer of Glory's with a member token.
	maxTokenAnswer = 64 << 10
)

// errNoToken is a success of Glory's without a token that a session can be made of.
var errNoToken = errors.New("answer to a login or join has no usable token")

// beginner begins sessions.
type beginner struct {
	sessions *sessions
	glory    *gloryHandler
	withhold *redaction // the token
	log      *slog.Logger
	reverse  *httputil.ReverseProxy
}

// beginning is one of the two ways to begin.
type beginning struct {
	by   string // as metrics and audit events call it
	kind entrance
	path string // Glory's
}

func beginnings() map[string]beginning {
	return map[string]beginning{
		sessionLoginRoute: {"login", loginEntrance, "/public-api/v1/login"},
		sessionJoinRoute:  {"join", joinEntrance, "/public-api/v1/join"},
	}
}

func newBeginner(o Options, s *sessions, glory *gloryHandler) *beginner {
	b := &beginner{sessions: s, glory: glory, withhold: newRedaction([]string{"token"}), log: o.Log}
	b.reverse = &httputil.ReverseProxy{
		Rewrite:        b.rewrite,
		ModifyResponse: b.modify,
		Transport:      o.Glory,
		ErrorHandler:   func(w http.ResponseWriter, _ *http.Request, err error) { w.(*writer).fail(err) },
		ErrorLog:       slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	return b
}

// serve answers a login or join, under the same limits as Glory's own.
func (b *beginner) serve(w *writer, r *http.Request) {
	c := &w.call
	// Also without a cookie: nobody is to be logged in as somebody else by a page of another origin.
	if err := b.sessions.checkOrigin(r, c); err != nil {
		w.fail(err)
		return
	}
	held, err := b.glory.enter(r, c, beginnings()[c.route].kind)
	defer b.glory.bodies.Add(-held)
	if err != nil {
		w.fail(err)
		return
	}
	c.upstream = upstreamGlory
	b.reverse.ServeHTTP(w, withCall(r, c))
}

// rewrite makes Glory's login or join of it. The answer is to be read, so it must not come compressed.
func (b *beginner) rewrite(r *httputil.ProxyRequest) {
	b.glory.rewrite(r)
	c := callOf(r.In.Context())
	at := c.target
	at.path = beginnings()[c.route].path
	*r.Out.URL = at.at(b.glory.base)
	r.Out.Header["Accept-Encoding"] = []string{"identity"}
}

// modify puts a cookie in the place of the token. A failure of Glory's passes as it is.
func (b *beginner) modify(answer *http.Response) error {
	if answer.StatusCode/100 != 2 {
		if err := modifyGloryAnswer(answer); err != nil {
			return err
		}
		answer.Header["Cache-Control"] = []string{"no-store"}
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxTokenAnswer+1))
	_ = answer.Body.Close()
	if err != nil {
		return brokenOff(err)
	}
	token, text, err := b.split(text)
	if err != nil {
		return err
	}
	sealed, session, err := b.sessions.seals.Seal(token)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoToken, err)
	}
	withoutToken(answer, token)
	answer.Body, answer.ContentLength = newWholeBody(text), int64(len(text))
	answer.Header["Content-Length"] = []string{strconv.Itoa(len(text))}
	answer.Header["Cache-Control"] = []string{"no-store"}
	answer.Header.Add("Set-Cookie", b.sessions.cookie(sealed, session.Ends))
	c := callOf(answer.Request.Context())
	c.subject = session.Subject
	by := beginnings()[c.route].by
	b.sessions.metrics.begun.WithLabelValues(by).Inc()
	audit(b.log, "session_begun", by, c)
	return nil
}

// split takes the token out of a success. The error wraps errNoToken.
func (b *beginner) split(text []byte) (token string, rest []byte, err error) {
	if len(text) > maxTokenAnswer {
		return "", nil, fmt.Errorf("%w: too long", errNoToken)
	}
	object, err := bridge.StrictObject(text)
	if err != nil {
		return "", nil, errNoToken
	}
	data, _ := object["data"].(map[string]any)
	token, _ = data["token"].(string)
	rest, err = b.withhold.whole(text)
	if token == "" || err != nil || bytes.Contains(rest, []byte(token)) {
		return "", nil, errNoToken
	}
	return token, rest, nil
}

// withoutToken drops the headers of an answer that have the token in them, and what describes a body that it isn't any more.
func withoutToken(answer *http.Response, token string) {
	answer.Trailer = nil
	for _, name := range []string{"Etag", "Content-Encoding", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest", "Trailer"} {
		delete(answer.Header, name)
	}
	for name, values := range answer.Header {
		for _, value := range values {
			if strings.Contains(value, token) {
				delete(answer.Header, name)
			}
		}
	}
}
