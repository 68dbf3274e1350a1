package bridge

// Vectors for the verification in process, after RFC 8725, in the manner of Wycheproof's tests of JSON web signatures. Each is made here,
// with the algorithm and the secret that Glory uses, and is either valid or invalid.

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"strings"
	"testing"
)

// vectors are tokens by what is odd about them.
type vectors map[string]string

// want checks that each vector is admitted, or that each is refused. It also checks that a good token is admitted: otherwise a refusal
// means nothing.
func (v vectors) want(t *testing.T, admitted bool) {
	t.Helper()
	b := localBridge(t)
	if _, err := ask(b, good()); err != nil {
		t.Fatal(err)
	}
	for rule, raw := range v {
		member, err := ask(b, raw)
		if (err == nil) != admitted {
			t.Errorf("%s: %v", rule, err)
		}
		if err != nil && (!errors.Is(err, ErrMemberToken) || member.Subject != "" || member.Claims() != nil) {
			t.Errorf("%s: %+v, %v", rule, member, err)
		}
	}
}

func b64(text []byte) string { return base64.RawURLEncoding.EncodeToString(text) }

// withSignature returns a token of header and claims, with the signature that sign makes for both.
func withSignature(header string, sign func(input []byte) []byte) string {
	input := segment(header) + "." + segment(claims())
	return input + "." + b64(sign([]byte(input)))
}

func mac(h func() hash.Hash, key string) func([]byte) []byte {
	return func(input []byte) []byte {
		m := hmac.New(h, []byte(key))
		m.Write(input)
		return m.Sum(nil)
	}
}

// RFC 8725 §3.1: the settings choose the algorithm, and the key is used with no other.
func TestVectorsAlgorithm(t *testing.T) {
	v := vectors{}
	right := mac(sha512.New384, secretA)
	for n := range 1 << len("none") { // every mix of upper and lower case
		name := []byte("none")
		for i := range name {
			if n>>i&1 == 1 {
				name[i] -= 'a' - 'A'
			}
		}
		header := fmt.Sprintf(`{"alg":%q}`, name)
		v[string(name)+" unsigned"] = segment(header) + "." + segment(claims()) + "."
		v[string(name)+" without the last dot"] = segment(header) + "." + segment(claims())
		v[string(name)+" signed"] = withSignature(header, right)
		v[string(name)+" with any signature"] = withSignature(header, func([]byte) []byte { return []byte("x") })
	}
	for _, alg := range []string{
		"", " ", "HS", "hs384", "Hs384", "HS384 ", " HS384", "HS-384", "HS384\u0000", "HS38", "HS3840", "HS256", "HS512", "HS1", "SHA384", "HMACSHA384", "RS256", "RS384",
		"RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "ES256K", "EdDSA", "Ed25519", "dir", "A256KW", "A128GCM", "PBES2-HS384+A192KW", "ＨＳ３８４",
	} {
		name, _ := json.Marshal(alg)
		v["signed as HS384, called "+alg] = withSignature(`{"alg":`+string(name)+`}`, right)
	}
	for value, text := range map[string]string{
		"null": `null`, "number": `384`, "bool": `true`, "list": `["HS384"]`, "object": `{"HS384":true}`, "nested": `{"alg":"HS384"}`,
	} {
		v["alg is a "+value] = withSignature(`{"alg":`+text+`}`, right)
	}
	for rule, header := range map[string]string{
		"no alg": `{"typ":"JWT"}`, "empty header": `{}`, "ALG": `{"ALG":"HS384"}`, "Alg": `{"Alg":"HS384"}`, "alg with a space": `{"alg ":"HS384"}`,
		"alg within another": `{"x":{"alg":"HS384"}}`, "enc for alg": `{"enc":"HS384"}`,
	} {
		v[rule] = withSignature(header, right)
	}
	v.want(t, false)
}

