package bridge

// The form of a member token: one Authorization header with one compact JWT, which can be read in one way only.

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestExactlyOneBearerHeaderCounts(t *testing.T) {
	long := strings.Repeat("a", maxAuthorization-len("Bearer "))
	for _, tt := range []struct {
		rule    string
		headers []string
		token   string
		err     error
	}{
		{"none", nil, "", ErrNoMemberToken},
		{"one", []string{"Bearer a.b.c"}, "a.b.c", nil},
		{"lower case", []string{"bearer a.b.c"}, "a.b.c", nil},
		{"any case", []string{"bEaReR a.b.c"}, "a.b.c", nil},
		{"more spaces (RFC 9110 §11.4)", []string{"Bearer   a.b.c"}, "a.b.c", nil},
		{"two", []string{"Bearer a.b.c", "Bearer a.b.c"}, "", ErrMemberToken},
		{"two schemes", []string{"Bearer a.b.c", "Basic a"}, "", ErrMemberToken},
		{"two, one of them empty", []string{"", "Bearer a.b.c"}, "", ErrMemberToken},
		{"another scheme", []string{"Basic a.b.c"}, "", ErrNoMemberToken},
		{"another scheme that begins alike", []string{"Bearers a.b.c"}, "", ErrNoMemberToken},
		{"no scheme", []string{"a.b.c"}, "", ErrNoMemberToken},
		{"empty", []string{""}, "", ErrNoMemberToken},
		{"a tab for the space", []string{"Bearer\ta.b.c"}, "", ErrNoMemberToken},
		{"no token", []string{"Bearer"}, "", nil},
		{"no token but a space", []string{"Bearer "}, "", nil},
		{"8 KiB", []string{"Bearer " + long}, long, nil},
		{"over 8 KiB", []string{"Bearer " + long + "a"}, "", ErrMemberToken},
		{"over 8 KiB of another scheme", []string{"Basic " + long + "aa"}, "", ErrMemberToken},
		{"a megabyte of dots", []string{"Bearer " + strings.Repeat(".", 1<<20)}, "", ErrMemberToken},
	} {
		token, err := bearer(tt.headers)
		if !errors.Is(err, tt.err) || token != tt.token {
			t.Errorf("%s: %.20q, %v; want %.20q, %v", tt.rule, token, err, tt.token, tt.err)
		}
	}
}

// malformed returns texts that aren't JWTs by their form.
func malformed() map[string]string {
	h, c, s := segment(hs384), segment(claims()), "c2ln"
	return map[string]string{
		"empty": "", "dots": "..", "no signature": h + "." + c + ".", "no dot": h, "one dot": h + "." + c, "three dots": h + "." + c + "." + s + ".",
		"five parts, as of a JWE": h + "." + c + "." + s + "." + s + "." + s, "no header": "." + c + "." + s, "no claims": h + ".." + s,
		"padded header": h + "==." + c + "." + s, "padded signature": h + "." + c + "." + s + "=",
		"standard alphabet": h + "." + c + ".a+/b", "LF in the signature": h + "." + c + ".c2\nln", "CR LF in the claims": h + "." + c[:8] + "\r\n" + c[8:] + "." + s,
		"LF in the header": h[:4] + "\n" + h[4:] + "." + c + "." + s, "LF at the end": h + "." + c + "." + s + "\n", "space": h + " ." + c + "." + s,
		"trailing bits": h + "." + c + ".c2l", "trailing bits of the last byte": h + "." + c + ".c3", "a lone character": h + "." + c + ".c2lnY",
		"header is no object": segment(`["HS384"]`) + "." + c + "." + s, "header is null": segment("null") + "." + c + "." + s,
		"header is a string": segment(`"HS384"`) + "." + c + "." + s, "header is empty text": segment(" ") + "." + c + "." + s,
		"claims are no object": h + "." + segment("[]") + "." + s, "claims are a number": h + "." + segment("1") + "." + s, "claims are null": h + "." + segment("null") + "." + s,
		"claims are cut": h + "." + segment(`{"sub":"2"`) + "." + s, "text after the claims": h + "." + segment(`{"sub":"2"} {}`) + "." + s, "garbage after the claims": h + "." + segment(`{}x`) + "." + s,
		"NUL after the claims": h + "." + segment("{}\x00") + "." + s, "a comma too many": h + "." + segment(`{"sub":"2",}`) + "." + s, "single quotes": h + "." + segment(`{'sub':'2'}`) + "." + s,
		"comment": h + "." + segment(`{/**/"sub":"2"}`) + "." + s, "byte order mark": h + "." + segment("\ufeff{}") + "." + s, "not JSON": h + "." + segment("sub=2") + "." + s,
		"duplicate alg": segment(`{"alg":"HS384","alg":"none"}`) + "." + c + "." + s, "duplicate iss": h + "." + segment(`{"iss":"x","iss":"com.smarth"}`) + "." + s,
		"duplicate by escape": h + "." + segment(`{"iss":"x","\u0069ss":"com.smarth"}`) + "." + s, "duplicate of the same value": h + "." + segment(`{"sub":"2","sub":"2"}`) + "." + s,
		"duplicate within": h + "." + segment(`{"a":{"b":1,"b":2}}`) + "." + s, "duplicate in a list": h + "." + segment(`{"a":[1,[{"b":1,"b":2}]]}`) + "." + s,
		"crit": segment(`{"alg":"HS384","crit":["exp"]}`) + "." + c + "." + s, "empty crit": segment(`{"alg":"HS384","crit":[]}`) + "." + c + "." + s, "crit of null": segment(`{"alg":"HS384","crit":null}`) + "." + c + "." + s,
		"15 KiB of dots": strings.Repeat(".", 15<<10), "a flood of dots": h + strings.Repeat(".", 8000),
	}
}

