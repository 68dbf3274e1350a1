package bridge

// The verification in process is compared with a second one that shares no code with it. The second has its own base64url, its own JSON and
// its own reading of RFC 7515, 7519 and 8725. For any input, both must admit or both must refuse.

import (
	"crypto/hmac"
	"crypto/sha512"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"roomgate/internal/secret"
)

// oracle admits a token as localBridge should: HS384 under secretA, issuer com.smarth, ten seconds of leeway.
func oracle(raw string, now time.Time) (subject string, admitted bool) {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return "", false
	}
	var texts [3]string
	for i, part := range parts {
		text, ok := unbase64(part)
		if !ok {
			return "", false
		}
		texts[i] = text
	}
	m := hmac.New(sha512.New384, []byte(secretA))
	m.Write([]byte(parts[0] + "." + parts[1]))
	header, ok := readObject(texts[0])
	claims, ok2 := readObject(texts[1])
	if !ok || !ok2 || texts[2] != string(m.Sum(nil)) || header["alg"] != "HS384" || claims["iss"] != "com.smarth" {
		return "", false
	}
	if _, critical := header["crit"]; critical {
		return "", false
	}
	at := float64(now.UnixNano()) / 1e9
	for name, good := range map[string]func(second float64) bool{
		"exp": func(second float64) bool { return second+10 > at }, "nbf": func(second float64) bool { return second-10 <= at }, "iat": func(second float64) bool { return second-10 <= at },
	} {
		value, there := claims[name]
		if !there && name != "exp" {
			continue
		}
		number, isNumber := value.(float64)
		if !isNumber || number < 0 || number >= 253402300800 || !good(math.Floor(number)) {
			return "", false
		}
	}
	subject, _ = claims["sub"].(string)
	return subject, subject != ""
}

// unbase64 decodes a non-empty text. It accepts only its one valid spelling.
func unbase64(part string) (string, bool) {
	var out []byte
	bits, have := uint32(0), 0
	for i := range len(part) {
		value := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", part[i])
		if value < 0 {
			return "", false
		}
		if bits, have = bits<<6|uint32(value), have+6; have >= 8 {
			have -= 8
			out = append(out, byte(bits>>have))
			bits &= 1<<have - 1
		}
	}
	return string(out), len(part) > 0 && have < 6 && bits == 0
}

// reader reads strict JSON (RFC 8259) from the beginning of text. The first mistake sets bad, which then stays set.
type reader struct {
	text string
	bad  bool
}

// readObject reads a text that is one object. No object in it may have a name twice.
func readObject(text string) (map[string]any, bool) {
	r := &reader{text: text}
	object, ok := r.value().(map[string]any)
	r.eat("")
	return object, ok && !r.bad && r.text == ""
}

// eat skips white space, and then the token if that comes next.
func (r *reader) eat(token string) bool {
	r.text = strings.TrimLeft(r.text, " \t\r\n")
	rest, ok := strings.CutPrefix(r.text, token)
	if ok {
		r.text = rest
	}
	return ok
}

func (r *reader) value() any {
	switch {
	case r.eat("{"):
		object := map[string]any{}
		for more := !r.eat("}"); more && !r.bad; more = !r.eat("}") {
			if len(object) > 0 && !r.eat(",") || !r.eat(`"`) {
				r.bad = true
			}
			name := r.quoted()
			_, twice := object[name]
			r.bad = r.bad || twice || !r.eat(":")
			object[name] = r.value()
		}
		return object
	case r.eat("["):
		list := []any{}
		for more := !r.eat("]"); more && !r.bad; more = !r.eat("]") {
			r.bad = r.bad || len(list) > 0 && !r.eat(",")
			list = append(list, r.value())
		}
		return list
	case r.eat(`"`):
		return r.quoted()
	case r.eat("true"), r.eat("false"), r.eat("null"):
		return nil // right for none of the claims that are checked
	}
	return r.number()
}

func (r *reader) number() any {
	all := r.text
	digits := func() bool {
		before := len(r.text)
		r.text = strings.TrimLeft(r.text, "0123456789")
		return len(r.text) < before
	}
	r.text = strings.TrimPrefix(r.text, "-")
	zero := strings.HasPrefix(r.text, "0")
	start := len(r.text)
	r.bad = r.bad || !digits() || zero && start-len(r.text) > 1
	if rest, ok := strings.CutPrefix(r.text, "."); ok {
		r.text = rest
		r.bad = r.bad || !digits()
	}
	if r.text != "" && r.text[0]|0x20 == 'e' {
		r.text = r.text[1:]
		if r.text != "" && strings.Contains("+-", r.text[:1]) {
			r.text = r.text[1:]
		}
		r.bad = r.bad || !digits()
	}
	written := all[:len(all)-len(r.text)]
	number, err := strconv.ParseFloat(written, 64)
	if err != nil {
		return nil // too large for a time
	}
	return number
}