// Other hash lengths, under their own name or under HS384, with the key of HS384.
func TestVectorsHash(t *testing.T) {
	v := vectors{}
	for name, h := range map[string]func() hash.Hash{
		"SHA-1": sha1.New, "SHA-224": sha256.New224, "SHA-256": sha256.New, "SHA-512": sha512.New, "SHA-512/224": sha512.New512_224, "SHA-512/256": sha512.New512_256,
		"SHA3-384": func() hash.Hash { return sha3.New384() },
	} {
		for _, alg := range []string{"HS256", "HS384", "HS512"} {
			v[name+" as "+alg] = withSignature(`{"alg":"`+alg+`"}`, mac(h, secretA))
		}
	}
	v["SHA-512 cut to 48 bytes"] = withSignature(hs384, func(in []byte) []byte { return mac(sha512.New, secretA)(in)[:48] })
	v["SHA-384 without a key"] = withSignature(hs384, func(in []byte) []byte { sum := sha512.Sum384(in); return sum[:] })
	v["SHA-384 of key and text"] = withSignature(hs384, func(in []byte) []byte { sum := sha512.Sum384(append([]byte(secretA), in...)); return sum[:] })
	for name, key := range map[string]string{
		"empty key": "", "another key": secretB, "key in base64": base64.StdEncoding.EncodeToString([]byte(secretA)), "key and LF": secretA + "\n", "key cut": secretA[:47],
		"hash of the key": string(mac(sha512.New384, secretA)(nil)), "key of NULs": strings.Repeat("\x00", 48), "the name of the algorithm": "HS384", "issuer": "com.smarth",
	} {
		v["signed with "+name] = withSignature(hs384, mac(sha512.New384, key))
	}
	v.want(t, false)
	// HMAC pads keys shorter than its block with NULs. So this is the same key, not another secret.
	vectors{"key with a NUL after it": withSignature(hs384, mac(sha512.New384, secretA+"\x00"))}.want(t, true)
}

// Signatures of other kinds, valid under a key that is in the token itself.
func TestVectorsEmbeddedKey(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	digest := func(in []byte) []byte { sum := sha512.Sum384(in); return sum[:] }
	signRSA := func(in []byte) []byte { s, _ := rsa.SignPKCS1v15(nil, rsaKey, crypto.SHA384, digest(in)); return s }
	signPSS := func(in []byte) []byte {
		s, _ := rsa.SignPSS(rand.Reader, rsaKey, crypto.SHA384, digest(in), nil)
		return s
	}
	signEC := func(in []byte) []byte {
		r, s, _ := ecdsa.Sign(rand.Reader, ecKey, digest(in))
		return append(r.FillBytes(make([]byte, 48)), s.FillBytes(make([]byte, 48))...)
	}
	jwkRSA := fmt.Sprintf(`"jwk":{"kty":"RSA","n":%q,"e":"AQAB"}`, b64(rsaKey.N.Bytes()))
	jwkOct := fmt.Sprintf(`"jwk":{"kty":"oct","alg":"HS384","k":%q}`, b64([]byte(secretB)))
	v := vectors{
		"RS384": withSignature(`{"alg":"RS384",`+jwkRSA+`}`, signRSA), "RS384 called HS384": withSignature(`{"alg":"HS384",`+jwkRSA+`}`, signRSA),
		"PS384": withSignature(`{"alg":"PS384",`+jwkRSA+`}`, signPSS), "ES384": withSignature(`{"alg":"ES384"}`, signEC), "ES384 called HS384": withSignature(hs384, signEC),
		"ES384 of zeros":          withSignature(`{"alg":"ES384"}`, func([]byte) []byte { return make([]byte, 96) }),
		"EdDSA":                   withSignature(`{"alg":"EdDSA","jwk":{"kty":"OKP","crv":"Ed25519","x":"`+b64(public)+`"}}`, func(in []byte) []byte { return ed25519.Sign(edKey, in) }),
		"HS384, own key":          withSignature(`{"alg":"HS384",`+jwkOct+`}`, mac(sha512.New384, secretB)),
		"HS384 under the modulus": withSignature(`{"alg":"HS384",`+jwkRSA+`}`, mac(sha512.New384, string(rsaKey.N.Bytes()))),
	}
	v.want(t, false)
	// If the signature is Glory's, what the header says about keys doesn't matter.
	admitted := vectors{}
	for _, field := range []string{
		jwkRSA, jwkOct, `"jwk":null`, `"jwk":1`, `"kid":"../../../dev/null"`, `"kid":"' OR '1'='1"`, `"kid":7`, `"kid":null`, `"kid":"\u0000"`, `"jku":"http://127.0.0.1:1/keys"`,
		`"x5u":"file:///etc/passwd"`, `"x5c":["AA"]`, `"x5t":"AA"`, `"x5t#S256":"AA"`, `"typ":"JWT"`, `"typ":"jwt"`, `"typ":"at+jwt"`, `"typ":"JOSE"`, `"typ":7`, `"cty":"JWT"`,
		`"zip":"DEF"`, `"b64":true`, `"b64":false`, `"exp":1`, `"iss":"x"`, `"enc":"A128GCM"`, `"ALG":"none"`, `"Crit":["x"]`, `"x":{"alg":"none"}`, `"x":[[[[[]]]]]`,
		`"p":"` + strings.Repeat("x", 4000) + `"`, `"":""`,
	} {
		admitted[field] = withSignature(`{"alg":"HS384",`+field+`}`, mac(sha512.New384, secretA))
		admitted["first: "+field] = withSignature(`{`+field+`,"alg":"HS384"}`, mac(sha512.New384, secretA))
	}
	admitted["name by escapes"] = withSignature(`{"\u0061\u006cg":"\u0048S384"}`, mac(sha512.New384, secretA))
	admitted["white space"] = withSignature(" {\r\n\t\"alg\" : \"HS384\" } \n", mac(sha512.New384, secretA))
	admitted.want(t, true)
}

