package proxy

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"roomgate/internal/bridge"
)

// secureCookie is the prefix of cookie names that a browser accepts only over TLS, and sends only to the same host (RFC 6265bis §4.1.3.2).
const secureCookie = "__Host-"

// cookie is one pair of a Cookie header.
type cookie struct{ name, value string }

// splitCookies removes the cookies of a name from Cookie headers. own are the cookies with exactly that name. Those with the name in
// another case are dropped, because a lax upstream could read them. rest are the headers without both, otherwise unchanged. others are
// the cookies in rest.
func splitCookies(headers []string, name string) (own, others []cookie, rest []string) {
	for _, header := range headers {
		var kept []string
		found := false
		for pair := range strings.SplitSeq(header, ";") {
			n, v, _ := strings.Cut(pair, "=")
			c := cookie{strings.Trim(n, " \t"), strings.Trim(v, " \t")}
			switch {
			case c.name == name:
				own = append(own, c)
			case !strings.EqualFold(c.name, name):
				others, kept = append(others, c), append(kept, pair)
				continue
			}
			found = true
		}
		if found {
			header = strings.Trim(strings.Join(kept, ";"), " \t")
		}
		if header != "" {
			rest = append(rest, header)
		}
	}
	return own, others, rest
}

// open returns the session in the cookies. The error is bridge.ErrNoMemberToken if there is none, or an error of bridge.Sessions. A
// session under another name was copied by hand, so it is refused with bridge.ErrSession.
func (s *sessions) open(own, others []cookie) (bridge.Session, error) {
	switch len(own) {
	case 1:
		return s.seals.Open(own[0].value)
	case 0:
		for _, other := range others {
			if _, err := s.seals.Open(other.value); !errors.Is(err, bridge.ErrSession) {
				return bridge.Session{}, bridge.ErrSession
			}
		}
		return bridge.Session{}, bridge.ErrNoMemberToken
	}
	return bridge.Session{}, bridge.ErrSession // nobody knows which of them the browser meant
}

// cookie returns the Set-Cookie value that sets the session's cookie.
func (s *sessions) cookie(text string, ends time.Time) string {
	return s.line(text, max(1, int(time.Until(ends).Seconds())))
}

// line returns a Set-Cookie value. age is in seconds. A negative age deletes the cookie.
func (s *sessions) line(text string, age int) string {
	c := http.Cookie{ //nolint:gosec // only a sandbox leaves Secure out: it serves http://localhost
		Name: s.seals.Name(), Value: text, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(s.seals.Name(), secureCookie),
	}
	return c.String()
}
