package bridge

// Verification in process (RFC 8725): the settings decide which algorithms and keys count, and the token doesn't.

import (
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"roomgate/internal/secret"
)

// localBridge returns a Bridge that verifies with secretA and calls nobody.
func localBridge(t *testing.T, change ...func(*LocalVerification)) *Bridge {
	o := options(t, mustParse("http://glory.invalid"))
	o.Local = LocalVerification{
		Secrets: []secret.Value{secret.New(secretA)}, Algorithms: []string{"HS384"}, Issuer: "com.smarth", Leeway: 10 * time.Second,
	}
	o.Glory = roundTrip(func(string) (int, error) {
		t.Error("Glory was called")
		return 200, nil
	})
	for _, f := range change {
		f(&o.Local)
	}
	return newBridge(t, o)
}

func TestGlorysTokenIsAdmitted(t *testing.T) {
	s := upstreams(t)
	member, err := ask(localBridge(t), s.Glory.MintToken("2", time.Hour))
	if err != nil || member.Subject != "2" || member.Issuer != "com.smarth" || member.Claims()["loginChannel"] != "id_pw" {
		t.Errorf("%+v, %v", member, err)
	}
}

func TestForgedTokenIsRefused(t *testing.T) {
	b := localBridge(t)
	if _, err := ask(b, good()); err != nil {
		t.Fatal(err) // otherwise the cases below mean nothing
	}
	other := strings.Split(good("sub", "other"), ".")
	parts := strings.Split(good(), ".")
	for rule, raw := range map[string]string{
		"none":                     segment(`{"alg":"none"}`) + "." + parts[1] + ".",
		"none, signed":             signed(secretA, `{"alg":"none"}`, claims()),
		"None":                     signed(secretA, `{"alg":"None"}`, claims()),
		"NONE":                     signed(secretA, `{"alg":"NONE"}`, claims()),
		"nOnE":                     signed(secretA, `{"alg":"nOnE"}`, claims()),
		"HS256":                    signed(secretA, `{"alg":"HS256"}`, claims(), hs256),
		"HS512":                    signed(secretA, `{"alg":"HS512"}`, claims(), hs512),
		"HS256 that says HS384":    signed(secretA, hs384, claims(), hs256),
		"RS256":                    signed(secretA, `{"alg":"RS256"}`, claims()),
		"ES384":                    signed(secretA, `{"alg":"ES384"}`, claims()),
		"PS384":                    signed(secretA, `{"alg":"PS384"}`, claims()),
		"lower case":               signed(secretA, `{"alg":"hs384"}`, claims()),
		"no algorithm":             signed(secretA, `{}`, claims()),
		"ALG":                      signed(secretA, `{"ALG":"HS384"}`, claims()),
		"algorithm of null":        signed(secretA, `{"alg":null}`, claims()),
		"list of algorithms":       signed(secretA, `{"alg":["HS384"]}`, claims()),
		"algorithm with a space":   signed(secretA, `{"alg":"HS384 "}`, claims()),
		"another secret":           signed(secretB, hs384, claims()),
		"no secret":                signed("", hs384, claims()),
		"secret with a line end":   signed(secretA+"\n", hs384, claims()),
		"signature of another":     parts[0] + "." + parts[1] + "." + other[2],
		"claims of another":        parts[0] + "." + other[1] + "." + parts[2],
		"signature cut to 24":      parts[0] + "." + parts[1] + "." + parts[2][:32],
		"signature cut to 47":      parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(decoded(parts[2])[:47]),
		"signature and a byte":     parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(append(decoded(parts[2]), 0)),
		"header of another":        segment(`{"alg":"HS384","typ":"JWT"}`) + "." + parts[1] + "." + parts[2],
		"an embedded key":          signed(secretB, `{"alg":"HS384","jwk":{"kty":"oct","k":"`+segment(secretB)+`"}}`, claims()),
		"b64 that is not critical": signed(secretB, `{"alg":"HS384","b64":false}`, claims()),
	} {
		if member, err := ask(b, raw); !errors.Is(err, ErrMemberToken) || member.Subject != "" {
			t.Errorf("%s: %+v, %v", rule, member, err)
		}
	}
}

func decoded(part string) []byte {
	text, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		panic(err)
	}
	return text
}

func TestEveryBitOfTheSignatureCounts(t *testing.T) {
	b := localBridge(t)
	parts := strings.Split(good(), ".")
	signature := decoded(parts[2])
	for bit := range 8 * sha512.Size384 {
		forged := append([]byte(nil), signature...)
		forged[bit/8] ^= 1 << (bit % 8)
		if _, err := ask(b, parts[0]+"."+parts[1]+"."+base64.RawURLEncoding.EncodeToString(forged)); !errors.Is(err, ErrMemberToken) {
			t.Errorf("bit %d: %v", bit, err)
		}
	}
}