func TestVectorsSignature(t *testing.T) {
	parts := strings.Split(good(), ".")
	signature, v := decoded(parts[2]), vectors{}
	put := func(rule string, s []byte) { v[rule] = parts[0] + "." + parts[1] + "." + b64(s) }
	for bit := range 8 * len(signature) {
		s := append([]byte(nil), signature...)
		s[bit/8] ^= 1 << (bit % 8)
		put(fmt.Sprint("bit ", bit), s)
	}
	for n := range signature {
		put(fmt.Sprint("its first bytes ", n), signature[:n])
		put(fmt.Sprint("its last bytes ", n), signature[len(signature)-n:])
		s := append([]byte(nil), signature...)
		s[n] = ^s[n]
		put(fmt.Sprint("byte inverted ", n), s)
	}
	for n := 1; n <= 80; n++ {
		put(fmt.Sprint("NULs after it ", n), append(append([]byte(nil), signature...), make([]byte, n)...))
		put(fmt.Sprint("NULs before it ", n), append(make([]byte, n), signature...))
	}
	put("twice", append(append([]byte(nil), signature...), signature...))
	put("all zero", make([]byte, 48))
	put("all one", []byte(strings.Repeat("\xff", 48)))
	put("of the claims alone", mac(sha512.New384, secretA)([]byte(parts[1])))
	put("of both, decoded", mac(sha512.New384, secretA)([]byte(hs384+"."+claims())))
	put("of both without the dot", mac(sha512.New384, secretA)([]byte(parts[0]+parts[1])))
	put("in hexadecimal", []byte(fmt.Sprintf("%x", signature)))
	put("in base64 twice", []byte(parts[2]))
	v["hexadecimal itself"] = parts[0] + "." + parts[1] + "." + fmt.Sprintf("%x", signature)
	v.want(t, false)
}