// quoted reads a string after its opening quote. Bytes that aren't UTF-8 become U+FFFD, as in encoding/json.
func (r *reader) quoted() string {
	var out strings.Builder
	for r.text != "" && !r.bad {
		c, size := utf8.DecodeRuneInString(r.text)
		r.text = r.text[size:]
		switch {
		case c == '"':
			return out.String()
		case c < ' ':
			r.bad = true
		case c == '\\' && strings.HasPrefix(r.text, "u"):
			first := r.hex()
			if utf16.IsSurrogate(first) {
				ahead := *r
				if pair := utf16.DecodeRune(first, ahead.after(`\`)); pair != utf8.RuneError {
					*r, first = ahead, pair
				} else {
					first = utf8.RuneError
				}
			}
			out.WriteRune(first)
		case c == '\\':
			at := -1
			if r.text != "" {
				at = strings.IndexByte(`"\/bfnrt`, r.text[0])
			}
			if at < 0 {
				r.bad = true
				break
			}
			out.WriteByte("\"\\/\b\f\n\r\t"[at])
			r.text = r.text[1:]
		default:
			out.WriteRune(c)
		}
	}
	r.bad = true
	return ""
}

// after reads the prefix, u and four digits. It returns -1 if something else follows.
func (r *reader) after(prefix string) rune {
	rest, ok := strings.CutPrefix(r.text, prefix)
	if !ok || !strings.HasPrefix(rest, "u") {
		return -1
	}
	r.text = rest
	return r.hex()
}

// hex reads u and its four digits.
func (r *reader) hex() (c rune) {
	for i := 1; i <= 4; i++ {
		digit := -1
		if i < len(r.text) {
			digit = strings.IndexByte("0123456789abcdef", r.text[i]|0x20)
			if r.text[i] <= '9' {
				digit = strings.IndexByte("0123456789", r.text[i])
			}
		}
		if digit < 0 {
			r.bad = true
			return -1
		}
		c = c<<4 | rune(digit)
	}
	r.text = r.text[5:]
	return c
}

// differ fails the test if the two verifications don't agree.
func differ(t *testing.T, l *local, raw string) {
	t.Helper()
	var member Member
	before := time.Now()
	token, err := parseMemberToken(raw)
	if err == nil {
		member, err = l.verify(token)
	}
	subject, admitted := oracle(raw, before)
	if later, still := oracle(raw, time.Now()); later != subject || still != admitted {
		return // it became valid or expired in between
	}
	if admitted != (err == nil) || admitted && subject != member.Subject {
		t.Errorf("%q: %v, %q; the other verification says %v, %q", raw, err, member.Subject, admitted, subject)
	}
}

// FuzzVerify gives both verifications a raw token, and one with a valid signature for the fuzzed header and claims. Without the second, the
// code behind the check of the signature would never run.
func FuzzVerify(f *testing.F) {
	l := newLocal(LocalVerification{
		Secrets: []secret.Value{secret.New(secretA)}, Algorithms: []string{"HS384"}, Issuer: "com.smarth", Leeway: 10 * time.Second,
	})
	const end = `"exp":4102444800,"iss":"com.smarth","sub":"2"`
	for _, header := range []string{
		hs384, `{"alg":"none"}`, `{"alg":"HS384","crit":[]}`, `{"alg":"HS384","alg":"HS384"}`, `{"\u0061lg":"HS384","x":[{"a":1.5e-3},null,true]}`, `[]`, ` {"alg" : "HS384"} `, "{\"alg\":\"HS384\",\"\xff\":1}",
	} {
		f.Add(good(), header, "{"+end+"}")
	}
	for _, claims := range []string{
		`{"iat":1,"nbf":1.5,` + end + `}`, `{"iat":null,` + end + `}`, `{"nbf":4102444800,` + end + `}`, `{"exp":1e10,"iss":"com.smarth","sub":"2"}`, `{"exp":253402300799.9,"iss":"com.smarth","sub":"2"}`,
		`{"exp":41024448e2,"iss":"\u0063om.smarth","sub":"\ud83d\ude00"}`, `{"sub":"","exp":4102444800,"iss":"com.smarth"}`, `{"sub":"\ud800x","exp":4102444800,"iss":"com.smarth"}`, `{"iat":-0,"nbf":0E5,` + end + `}`,
		`{"x":{"a":[1,2,{"b":"\\\"\/\b"}]},` + end + `}`, `{"x":01,` + end + `}`, `{"x":"` + "\x7f\u2028" + `",` + end + `}`, `{` + end + `,}`, `{` + end + `}x`, `{"Exp":1,"SUB":"3",` + end + `}`, `{"iat":1e400,` + end + `}`,
	} {
		f.Add(signed(secretA, hs384, claims), hs384, claims)
	}
	for _, raw := range malformed() {
		f.Add(raw, hs384, "{"+end+"}")
	}
	f.Fuzz(func(t *testing.T, raw, header, claims string) {
		differ(t, l, raw)
		differ(t, l, signed(secretA, header, claims))
	})
}

// An oracle that admits nothing would agree in most cases, so check that it admits good tokens.
func TestTheOtherVerificationCanTell(t *testing.T) {
	for raw, want := range map[string]bool{
		good(): true, good("sub", "가\U0001f600"): true, good("exp", time.Now().Unix()-5): true, good("exp", time.Now().Unix()-15): false, good("iat", time.Now().Unix()+5): true,
		good("iat", time.Now().Unix()+60): false, signed(secretB, hs384, claims()): false, good("iss", "x"): false, good("sub", 2): false, good("exp", nil): false,
		signed(secretA, `{"alg":"HS384","crit":["x"]}`, claims()): false, signed(secretA, hs384, strings.TrimSuffix(claims(), "}")+`,"a":1,"a":1}`): false,
	} {
		if subject, got := oracle(raw, time.Now()); got != want || got == (subject == "") {
			t.Errorf("%s: %q, %v", raw, subject, got)
		}
	}
}
