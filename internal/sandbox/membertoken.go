package sandbox

// Member tokens: how Glory signs them and what it takes for one of its own.

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

// memberClaims are those of the document's sample, in its order.
type memberClaims struct {
	Subject      string `json:"sub"` // the member's number, a string as in the sample
	IssuedAt     int64  `json:"iat"` // Unix seconds, as exp
	ExpiresAt    int64  `json:"exp"`
	Issuer       string `json:"iss"`
	LoginChannel string `json:"loginChannel"` // always id_pw: there is no other way in
}

// MintToken makes a member token that ends ttl from now. A negative ttl makes one that ended so long
// ago, after the usual life. Nobody need have joined with that sub.
//
// Each change may alter header and claims, to forge what Glory would not sign. The token is then signed
// all the same, with Secret: by the HS256, HS384 or HS512 that the changed header names, else by HS384.
func (g *Glory) MintToken(sub string, ttl time.Duration, change ...func(header, claims map[string]any)) string {
	now := time.Now()
	c := memberClaims{
		Subject:      sub,
		IssuedAt:     now.Unix(),
		ExpiresAt:    now.Add(ttl).Unix(),
		Issuer:       memberIssuer,
		LoginChannel: "id_pw",
	}
	if ttl < 0 { // lest it be issued after its end, which is another mistake to test for
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
	// "none" and asymmetric algorithms get a signature too; the tests of a verifier cut it off or not.
	method := jwt.SigningMethodHS384
	if alg, named := header["alg"].(string); named {
		if m, isHMAC := jwt.GetSigningMethod(alg).(*jwt.SigningMethodHMAC); isHMAC {
			method = m
		}
	}
	return sign(method, []byte(g.secret), header, claims)
}

// authenticate returns the sub of the one valid member token in the header. The cause of an error is
// for debugging: Glory answers all alike.
func (g *Glory) authenticate(h http.Header) (string, error) {
	sent := h.Values("Authorization")
	if len(sent) != 1 {
		return "", fmt.Errorf("%d Authorization headers", len(sent))
	}
	// In exactly the documented form, although the scheme's case is free by RFC 9110.
	raw, isBearer := strings.CutPrefix(sent[0], "Bearer ")
	if !isBearer {
		return "", errors.New("not a Bearer token")
	}
	// No leeway: the clock that signed is the clock that checks.
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
