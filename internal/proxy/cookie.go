package proxy

// This file reads the cookie of a browser session, and keeps it from going any further.

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"roomgate/internal/bridge"
)

// secureCookie begins the names that browsers take from an encrypted origin alone, for that host alone (RFC 6265bis §4.1.3.2).
const secureCookie = "__Host-"

// cookie is one pair of a Cookie header.
type cookie struct{ name, value string }

// splitCookies takes the cookies of a name out of Cookie headers, in any case of letters: who is that lax must not find one. rest are the
// headers without them, otherwise as they were; others are the cookies in there.
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

// open returns the session that the cookies hold. The error is bridge.ErrNoMemberToken where there is none, and else that of
// bridge.Sessions. A session under another name was copied by hand: it doesn't count, and is no accident.
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
	return bridge.Session{}, bridge.ErrSession // which of them a browser meant, nobody knows
}

// cookie is the line that sets the session's cookie.
func (s *sessions) cookie(text string, ends time.Time) string {
	return s.line(text, max(1, int(time.Until(ends).Seconds())))
}

// line is a Set-Cookie. With an age below 0 it deletes the cookie.
func (s *sessions) line(text string, age int) string {
	c := http.Cookie{ //nolint:gosec // without Secure in a sandbox alone: browsers take no other from http://localhost
		Name: s.seals.Name(), Value: text, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(s.seals.Name(), secureCookie),
	}
	return c.String()
}
