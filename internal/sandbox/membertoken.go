package sandbox

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// memberIssuer is the iss of the document's sample tokens.
const memberIssuer = "com.smarth"

// memberClaims are the claims of the document's sample, in its order.
type memberClaims struct {
	Subject      string `json:"sub"` // the member's number, a string as in the sample
	IssuedAt     int64  `json:"iat"` // Unix seconds, like exp
	ExpiresAt    int64  `json:"exp"`
	Issuer       string `json:"iss"`
	LoginChannel string `json:"loginChannel"` // always id_pw: there is no other kind of login
}

// MintToken returns a member token that expires ttl from now. If ttl is negative, the token has already expired by that much,
// after the usual lifetime. No member with that sub needs to exist.
//
// Each change may alter header and claims, to forge tokens that Glory would not issue. The token is still signed with Secret: by
// HS256, HS384 or HS512 if the changed header names one of them, else by HS384.
func (g *Glory) MintToken(sub string, ttl time.Duration, change ...func(header, claims map[string]any)) string {
	now := time.Now()
	c := memberClaims{
		Subject:      sub,
		IssuedAt:     now.Unix(),
		ExpiresAt:    now.Add(ttl).Unix(),
		Issuer:       memberIssuer,
		LoginChannel: "id_pw",
	}
	if ttl < 0 { // otherwise it would be issued after its expiry, which is a different mistake
		c.IssuedAt = now.Add(ttl - g.ttl).Unix()
	}
	if len(change) == 0 {
		header := struct {
			Alg string `json:"alg"` // the sample has no typ
		}{jwt.SigningMethodHS384.Alg()}
		return sign(jwt.SigningMethodHS384, []byte(g.secret), header, c)
	}
	header := map[string]any{"alg": jwt.SigningMethodHS384.Alg()}
	claims := map[string]any{
		"sub": c.Subject, "iat": c.IssuedAt, "exp": c.ExpiresAt, "iss": c.Issuer, "loginChannel": c.LoginChannel,
	}
	for _, f := range change {
		f(header, claims)
	}
	// "none" and asymmetric algorithms get a signature too. Tests of a verifier can cut it off.
	method := jwt.SigningMethodHS384
	if alg, named := header["alg"].(string); named {
		if m, isHMAC := jwt.GetSigningMethod(alg).(*jwt.SigningMethodHMAC); isHMAC {
			method = m
		}
	}
	return sign(method, []byte(g.secret), header, claims)
}

// authenticate returns the sub of the one valid member token in the header. The error's cause is for debugging: Glory answers all
// errors alike.
func (g *Glory) authenticate(h http.Header) (string, error) {
	sent := h.Values("Authorization")
	if len(sent) != 1 {
		return "", fmt.Errorf("%d Authorization headers", len(sent))
	}
	// Accept only the documented form, although RFC 9110 allows the scheme in any case.
	raw, isBearer := strings.CutPrefix(sent[0], "Bearer ")
	if !isBearer {
		return "", errors.New("not a Bearer token")
	}
	// No leeway: the same clock signs and checks.
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS384.Alg()}),
		jwt.WithIssuer(memberIssuer),
		jwt.WithExpirationRequired(),
		jwt.WithStrictDecoding(),
	)
	var claims jwt.RegisteredClaims
	_, err := parser.ParseWithClaims(raw, &claims, func(*jwt.Token) (any, error) { return []byte(g.secret), nil })
	if err != nil {
		return "", err
	}
	if claims.Subject == "" {
		return "", errors.New("no sub")
	}
	return claims.Subject, nil
}