func TestMalformedTokenIsNone(t *testing.T) {
	for rule, raw := range malformed() {
		if _, err := parseMemberToken(raw); !errors.Is(err, ErrMemberToken) {
			t.Errorf("%s: %v", rule, err)
		}
	}
}

// A malformed token causes no call: not of Glory, not of the vault, not of the token cache.
func TestNobodyIsCalledForAMalformedToken(t *testing.T) {
	o := options(t, mustParse("http://glory.invalid"))
	o.Glory = roundTrip(func(string) (int, error) {
		t.Error("Glory was called")
		return 200, nil
	})
	vault := &fakeVault{}
	o.Verdicts = vault
	b := newBridge(t, o)
	for rule, raw := range malformed() {
		if _, err := ask(b, raw); !errors.Is(err, ErrMemberToken) {
			t.Errorf("%s: %v", rule, err)
		}
	}
	for _, headers := range [][]string{nil, {"Basic a"}, {"Bearer " + good(), "Bearer " + good()}, {"Bearer " + good() + strings.Repeat("a", 8<<10)}} {
		if _, err := b.Authenticate(context.Background(), headers); err == nil {
			t.Errorf("%.40q is admitted", headers)
		}
	}
	if asked := vault.asked(); asked != "" {
		t.Errorf("the fleet's memory was asked: %s", asked)
	}
}

func TestWellFormedTokenIsRead(t *testing.T) {
	raw := signed(secretA, `{"alg":"HS384","kid":"../../dev/null"}`, `{"sub":"2","iss":"i","n":12345678901234567890,"deep":[{"a":[]}],"SUB":"3"}`)
	token, err := parseMemberToken(raw)
	if err != nil {
		t.Fatal(err)
	}
	member := newKnown(token, time.Time{}).member(raw, token.digest)
	if member.Subject != "2" || member.Issuer != "i" || member.Claims()["n"] != json.Number("12345678901234567890") || token.header["alg"] != "HS384" {
		t.Errorf("%+v, %v", member, token.header)
	}
	other, _ := parseMemberToken(good())
	if token.digest == other.digest {
		t.Error("two tokens have one digest")
	}
}

func TestMemberOfOddClaims(t *testing.T) {
	for _, text := range []string{`{}`, `{"sub":2,"iss":["com.smarth"]}`, `{"sub":null,"iss":{}}`, `{"Sub":"2","ISS":"x"}`} {
		token, err := parseMemberToken(signed(secretA, hs384, text))
		if member := newKnown(token, time.Time{}).member("", token.digest); err != nil || member.Subject != "" || member.Issuer != "" {
			t.Errorf("%s: %+v, %v", text, member, err)
		}
	}
}

func TestNumericDate(t *testing.T) {
	for text, want := range map[string]string{
		`{}`: "none", `{"exp":0}`: "1970-01-01T00:00:00Z", `{"exp":1.5}`: "1970-01-01T00:00:01.5Z", `{"exp":1e3}`: "1970-01-01T00:16:40Z",
		`{"exp":253402300799}`: "9999-12-31T23:59:59Z", `{"exp":253402300800}`: "error", `{"exp":-1}`: "error", `{"exp":1e300}`: "error",
		`{"exp":1e999}`: "error", `{"exp":-1e999}`: "error", `{"exp":"1"}`: "error", `{"exp":""}`: "error", `{"exp":null}`: "error", `{"exp":true}`: "error",
		`{"exp":[1]}`: "error", `{"exp":{}}`: "error", `{"Exp":1}`: "none",
	} {
		object, err := StrictObject([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		at, ok, err := numericDate(object, "exp")
		got := at.UTC().Format(time.RFC3339Nano)
		switch {
		case err != nil:
			got = "error"
		case !ok:
			got = "none"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func FuzzParseMemberToken(f *testing.F) {
	f.Add(good())
	for _, raw := range malformed() {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		token, err := parseMemberToken(raw)
		if err != nil {
			if !errors.Is(err, ErrMemberToken) {
				t.Errorf("%q: %v", raw, err)
			}
			return
		}
		// Read the token again without our code. Each part must be in its only valid spelling.
		parts := strings.Split(raw, ".")
		if len(parts) != 3 || strings.ContainsAny(raw, "=+/\r\n ") {
			t.Fatalf("%q was taken", raw)
		}
		for i, want := range []map[string]any{token.header, token.claims} {
			text, err := base64.RawURLEncoding.DecodeString(parts[i])
			if err != nil || base64.RawURLEncoding.EncodeToString(text) != parts[i] {
				t.Fatalf("%q: part %d has another spelling", raw, i)
			}
			decoder := json.NewDecoder(strings.NewReader(string(text)))
			decoder.UseNumber()
			var got map[string]any
			if err := decoder.Decode(&got); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%q: part %d is %v for encoding/json, %v here (%v)", raw, i, got, want, err)
			}
		}
		if _, there := token.header["crit"]; there {
			t.Errorf("%q has crit", raw)
		}
	})
}
