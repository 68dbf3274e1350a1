package proxy

// A browser session begins with a login or join at Glory. The browser gets a cookie in place of the token.

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
	// maxTokenAnswer is the longest answer, in bytes, to a login or join. Glory's are shorter.
	maxTokenAnswer = 64 << 10
)

// errNoToken means that Glory answered with success, but without a token for a session.
var errNoToken = errors.New("answer to a login or join has no usable token")

// beginner begins sessions.
type beginner struct {
	sessions *sessions
	glory    *gloryHandler
	withhold *redaction // removes the token from Glory's answer
	log      *slog.Logger
	reverse  *httputil.ReverseProxy
}

// beginning is one of the two ways to begin a session.
type beginning struct {
	by   string // its name in metrics and audit events
	kind entrance
	path string // at Glory
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

// serve answers a login or join. It has the same limits as Glory's own routes.
func (b *beginner) serve(w *writer, r *http.Request) {
	c := &w.call
	// This is needed without a cookie, too: a page of another origin must not log somebody in as somebody else.
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

// rewrite turns the request into Glory's login or join. It asks for an uncompressed answer, which modify can read.
func (b *beginner) rewrite(r *httputil.ProxyRequest) {
	b.glory.rewrite(r)
	c := callOf(r.In.Context())
	at := c.target
	at.path = beginnings()[c.route].path
	*r.Out.URL = at.at(b.glory.base)
	r.Out.Header["Accept-Encoding"] = []string{"identity"}
}

// modify replaces the token in Glory's answer by a cookie. Glory's errors pass through.
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

// split removes the token from the body of a success. It returns the token and the rest of the body. The error wraps errNoToken.
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

// withoutToken drops the headers of an answer that contain the token, and those that describe the old body.
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
