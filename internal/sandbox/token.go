package sandbox

import (
	"encoding/base64"
	"encoding/json"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// sign returns a compact JWS of header and claims, encoded as they are: structs keep the documents' order of names, and maps may
// contain anything. It doesn't check that header names the method.
func sign(method *jwt.SigningMethodHMAC, key []byte, header, claims any) string {
	input := segment(header) + "." + segment(claims)
	sig, err := method.Sign(input, key)
	if err != nil {
		panic(fmt.Sprintf("sandbox: sign token: %v", err)) // can't happen: the key is a []byte
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// segment encodes the header or the claims.
func segment(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		// A test's header or claims contain, for example, a channel or a NaN.
		panic(fmt.Sprintf("sandbox: encode token: %v", err))
	}
	return base64.RawURLEncoding.EncodeToString(b)
}