// Each part has only one valid spelling. Each odd one gets a valid signature, so that only the spelling is wrong.
func TestVectorsEncoding(t *testing.T) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	// Texts of all three lengths modulo 3, so that every kind of last character occurs.
	headers := []string{`{"alg":"HS384"}`, `{"alg":"HS384" }`, `{"alg":"HS384"  }`}
	for i, header := range headers {
		c := claims() + strings.Repeat(" ", i)
		sign := func(h, c string) [3]string {
			return [3]string{h, c, b64(mac(sha512.New384, secretA)([]byte(h + "." + c)))}
		}
		join := func(p [3]string) string { return strings.Join(p[:], ".") }
		vectors{"as it should be": join(sign(segment(header), segment(c)))}.want(t, true)
		v := vectors{}
		spell := func(rule string, change func(part string) string) {
			v["header "+rule] = join(sign(change(segment(header)), segment(c)))
			v["claims "+rule] = join(sign(segment(header), change(segment(c))))
			p := sign(segment(header), segment(c))
			p[2] = change(p[2])
			v["signature "+rule] = join(p)
		}
		for _, odd := range []string{
			"=", "==", "===", " ", "\t", "\n", "\r", "\r\n", "\v", "\f", "\x00", "+", "/", "%", "%3D", "!", "*", "~", ",", "\\", "\"", "\u00a0", "é", "\ufeff", "A", "AAA=", "\xff",
		} {
			spell(fmt.Sprintf("and %q", odd), func(p string) string { return p + odd })
			spell(fmt.Sprintf("after %q", odd), func(p string) string { return odd + p })
			spell(fmt.Sprintf("around %q", odd), func(p string) string { return p[:5] + odd + p[5:] })
			spell(fmt.Sprintf("with %q in place of a character", odd), func(p string) string {
				at := 5
				for p[at:at+1] == odd {
					at++
				}
				return p[:at] + odd + p[at+1:]
			})
		}
		spell("padded to fours", func(p string) string { return p + strings.Repeat("=", 4-len(p)%4) })
		spell("cut by one", func(p string) string { return p[:len(p)-1] })
		spell("of length 1 modulo 4", func(p string) string { return p[:len(p)/4*4] + "A" })
		for _, last := range alphabet { // non-zero trailing bits, and every other last character
			spell("with last "+string(last), func(p string) string {
				if strings.HasSuffix(p, string(last)) {
					return p + "="
				}
				return p[:len(p)-1] + string(last)
			})
		}
		for rule, raw := range v { // the last byte may be white space and have become another white space: that is a valid token
			h, rest, _ := strings.Cut(raw, ".")
			p, s, _ := strings.Cut(rest, ".")
			if strings.Contains(rule, "with last") && !strings.HasPrefix(rule, "signature") && sane(h) && sane(p) && s == sign(h, p)[2] {
				delete(v, rule)
			}
		}
		delete(v, `signature and " "`) // this space belongs to the Authorization header (RFC 9110 §5.6.3), not to the token
		v.want(t, false)
	}
}

// sane reports whether a part is a JSON object in its only valid spelling.
func sane(part string) bool {
	text, err := base64.RawURLEncoding.DecodeString(part)
	var object map[string]any
	return err == nil && b64(text) == part && json.Unmarshal(text, &object) == nil
}

func TestVectorsParts(t *testing.T) {
	p := strings.Split(good(), ".")
	h, c, s := p[0], p[1], p[2]
	general := fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, c, h, s)
	flat := fmt.Sprintf(`{"payload":%q,"protected":%q,"signature":%q}`, c, h, s)
	vectors{
		"a dot after it": good() + ".", "a dot before it": "." + good(), "a part after it": good() + ".x", "a part before it": "x." + good(), "twice": good() + "." + good(),
		"no signature": h + "." + c, "empty signature": h + "." + c + ".", "no header": c + "." + s, "empty header": "." + c + "." + s, "empty claims": h + ".." + s, "detached": h + ".." + b64(mac(sha512.New384, secretA)([]byte(h+"."+c))),
		"header alone": h, "dots": "..", "nothing": "", "claims and header exchanged": c + "." + h + "." + s, "five parts": h + "." + c + "." + s + "." + s + "." + s,
		"JSON, general": general, "JSON, flattened": flat, "JSON in base64": segment(flat), "JSON in base64, in parts": segment(general) + ".." + s,
		"JSON with a header of its own": strings.TrimSuffix(flat, "}") + `,"header":{"alg":"HS384"}}`, "a list of tokens": `["` + good() + `"]`, "in quotes": `"` + good() + `"`,
		"after a comma": "x," + good(), "two with a comma": good() + "," + good(), "two with a space": good() + " " + good(), "with parameters": good() + "; x=y",
		"colons for dots": strings.ReplaceAll(good(), ".", ":"), "encoded dots": strings.ReplaceAll(good(), ".", "%2E"), "ideographic dots": strings.ReplaceAll(good(), ".", "。"),
		"unencoded claims (RFC 7797)": segment(`{"alg":"HS384","b64":false,"crit":["b64"]}`) + "." + claims() + "." + s, "a token in the claims": signed(secretA, hs384, `"`+good()+`"`),
		"a megabyte": good() + strings.Repeat("A", 1<<20),
	}.want(t, false)
}

