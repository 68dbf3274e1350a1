package sandbox

import (
	"crypto/rand"
	"math"
	"net/http"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxMinutes is the longest lifetime that can be requested: a year.
const maxMinutes = 365 * 24 * 60

// authRequest is the body of POST /v1/auth.
type authRequest struct {
	AccessKey string   `json:"accessKey"`
	SecretKey string   `json:"secretKey"`
	Expires   *float64 `json:"expires"` // minutes; nil: 60
	IsOwner   bool     `json:"isOwner"`
}

// ttl returns the requested lifetime, and whether it is allowed.
func (q authRequest) ttl() (time.Duration, bool) {
	if q.Expires == nil {
		return time.Hour, true
	}
	return time.Duration(*q.Expires * float64(time.Minute)), *q.Expires > 0 && *q.Expires <= maxMinutes
}

// auth exchanges a license's keys for an access token. The current fault may make the token wrong. Wrong keys are always refused:
// the fault is about tokens, not about who gets one.
func (i *Interwater) auth(w http.ResponseWriter, r *http.Request) {
	var req authRequest
	if err := readJSON(r, &req); err != nil {
		i.refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	ttl, possible := req.ttl()
	if !possible {
		i.refuse(w, http.StatusBadRequest, "expires must be over 0 and at most 525600 minutes")
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
		// A token that nobody receives is neither issued nor counted.
		answer.AccessToken = i.tokens.issue(license, ttl, req.IsOwner, fault)
	}
	succeed(w, answer)
}

// accessClaims are the claims of the document's sample, in its order.
type accessClaims struct {
	ID        string `json:"id"` // the license's, a string as in the sample
	Domain    string `json:"domain"`
	AccessKey string `json:"accessKey"`
	IsOwner   bool   `json:"isOwner,omitempty"` // not in the sample, which did not request it
	IssuedAt  int64  `json:"iat,omitempty"`     // Unix seconds, like exp; 0 is left out, for NoIat and NoExp
	ExpiresAt int64  `json:"exp,omitempty"`
}

// issued holds the access tokens that are still valid. The zero value is ready to use. It is in memory, so a restart revokes all
// tokens, like a change of the signing key.
type issued struct {
	mu     sync.RWMutex
	total  int // ever issued
	tokens map[string]grant
	sweep  int // size of tokens at which expired ones are deleted
}

// grant is what a token entitles to.
type grant struct {
	license License
	expires time.Time // not valid at this time any more
}

// issue makes an access token for the license and stores it. Only the fault makes the claims differ from the real expiry: a wrong
// clock or a missing claim doesn't change when a token expires.
func (s *issued) issue(l License, ttl time.Duration, owner bool, fault TokenFault) string {
	if fault.TTL != 0 {
		ttl = fault.TTL
	}
	// The clock is rounded down to seconds, and the lifetime up. So a token of 1 s may live a little less than that.
	life, now := wholeSeconds(ttl), time.Now()
	iat := now.Unix()
	if fault.Expired {
		// As if issued two lifetimes and a second ago, so that exp is past even for a lifetime of 1 s.
		iat -= 2*max(life, -life) + 1
	}
	g := grant{l, time.Unix(iat+life, 0)} // by our own clock, whatever the claims say
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
	// Each token has its own key. Otherwise tokens of the same second would be equal, and tests tell tokens apart.
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	token := sign(jwt.SigningMethodHS256, key, header, c)
	s.keep(token, g, now)
	return token
}

// keep stores a token until some time after its expiry.
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
		// Doubling keeps sweeps rare if no token has expired.
		s.sweep = max(1024, 2*len(s.tokens))
	}
	s.tokens[token] = g
	s.total++
}

// license returns the license of the sent token if exactly one token was sent and it is valid. sent is all values of the header.
// With two, a proxy has let a client's own header through, which must not go unnoticed.
func (s *issued) license(sent []string) (License, bool) {
	if len(sent) != 1 {
		return License{}, false
	}
	s.mu.RLock()
	g, known := s.tokens[sent[0]]
	s.mu.RUnlock()
	return g.license, known && time.Now().Before(g.expires)
}

// RevokeTokens revokes every access token issued so far, and returns how many were still valid. Revoked tokens get 401.
func (i *Interwater) RevokeTokens() int {
	i.tokens.mu.Lock()
	defer i.tokens.mu.Unlock()
	live := i.tokens.live(time.Now())
	clear(i.tokens.tokens)
	return live
}

// RevokeToken revokes one access token, and reports whether it was known.
func (i *Interwater) RevokeToken(token string) bool {
	i.tokens.mu.Lock()
	defer i.tokens.mu.Unlock()
	_, known := i.tokens.tokens[token]
	delete(i.tokens.tokens, token)
	return known
}

// counts returns how many tokens were issued in all, and how many are still valid.
func (s *issued) counts() (total, live int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.total, s.live(time.Now())
}

// live counts the valid tokens. The caller holds the lock.
func (s *issued) live(now time.Time) int {
	n := 0
	for _, g := range s.tokens {
		if now.Before(g.expires) {
			n++
		}
	}
	return n
}

// wholeSeconds rounds away from 0, so that no lifetime becomes 0 seconds.
func wholeSeconds(d time.Duration) int64 {
	s := d.Seconds()
	if s < 0 {
		return int64(math.Floor(s))
	}
	return int64(math.Ceil(s))
}
