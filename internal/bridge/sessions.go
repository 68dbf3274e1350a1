package bridge

// A browser keeps its member token in a cookie, sealed: neither scripts nor anybody else can read the token.

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"roomgate/internal/secret"
	"roomgate/internal/tokencache"
)

const (
	sessionPurpose = "roomgate session v1"
	sessionHeader  = 8 + 8 // when the session began and when its token expires, in seconds since 1970
	// maxSession is the longest text of a session: browsers drop cookies whose name and value take more than 4,096 bytes.
	maxSession = 4000
)

// Sessions seals and opens browser sessions. It is safe for concurrent use.
type Sessions struct {
	name   string
	maxAge time.Duration
	seals  atomic.Pointer[[]tokencache.Seal] // the first one seals new sessions; all open them
}

// Session is an open session. Printing it doesn't show the token.
type Session struct {
	// Subject is the sub that the token claims. Only Seal sets it.
	Subject string
	// Ends is when the session ends: when its token expires, or at its greatest age.
	Ends  time.Time
	token secret.Value
}

// Token returns the member token, for the request that presented the session.
func (s Session) Token() string { return s.token.Reveal() }

// NewSessions returns sessions for the cookie called name: they open under no other name. The first of secrets seals new sessions, and all
// secrets open them. There must be at least one. A session ends after maxAge at the latest.
func NewSessions(name string, secrets []secret.Value, maxAge time.Duration) (*Sessions, error) {
	s := &Sessions{name: name, maxAge: maxAge}
	return s, s.Reload(secrets)
}

// Reload replaces the secrets. After an error, the old ones stay in use.
func (s *Sessions) Reload(secrets []secret.Value) error {
	if len(secrets) == 0 {
		return errors.New("no secret for sessions")
	}
	seals := make([]tokencache.Seal, len(secrets))
	for i, secret := range secrets {
		var err error
		if seals[i], err = tokencache.NewSeal(secret, sessionPurpose); err != nil {
			return fmt.Errorf("session secret: %w", err)
		}
	}
	s.seals.Store(&seals)
	return nil
}

// Name returns the cookie's name.
func (s *Sessions) Name() string { return s.name }

// Seal begins a session with a token that Glory has just issued. text can be a cookie's value. The error wraps ErrMemberToken: the token
// isn't a JWT, has expired, or is too long.
func (s *Sessions) Seal(raw string) (text string, session Session, err error) {
	t, err := parseMemberToken(raw)
	if err != nil {
		return "", Session{}, err
	}
	expiry, _, err := numericDate(t.claims, "exp")
	if err != nil {
		return "", Session{}, fmt.Errorf("%w: %w", ErrMemberToken, err)
	}
	now, end := time.Now(), time.Unix(0, instant(expiry))
	session = s.session(now, end, raw)
	session.Subject, _ = t.claims["sub"].(string)
	if !now.Before(session.Ends) {
		return "", Session{}, ErrExpired
	}
	plain := binary.BigEndian.AppendUint64(nil, uint64(now.Unix()))
	plain = binary.BigEndian.AppendUint64(plain, uint64(end.Unix()))
	box := (*s.seals.Load())[0].Seal(s.name, append(plain, raw...))
	if text = base64.RawURLEncoding.EncodeToString(box); len(text) > maxSession {
		return "", Session{}, fmt.Errorf("%w: too long for a cookie", ErrMemberToken)
	}
	return text, session, nil
}

// Open returns the session in a text that Seal has made. For any other text the error is ErrSession. If the session has ended, the error
// wraps ErrExpired.
func (s *Sessions) Open(text string) (Session, error) {
	if len(text) > maxSession {
		return Session{}, ErrSession
	}
	box, err := decodePart(text)
	if err != nil {
		return Session{}, ErrSession
	}
	for _, seal := range *s.seals.Load() {
		plain, err := seal.Open(s.name, box)
		if err != nil || len(plain) < sessionHeader {
			continue
		}
		began, end := binary.BigEndian.Uint64(plain), binary.BigEndian.Uint64(plain[8:])
		session := s.session(time.Unix(int64(began), 0), time.Unix(int64(end), 0), string(plain[sessionHeader:]))
		if !time.Now().Before(session.Ends) {
			return Session{}, fmt.Errorf("session: %w", ErrExpired)
		}
		return session, nil
	}
	return Session{}, ErrSession
}

// session returns a session that began at began. end is when its token expires.
func (s *Sessions) session(began, end time.Time, raw string) Session {
	if oldest := began.Add(s.maxAge); oldest.Before(end) {
		end = oldest
	}
	return Session{Ends: end.Truncate(time.Second), token: secret.New(raw)}
}
