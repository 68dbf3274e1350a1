package sandbox

// Access tokens: how Interwater issues them and which it still takes.

import (
	"crypto/rand"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxMinutes is the longest life that can be asked for: a year.
const maxMinutes = 365 * 24 * 60

// authRequest is the body of POST /v1/auth.
type authRequest struct {
	AccessKey string   `json:"accessKey"`
	SecretKey string   `json:"secretKey"`
	Expires   *float64 `json:"expires"` // minutes; nil is 60
	IsOwner   bool     `json:"isOwner"`
}

// ttl is the life asked for, and whether it can be had.
func (q authRequest) ttl() (time.Duration, bool) {
	if q.Expires == nil {
		return time.Hour, true
	}
	return time.Duration(*q.Expires * float64(time.Minute)), *q.Expires > 0 && *q.Expires <= maxMinutes
}

// auth exchanges a license's keys for an access token, with what is wrong with it by the fault in force.
// Wrong keys are refused whatever the fault: it is about tokens, not about who gets one.
func (i *Interwater) auth(w http.ResponseWriter, r *http.Request) {
	var req authRequest
	if err := readJSON(r, &req); err != nil {
		i.refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	ttl, possible := req.ttl()
	if !possible {
		i.refuse(w, http.StatusBadRequest, "expires is not over 0 and at most 525600 minutes")
		return
	}
	license, known := i.licenseOf(req.AccessKey, req.SecretKey)
	if !known {
		i.refuse(w, http.StatusUnauthorized, "invalid accessKey or secretKey")
		return
	}
	var fault TokenFault
	if given, _ := r.Context().Value(tokenFaultKey{}).(*TokenFault); given != nil {
		fault = *given
	}
	if fault.StatusFalse {
		i.refuse(w, http.StatusOK, "no token today")
		return
	}
	answer := struct {
		AccessToken any `json:"accessToken"`
	}{fault.Raw}
	if fault.Raw == nil {
		// A token that nobody receives is not issued either, and not counted.
		answer.AccessToken = i.tokens.issue(license, ttl, req.IsOwner, fault)
	}
	succeed(w, answer)
}

// accessClaims are those of the document's sample, in its order.
type accessClaims struct {
	ID        string `json:"id"` // the license's, a string as in the sample
	Domain    string `json:"domain"`
	AccessKey string `json:"accessKey"`
	IsOwner   bool   `json:"isOwner,omitempty"` // not in the sample, which did not ask for it
	IssuedAt  int64  `json:"iat,omitempty"`     // Unix seconds, as exp; 0 is left out, for NoIat and NoExp
	ExpiresAt int64  `json:"exp,omitempty"`
}

// issued is every access token that still counts. The zero value is ready. It lives in memory, so a
// restart revokes all, as a change of the signing key would.
type issued struct {
	mu     sync.RWMutex
	total  int // ever issued
	tokens map[string]grant
	sweep  int // size of tokens at which the expired ones are thrown out
}

// grant is what a token stands for.
type grant struct {
	license License
	expires time.Time // no longer valid at this very time
}

// issue makes an access token for the license and remembers it. Claims and the real expiry part only
// where the fault says so: a wrong clock or a missing claim does not change when a token ends.
func (s *issued) issue(l License, ttl time.Duration, owner bool, fault TokenFault) string {
	if fault.TTL != 0 {
		ttl = fault.TTL
	}
	// The clock is cut to seconds while the life is rounded up: a token of 1 s may have less than that.
	life, now := wholeSeconds(ttl), time.Now()
	iat := now.Unix()
	if fault.Expired {
		// As if issued two lives and a second ago, so that exp is past even for a life of 1 s.
		iat -= 2*max(life, -life) + 1
	}
	g := grant{l, time.Unix(iat+life, 0)} // by our own clock, whatever the claims will say
	skew := int64(fault.Skew / time.Second)
	c := accessClaims{l.ID, l.Domain, l.AccessKey, owner, iat + skew, iat + life + skew}
	if fault.NoExp {
		c.ExpiresAt = 0
	}
	if fault.NoIat {
		c.IssuedAt = 0
	}
	header := struct {
		Alg string `json:"alg"`
		Typ string `json:"typ"`
	}{jwt.SigningMethodHS256.Alg(), "JWT"}
	// A key for each token: claims of the same second are the same, and tests tell tokens apart.
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	token := sign(jwt.SigningMethodHS256, key, header, c)
	s.keep(token, g, now)
	return token
}

// keep remembers a token until some time after its expiry.
func (s *issued) keep(token string, g grant, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tokens == nil {
		s.tokens, s.sweep = map[string]grant{}, 1024
	}
	if len(s.tokens) >= s.sweep {
		for old, g := range s.tokens {
			if !now.Before(g.expires) {
				delete(s.tokens, old)
			}
		}
		// Doubling keeps the sweeping rare when all are alive.
		s.sweep = max(1024, 2*len(s.tokens))
	}
	s.tokens[token] = g
	s.total++
}

// license returns whose token was sent, if it is one token and it counts. sent is all values of the
// header: with two of them a proxy has let a client's own through, and that must not go unnoticed.
func (s *issued) license(sent []string) (License, bool) {
	if len(sent) != 1 {
		return License{}, false
	}
	s.mu.RLock()
	g, known := s.tokens[sent[0]]
	s.mu.RUnlock()
	return g.license, known && time.Now().Before(g.expires)
}

// RevokeTokens makes every access token issued so far be refused with 401, and returns how many of
// them were still valid.
func (i *Interwater) RevokeTokens() int {
	i.tokens.mu.Lock()
	defer i.tokens.mu.Unlock()
	live := i.tokens.live(time.Now())
	clear(i.tokens.tokens)
	return live
}

// RevokeToken makes one access token be refused, and reports whether it was known.
func (i *Interwater) RevokeToken(token string) bool {
	i.tokens.mu.Lock()
	defer i.tokens.mu.Unlock()
	_, known := i.tokens.tokens[token]
	delete(i.tokens.tokens, token)
	return known
}

// counts is how many tokens were issued in all, and how many of them still count.
func (s *issued) counts() (total, live int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.total, s.live(time.Now())
}

// live needs the lock, held by the caller.
func (s *issued) live(now time.Time) int {
	n := 0
	for _, g := range s.tokens {
		if now.Before(g.expires) {
			n++
		}
	}
	return n
}

// wholeSeconds rounds away from 0: no life of a token is 0 seconds.
func wholeSeconds(d time.Duration) int64 {
	s := d.Seconds()
	if s < 0 {
		return int64(math.Floor(s))
	}
	return int64(math.Ceil(s))
}