func TestHeaderNamesNoKey(t *testing.T) {
	b := localBridge(t)
	reached := scripted(t, nil)
	for _, header := range []string{
		`{"alg":"HS384","kid":"../../dev/null"}`, `{"alg":"HS384","kid":"' OR 1=1 --"}`, `{"alg":"HS384","kid":"` + strings.Repeat("k", 3000) + `"}`,
		`{"alg":"HS384","jku":"` + reached.String() + `"}`, `{"alg":"HS384","x5u":"` + reached.String() + `"}`, `{"alg":"HS384","cty":"JWT"}`,
		`{"alg":"HS384","zip":"DEF"}`, `{"alg":"HS384","typ":"at+jwt"}`, `{"typ":"JWT","alg":"HS384"}`, `{"alg":"HS384","jwk":{"kty":"oct","k":"AA"}}`,
	} {
		if _, err := ask(b, signed(secretA, header, claims())); err != nil {
			t.Errorf("%.60s: %v", header, err)
		}
	}
}

func TestClaimsAreRequired(t *testing.T) {
	b := localBridge(t)
	for _, tt := range []struct {
		claim, value string // JSON; "": left out
		admitted     bool
	}{
		{"exp", ``, false}, {"exp", `null`, false}, {"exp", `0`, false}, {"exp", `-1`, false}, {"exp", `"4102444800"`, false}, {"exp", `1e300`, false},
		{"exp", `253402300800`, false}, {"exp", `true`, false}, {"exp", `[4102444800]`, false}, {"exp", `{}`, false}, {"exp", `1600000000`, false},
		{"exp", `4102444800`, true}, {"exp", `4102444800.5`, true}, {"exp", `4.1024448e9`, true},
		{"nbf", ``, true}, {"nbf", `1600000000`, true}, {"nbf", `4102444800`, false}, {"nbf", `"1600000000"`, false}, {"nbf", `null`, false}, {"nbf", `-1`, false}, {"nbf", `1e300`, false},
		{"iat", ``, true}, {"iat", `1600000000`, true}, {"iat", `4102444800`, false}, {"iat", `"x"`, false}, {"iat", `null`, false}, {"iat", `-1e300`, false}, {"iat", `{}`, false},
		{"iss", ``, false}, {"iss", `null`, false}, {"iss", `""`, false}, {"iss", `"com.smarth.evil"`, false}, {"iss", `"Com.Smarth"`, false},
		{"iss", `"com.smarth "`, false}, {"iss", `["com.smarth"]`, false}, {"iss", `{"com.smarth":1}`, false}, {"iss", `"com.smarth"`, true},
		{"sub", ``, false}, {"sub", `null`, false}, {"sub", `""`, false}, {"sub", `2`, false}, {"sub", `["2"]`, false}, {"sub", `{}`, false}, {"sub", `true`, false}, {"sub", `"2"`, true},
		{"aud", `"anything"`, true}, {"aud", `1`, true}, {"jti", `1`, true},
	} {
		c := map[string]string{"sub": `"2"`, "iss": `"com.smarth"`, "iat": "1600000000", "exp": "4102444800"}
		c[tt.claim] = tt.value
		var text []string
		for name, value := range c {
			if value != "" {
				text = append(text, fmt.Sprintf("%q:%s", name, value))
			}
		}
		_, err := ask(b, signed(secretA, hs384, "{"+strings.Join(text, ",")+"}"))
		if (err == nil) != tt.admitted || err != nil && !errors.Is(err, ErrMemberToken) {
			t.Errorf("%s of %q: %v", tt.claim, tt.value, err)
		}
	}
	// Names are case-sensitive: EXP is another claim than exp.
	if _, err := ask(b, signed(secretA, hs384, `{"Sub":"2","iss":"com.smarth","exp":4102444800}`)); err == nil {
		t.Error("Sub counts as sub")
	}
	if _, err := ask(b, signed(secretA, hs384, `{"sub":"2","iss":"com.smarth","EXP":4102444800}`)); err == nil {
		t.Error("EXP counts as exp")
	}
}

func TestLeewayIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := localBridge(t)
		now := time.Now().Unix()
		for _, tt := range []struct {
			claim    string
			offset   int64
			admitted bool
		}{
			{"exp", 1, true}, {"exp", 0, true}, {"exp", -9, true}, {"exp", -10, false}, {"exp", -11, false},
			{"nbf", 0, true}, {"nbf", 10, true}, {"nbf", 11, false}, {"iat", 0, true}, {"iat", 10, true}, {"iat", 11, false},
		} {
			if _, err := ask(b, good(tt.claim, now+tt.offset)); (err == nil) != tt.admitted {
				t.Errorf("%s at %+d s: %v", tt.claim, tt.offset, err)
			}
		}
		raw := good("exp", now+1)
		time.Sleep(11*time.Second - 1)
		if _, err := ask(b, raw); err != nil {
			t.Errorf("a nanosecond before the end of the leeway: %v", err)
		}
		time.Sleep(time.Nanosecond)
		if _, err := ask(b, raw); !errors.Is(err, ErrMemberToken) {
			t.Errorf("at the end of the leeway: %v", err)
		}
	})
}

