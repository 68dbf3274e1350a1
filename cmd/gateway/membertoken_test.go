package main

// Member tokens over the wire: a sample of the catalogue's rows J. The tests of package bridge have the rest. All refusals look the
// same from outside, and a refused token causes no call.

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"io"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func quiet() *log.Logger { return slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug) }

func TestRefusedTokensLookAlikeAndCallNobody(t *testing.T) {
	t.Parallel()
	s := newArena(t, "MAX_HEADER_BYTES=65536")
	const refusal = `{"code":"401","message":"Full authentication is required to access this resource"}`
	var attacks []attack
	try := func(id, name, token string, status int) {
		r := attack{row: id, name: name, send: message("GET", "/v1/info", "Authorization: Bearer "+token), want: []int{status}}
		if status == 200 {
			r.rooms = 1
		} else {
			r.look = func(t *testing.T, _ *arena, got []reply) {
				challenge := `Bearer error="invalid_token"`
				if name == "exp 0" || name == "exp past" { // the only cause that is told
					challenge += `, error_description="expired"`
				}
				if got[0].body != refusal || got[0].header.Get("WWW-Authenticate") != challenge {
					t.Errorf("%s with %q", got[0].body, got[0].header["Www-Authenticate"])
				}
			}
		}
		attacks = append(attacks, r)
	}
	mint := s.stands.Glory.MintToken
	header := func(name string, value any) string {
		return mint("1", time.Hour, func(h, _ map[string]any) { h[name] = value })
	}
	claim := func(name string, value any) string {
		return mint("1", time.Hour, func(_, c map[string]any) {
			if c[name] = value; value == nil {
				delete(c, name)
			}
		})
	}
	for _, alg := range []string{"none", "None", "nOnE", "HS256", "HS512", "RS256", "ES256", "PS384", "hs384", ""} {
		try("J01", "alg "+alg, header("alg", alg), 401)
		try("J01", "alg "+alg+" unsigned", unsigned(header("alg", alg)), 401)
	}
	for name, exp := range map[string]any{"missing": nil, "0": 0, "-1": -1, "string": "9999999999", "1e300": 1e300, "past": time.Now().Unix() - 60} {
		try("J02", "exp "+name, claim("exp", exp), 401)
	}
	for name, iss := range map[string]any{"missing": nil, "array": []string{"com.smarth"}, "case": "COM.SMARTH", "suffix": "com.smarth.evil"} {
		try("J04", "iss "+name, claim("iss", iss), 401)
	}
	for name, value := range map[string]any{
		"kid": "../../dev/null", "jku": "http://" + s.evil + "/", "x5u": "http://" + s.evil + "/", "jwk": map[string]string{"kty": "oct", "k": "AAAA"},
	} {
		try("J06", name+" is ignored", header(name, value), 200)
	}
	try("J06", "crit", header("crit", []string{"exp"}), 401)
	try("J07", "nbf in the future", claim("nbf", time.Now().Unix()+60), 401)
	try("J07", "iat in the future", claim("iat", time.Now().Unix()+60), 401)
	try("J07", "within the leeway", claim("nbf", time.Now().Unix()+5), 200)
	good := s.token
	head, signature := good[:strings.LastIndexByte(good, '.')+1], good[strings.LastIndexByte(good, '.')+1:]
	try("J10", "cut signature", good[:len(good)-4], 401)
	try("J10", "no signature", head, 401)
	try("J10", "another's signature", head+mint("2", time.Hour)[strings.LastIndexByte(mint("2", time.Hour), '.')+1:], 401)
	try("J10", "first letter", head+string(signature[0]^1)+signature[1:], 401)
	try("J11", "dots", strings.Repeat(".", 15<<10), 401)
	try("J11", "deep claims", claim("deep", nest(1000)), 200) // no rule reads it, and the header's length bounds it
	try("J12", "expired and forged", mint("1", -time.Hour)[:40]+mint("1", -time.Hour)[41:], 401)
	try("", "empty", "", 401)
	try("", "padded", good+"=", 401)
	try("", "spaces", good[:10]+" "+good[10:], 401)
	attacks = append(attacks,
		attack{name: "two Authorization headers", send: s.member("GET", "/v1/info", "Authorization: Bearer "+s.token), want: []int{401}},
		attack{name: "no token", send: message("GET", "/v1/info"), want: []int{401}, look: expectHeader("Www-Authenticate", "Bearer")},
		attack{name: "token in the query", send: message("GET", "/v1/info?access_token="+s.token), want: []int{401}},
		attack{name: "token in a cookie", send: message("GET", "/v1/info", "Cookie: token="+s.token), want: []int{401}},
		attack{row: "J11", name: "a header of 1 MiB", send: message("GET", "/v1/info", "Authorization: Bearer "+strings.Repeat(".", 1<<20)), want: []int{431}, closes: true},
	)
	s.play(t, attacks)
	s.retired(t)
}

// unsigned returns the token without its signature.
func unsigned(token string) string { return token[:strings.LastIndexByte(token, '.')+1] }

// nest returns arrays within arrays, depth levels deep.
func nest(depth int) any {
	var v any = []any{}
	for range depth {
		v = []any{v}
	}
	return v
}

// A secret that is too short for its algorithm stops the start: the catalogue's row J14. A newline at the end of a file isn't part of
// the secret, and base64: is decoded, as docs/settings.md says.
func TestSecretTooShortToSignWithStopsTheStart(t *testing.T) {
	stands, redis := newStands(t), newRedis(t)
	secret := stands.Glory.Secret()
	for name, bad := range map[string]string{
		"one byte": "k", "47 bytes": strings.Repeat("k", 47), "47 bytes and a newline": strings.Repeat("k", 47) + "\n", "a good one and an empty one": secret + ",",
		"base64 of 47 bytes": "base64:" + base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 47))), "no base64": "base64:%" + secret,
	} {
		t.Run(name, func(t *testing.T) {
			err := run(t.Context(), []string{"serve"}, settings(stands, redis.Addr, "GLORY_JWT_SECRETS="+bad), io.Discard, io.Discard)
			if err == nil || exitStatus(err) != 2 || !strings.Contains(err.Error(), "GLORY_JWT_SECRETS") || strings.Contains(err.Error(), secret) {
				t.Errorf("it ends with %v", err)
			}
		})
	}
	empty := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	own := settings(stands, redis.Addr, "GLORY_JWT_SECRETS=", "GLORY_JWT_SECRETS_FILE="+empty)
	if err := run(t.Context(), []string{"serve"}, own, io.Discard, io.Discard); exitStatus(err) != 2 {
		t.Errorf("an empty file: it ends with %v", err)
	}
	for name, good := range map[string]string{
		"newline at the end": secret + "\n", "base64": "base64:" + base64.StdEncoding.EncodeToString([]byte(secret)),
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "secret")
			if err := os.WriteFile(file, []byte(good), 0o600); err != nil {
				t.Fatal(err)
			}
			r, client := startReplica(t, settings(stands, redis.Addr, "GLORY_JWT_SECRETS=", "GLORY_JWT_SECRETS_FILE="+file)), newClient(t)
			token := stands.Glory.MintToken("1", time.Hour)
			get(t, client, r.url+"/v1/info", token).want(t, 200)
			// A token signed with an empty key is refused.
			input := token[:strings.LastIndexByte(token, '.')]
			mac := hmac.New(sha512.New384, nil)
			mac.Write([]byte(input))
			get(t, client, r.url+"/v1/info", input+"."+base64.RawURLEncoding.EncodeToString(mac.Sum(nil))).want(t, 401)
		})
	}
}