func TestVectorsJSON(t *testing.T) {
	v := vectors{}
	for rule, header := range map[string]string{
		"crit": `"crit":["exp"]`, "crit of nothing": `"crit":[]`, "crit of null": `"crit":null`, "crit of b64": `"b64":true,"crit":["b64"]`, "crit of the unknown": `"crit":["x"],"x":1`,
		"crit by escapes": `"\u0063rit":["exp"]`, "crit of text": `"crit":"exp"`, "alg twice": `"alg":"HS384"`, "alg twice, none": `"alg":"none"`, "alg twice by escapes": `"\u0061lg":"HS384"`,
		"kid twice": `"kid":"a","kid":"a"`, "twice within": `"x":{"a":1,"a":1}`, "twice deep within": `"x":[[{"a":[{"b":1,"b":1}]}]]`, "twice of nothing": `"":1,"":1`,
		"a comma too many": `"x":1,`, "no value": `"x":`, "no colon": `"x"`, "a comment": `/**/"x":1`, "single quotes": `'x':1`, "a bare name": `x:1`, "NaN": `"x":NaN`, "a leading zero": `"x":01`,
		"a plus": `"x":+1`, "hexadecimal": `"x":0x1`, "a bare point": `"x":.5`, "a control character": "\"x\":\"\n\"", "a broken escape": `"x":"\q"`, "half an escape": `"x":"\u00"`, "undefined": `"x":undefined`,
	} {
		v["header: "+rule] = signed(secretA, `{"alg":"HS384",`+header+`}`, claims())
		if !strings.Contains(rule, "crit") && !strings.Contains(rule, "alg") {
			v["claims: "+rule] = signed(secretA, hs384, strings.TrimSuffix(claims(), "}")+","+header+"}")
		}
	}
	for rule, wrap := range map[string]string{
		"in a list": "[%s]", "in a string": "%q", "byte order mark": "\ufeff%s", "NUL after it": "%s\x00", "text after it": "%s{}", "a brace after it": "%s}", "NUL before it": "\x00%s",
		"a comma after it": "%s,", "form feed after it": "%s\f", "no-break space": "\u00a0%s", "cut": "%.9s", "nothing of it": "%.0s",
	} {
		v["header "+rule] = signed(secretA, fmt.Sprintf(wrap, hs384), claims())
		v["claims "+rule] = signed(secretA, hs384, fmt.Sprintf(wrap, claims()))
	}
	for _, name := range []string{"sub", "iss", "exp", "iat", "nbf"} {
		v["claim twice: "+name] = signed(secretA, hs384, strings.TrimSuffix(claims("nbf", 1), "}")+fmt.Sprintf(`,%q:%s}`, name, map[bool]string{true: `"2"`, false: "4102444800"}[name == "sub" || name == "iss"]))
	}
	v["endless depth"] = signed(secretA, hs384, strings.TrimSuffix(claims(), "}")+`,"x":`+strings.Repeat("[", 5000))
	v.want(t, false)
	vectors{ // odd but valid
		"deep":          signed(secretA, hs384, strings.TrimSuffix(claims(), "}")+`,"x":`+strings.Repeat("[", 2000)+strings.Repeat("]", 2000)+"}"),
		"large numbers": signed(secretA, hs384, strings.TrimSuffix(claims(), "}")+`,"x":1e400,"y":-0.0}`),
	}.want(t, true)
}
