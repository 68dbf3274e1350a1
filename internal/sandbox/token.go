package sandbox

// Signing, shared by member tokens and access tokens.

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// sign makes a compact JWS of header and claims. It encodes both as they are, so that structs keep the
// documents' order of names, and maps can say anything: nothing checks that header names the method.
func sign(method *jwt.SigningMethodHMAC, key []byte, header, claims any) string {
	input := segment(header) + "." + segment(claims)
	sig, err := method.Sign(input, key)
	if err != nil {
		panic(fmt.Sprintf("sandbox: sign token: %v", err)) // the key is always a []byte
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// segment is one of the first two parts of a token.
func segment(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		// A test's own header or claims, with a channel or a NaN in them.
		panic(fmt.Sprintf("sandbox: encode token: %v", err))
	}
	return base64.RawURLEncoding.EncodeToString(b)
}