// An app renews an expired token. With any other error it logs out.
func TestExpiredIsToldWhereThatAloneIsWrong(t *testing.T) {
	b := localBridge(t)
	past, future := `1600000000`, `4102444800`
	for text, expired := range map[string]bool{
		signed(secretA, hs384, `{"sub":"2","iss":"com.smarth","exp":`+past+`}`):                    true,
		signed(secretA, hs384, `{"sub":"2","iss":"com.smarth","iat":1500000000,"exp":`+past+`}`):   true,
		signed(secretB, hs384, `{"sub":"2","iss":"com.smarth","exp":`+past+`}`):                    false,
		signed(secretA, hs384, `{"sub":"2","iss":"other","exp":`+past+`}`):                         false,
		signed(secretA, hs384, `{"iss":"com.smarth","exp":`+past+`}`):                              false,
		signed(secretA, hs384, `{"sub":"2","iss":"com.smarth","nbf":`+future+`,"exp":`+past+`}`):   false,
		signed(secretA, hs384, `{"sub":"2","iss":"com.smarth","iat":`+future+`,"exp":`+past+`}`):   false,
		signed(secretA, hs384, `{"sub":"2","iss":"com.smarth","nbf":"x","exp":`+past+`}`):          false,
		signed(secretA, hs384, `{"sub":"2","iss":"com.smarth","exp":-1}`):                          false,
		signed(secretA, hs384, `{"sub":"2","iss":"com.smarth"}`):                                   false,
		signed(secretA, hs384, `{"sub":"2","iss":"com.smarth","nbf":`+future+`,"exp":`+future+`}`): false,
	} {
		for range 2 { // an invalid token isn't remembered
			if _, err := ask(b, text); !errors.Is(err, ErrMemberToken) || errors.Is(err, ErrExpired) != expired {
				t.Errorf("%s: %v", decoded(strings.Split(text, ".")[1]), err)
			}
		}
	}
	remote := remoteBridge(t, func(string) (int, error) {
		t.Error("Glory was called")
		return 200, nil
	})
	if _, err := ask(remote, signed(secretB, hs384, `{"sub":"2","exp":`+past+`}`)); !errors.Is(err, ErrExpired) {
		t.Errorf("where Glory is asked: %v", err)
	}
}

func TestLeewayMayBeNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := localBridge(t, func(v *LocalVerification) { v.Leeway = 0 })
		now := time.Now().Unix()
		for claim, admitted := range map[string][2]bool{"exp": {false, true}, "nbf": {true, false}, "iat": {true, false}} {
			for i, want := range admitted {
				if _, err := ask(b, good(claim, now+int64(i))); (err == nil) != want {
					t.Errorf("%s at +%d s: %v", claim, i, err)
				}
			}
		}
	})
}

func TestSecretsAreRotated(t *testing.T) {
	both := func(v *LocalVerification) {
		v.Secrets = []secret.Value{secret.New(secretB), secret.New(secretA)}
	}
	onlyNew := func(v *LocalVerification) { v.Secrets = []secret.Value{secret.New(secretB)} }
	old, fresh := good(), signed(secretB, hs384, claims())
	for _, raw := range []string{old, fresh} {
		if _, err := ask(localBridge(t, both), raw); err != nil {
			t.Error(err)
		}
	}
	b := localBridge(t, onlyNew)
	if _, err := ask(b, old); !errors.Is(err, ErrMemberToken) {
		t.Errorf("the old secret still counts: %v", err)
	}
	if _, err := ask(b, fresh); err != nil {
		t.Error(err)
	}
	if _, err := ask(localBridge(t, both), signed(secretA+secretB, hs384, claims())); err == nil {
		t.Error("a third secret counts")
	}
}

func TestAlgorithmsComeFromTheSettings(t *testing.T) {
	b := localBridge(t, func(v *LocalVerification) { v.Algorithms = []string{"HS256", "HS512"} })
	long := strings.Repeat("a", 48)
	for raw, admitted := range map[string]bool{
		signed(long, `{"alg":"HS256"}`, claims(), hs256): true, signed(long, `{"alg":"HS512"}`, claims(), hs512): true, good(): false,
		signed(long, `{"alg":"HS256"}`, claims(), hs512): false,
	} {
		if _, err := ask(b, raw); (err == nil) != admitted {
			t.Errorf("%.30s: %v", raw, err)
		}
	}
}

func TestAnyIssuer(t *testing.T) {
	b := localBridge(t, func(v *LocalVerification) { v.Issuer = "" })
	for _, iss := range []any{"x", nil, ""} {
		if _, err := ask(b, good("iss", iss)); err != nil {
			t.Errorf("iss %v: %v", iss, err)
		}
	}
}

// Errors are logged, and a token that is invalid here may be valid elsewhere.
func TestErrorsRepeatNoToken(t *testing.T) {
	b := localBridge(t)
	for _, raw := range []string{
		signed(secretB, hs384, claims("CANARY", "CANARY")), good("iss", "CANARY"),
		signed(secretA, hs384, `{"CANARY":1,"CANARY":2}`), good("exp", "CANARY"), "CANARY", good() + "CANARY",
	} {
		_, err := ask(b, raw)
		if err == nil || strings.Contains(err.Error(), "CANARY") || strings.Contains(err.Error(), raw) {
			t.Errorf("%v", err)
		}
	}
}
