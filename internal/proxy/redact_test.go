package proxy

// Redaction removes the fields and changes nothing else. Text that isn't JSON doesn't pass. The memory that redaction uses is limited.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestRedactionTakesOutTheFieldsAndNothingElse(t *testing.T) {
	d := newRedaction([]string{"token", "location", "위치"})
	for text, want := range map[string]string{
		`{"token":"x","a":1}`:                              `{"a":1}`,
		`{"a":{"token":{"location":[1]},"b":2},"token":1}`: `{"a":{"b":2}}`,
		`[{"token":1},{"location":2,"c":[{"token":3}]}]`:   `[{},{"c":[{}]}]`,
		`{"to\u006ben":"x","a":1}`:                         `{"a":1}`,
		`{"\u0074\u006F\u006b\u0065\u006e":"x"}`:           `{}`,
		`{"\uc704치":1,"\\token":1}`:                        `{"\\token":1}`,
		`{"a":1,"token":{"a":[{}],"b":"}\""},"c":2}`:       `{"a":1,"c":2}`,
		`{"token":"1","a":"2","location":"3","token":"4","b":"5","c":{"token":"6","d":"7","location":"8"},"token":"9"}`: `{"a":"2","b":"5","c":{"d":"7"}}`,
		`{"token":1,"token":2,"a":1,"location":3,"a":2}`:                                                                `{"a":1,"a":2}`,
		`{"a":"token","b":["token","location"]}`:                                                                        `{"a":"token","b":["token","location"]}`,
		`{"n":1.10,"m":12345678901234567890,"e":1E+2}`:                                                                  `{"n":1.10,"m":12345678901234567890,"e":1E+2}`,
		`{"Token":1,"tokens":2,"toke":3,"":4}`:                                                                          `{"Token":1,"tokens":2,"toke":3,"":4}`,
		`{"s":"\u00e9\/é<>\ud800","i":"` + "\xff" + `"}`:                                                                `{"s":"\u00e9\/é<>\ud800","i":"` + "\xff" + `"}`,
		" { \"token\" : 1 ,\t\"a\" :\r\n-0.5e-7 , \"location\":[ ] } ":                                                  `{"a":-0.5e-7}`,
		`{}`: `{}`, `[]`: `[]`, `null`: `null`, `"token"`: `"token"`, ` 1 `: `1`, `[true,false,0]`: `[true,false,0]`,
	} {
		got, err := d.whole([]byte(text))
		if err != nil || compact(t, got) != want {
			t.Errorf("%s: %s (%v), want %s", text, got, err, want)
		}
		for size := range 9 {
			if got, err := inPieces(d, text, size+1); err != nil || compact(t, []byte(got)) != want {
				t.Errorf("%s in pieces of %d: %s (%v), want %s", text, size+1, got, err, want)
			}
		}
	}
}

func compact(t testing.TB, text []byte) string {
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		t.Errorf("%s: %v", text, err)
	}
	return b.String()
}

// inPieces redacts a text that comes in pieces of the given number of bytes.
func inPieces(d *redaction, text string, size int) (string, error) {
	got, err := io.ReadAll(d.stream(&pieces{strings.NewReader(text), size}))
	return string(got), err
}

// pieces never reads more than size bytes at once.
type pieces struct {
	io.Reader
	size int
}

func (p *pieces) Read(b []byte) (int, error) { return p.Reader.Read(b[:min(len(b), p.size)]) }

func TestWhatCannotBeReadDoesNotPass(t *testing.T) {
	d := newRedaction([]string{"token"})
	for _, text := range []string{
		`{"token":"x"`, `{"token":"x"}{"token":"y"}`, `{} x`, `1 2`, ` `, `<html>token</html>`, "\ufeff{}", `,`, `]`, `}`, `:`,
		`{"a":tru}`, `trua`, `nul`, `[1,]`, `[,1]`, `[1 2]`, `[1}`, `{"a":1]`, `{"a":1,}`, `{"a":1,"token":2,}`, `{,"a":1}`, `{"a"}`,
		`{"a",1}`, `{"a":1 "b":2}`, `{"a"::1}`, `{"a":}`, `{a:1}`, `{1:1}`, `{"token"}`, `{"token":}`, `{"token":tru}`, `{"token":[}]}`, `[1:2]`,
		`01`, `-`, `-a`, `1.`, `.5`, `+1`, `1e`, `1e+`, `1.e5`, `1e5.1`, `1-`, `0x1`, `[-]`, `[1.]`,
		`"a`, `"\a"`, `"\u12g4"`, `"\u12"`, `"\`, "\"\n\"", "\"\x00\"", "{\"a\tb\":1}",
		strings.Repeat("[", maxNesting+1) + strings.Repeat("]", maxNesting+1),
	} {
		if got, err := d.whole([]byte(text)); !errors.Is(err, errUnreadable) || got != nil {
			t.Errorf("%.80s: %.80s, %v", text, got, err)
		}
		if got, err := inPieces(d, text, 1); !errors.Is(err, errUnreadable) {
			t.Errorf("%.80s in pieces: %.80s, %v", text, got, err)
		}
	}
	for _, tt := range []struct{ kind, encoding string }{
		{"text/html", ""}, {"", ""}, {"application/jsonp", ""}, {"application/json", "gzip"},
	} {
		header := fields{{Name: "Content-Encoding", Value: tt.encoding}, {Name: "Content-Length", Value: "9"}, {Name: "Content-Type", Value: tt.kind}}
		if skip, err := d.check(200, &header, false); skip || !errors.Is(err, errUnreadable) {
			t.Errorf("%+v: %v, %v", tt, skip, err)
		}
	}
}

func TestDeepestAnswerPasses(t *testing.T) {
	text := strings.Repeat(`[`, maxNesting) + strings.Repeat("]", maxNesting)
	if got, err := newRedaction([]string{"token"}).whole([]byte(text)); err != nil || string(got) != text {
		t.Errorf("%.80s, %v", got, err)
	}
}

// An answer whose JSON turns out to be broken breaks off. An upstream's own error passes through.
func TestRedactedStreamBreaksOff(t *testing.T) {
	d := newRedaction([]string{"token"})
	long := `{"a":1,"c":"` + strings.Repeat("x", smallAnswer) + `","token":"secret","b":`
	if got, err := inPieces(d, long, redactBuffer); !errors.Is(err, errUnreadable) || !strings.HasPrefix(got, `{"a":1,`) {
		t.Errorf("got %.80s, %v", got, err)
	}
	lost := errors.New("connection lost")
	_, err := io.ReadAll(d.stream(io.MultiReader(strings.NewReader(long), iotest.ErrReader(lost))))
	if !errors.Is(err, lost) || errors.Is(err, errUnreadable) {
		t.Errorf("got %v", err)
	}
}

// An empty answer passes, because it can't leak anything: an empty 404 stays a 404. Issue 14.
func TestEmptyAnswerPasses(t *testing.T) {
	d := newRedaction([]string{"token"})
	if got, err := d.whole(nil); len(got) > 0 || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	if got, err := inPieces(d, "", 1); got != "" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
	for _, tt := range []struct {
		status int
		length string
		head   bool
	}{{404, "0", false}, {200, "0", false}, {200, "12", true}, {304, "12", false}, {204, "", false}} {
		if skip, err := d.check(tt.status, &fields{{Name: "Content-Length", Value: tt.length}}, tt.head); !skip || err != nil {
			t.Errorf("%+v: %v, %v", tt, skip, err)
		}
	}
}

// A redacted body differs from the upstream's. So its length is unknown and its ETag must be weak. Issue 14.
func TestRedactedAnswerHasHeaderOfItsOwn(t *testing.T) {
	for _, head := range []bool{false, true} {
		for tag, want := range map[string]string{`"x"`: `W/"x"`, `W/"x"`: `W/"x"`, ``: ``, `x`: ``} {
			header := fields{{Name: "Content-Length", Value: "9"}, {Name: "Content-Type", Value: "application/problem+json"}, {Name: "Etag", Value: tag}}
			if skip, err := newRedaction([]string{"token"}).check(200, &header, head); skip != head || err != nil {
				t.Errorf("%v, %v", skip, err)
			}
			if got := header.get("Etag"); got != want || header.get("Content-Length") != "" {
				t.Errorf("%s became %v", tag, header)
			}
		}
	}
}

// Redaction needs only two buffers, however long a string, name, number or white space is. Issue 14.
func TestRedactionHoldsNoScalar(t *testing.T) {
	d := newRedaction([]string{"token", "location"})
	const size = 1 << 20 // the memory doesn't depend on it
	for _, tt := range []struct{ begin, fill, end string }{
		{`{"token":1,"a":"`, "x", `"}`}, {`{"token":"`, "x", `"}`}, {`{"`, "x", `":1}`}, {`{"a":1,"`, `\u0074`, `":1}`},
		{`[`, "1", `]`}, {`{"a":1,`, " ", `"token":1}`}, {`{"token":[1`, `,1`, `]}`}, {`[{}`, `,{"token":1}`, `]`},
	} {
		text := io.MultiReader(strings.NewReader(tt.begin), &repeated{tt.fill, size}, strings.NewReader(tt.end))
		r := d.stream(text).(*redactedStream)
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Errorf("%+v: %v", tt, err)
		}
		if held := cap(r.in) + cap(r.out) + cap(r.held) + cap(r.levels); held > 40<<10 {
			t.Errorf("%+v: %d bytes in memory", tt, held)
		}
	}
}

// repeated is a reader that repeats a text until at least left bytes have been read.
type repeated struct {
	text string
	left int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	n := 0
	for len(p)-n >= len(r.text) {
		n += copy(p[n:], r.text)
	}
	r.left -= n
	return n, nil
}

func FuzzRedaction(f *testing.F) {
	for _, seed := range []string{
		`{"token":1,"a":[{"token":{}}]}`, `[1.0,"\ud800",{"a":{"token":[]}}]`, `{"a":1,"a":2}`, ``, `{"a":"b","token":"c","d":"e","f":"g"}`, `{"to\u006ben" : -1e5 , "b":"\\"}`,
	} {
		f.Add(seed, uint8(3))
	}
	d := newRedaction([]string{"token"})
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		whole, err := d.whole([]byte(text))
		if (err == nil) != (text == "" || json.Valid([]byte(text))) {
			t.Fatalf("%q: %v", text, err)
		}
		streamed, streamErr := inPieces(d, text, int(size)+1)
		if (err == nil) != (streamErr == nil) || err == nil && compactOrEmpty(t, streamed) != compactOrEmpty(t, string(whole)) {
			t.Fatalf("%q became %q (%v), and in pieces %q (%v)", text, whole, err, streamed, streamErr)
		}
		if err != nil || text == "" {
			return
		}
		if got, want := compact(t, whole), compact(t, without(t, []byte(text), "token")); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	})
}

func compactOrEmpty(t testing.TB, text string) string {
	if text == "" {
		return ""
	}
	return compact(t, []byte(text))
}

// without is the oracle: it removes the members of that name from a valid text, with another parser.
func without(t testing.TB, text []byte, name string) []byte {
	text = bytes.Trim(text, " \t\r\n")
	if text[0] != '{' && text[0] != '[' {
		return text
	}
	var kept [][]byte
	in := json.NewDecoder(bytes.NewReader(text))
	_, err := in.Token()
	for err == nil && in.More() {
		var key json.Token
		var value json.RawMessage
		var rawKey []byte
		if text[0] == '{' {
			before := in.InputOffset()
			key, err = in.Token()
			rawKey = fmt.Appendf(nil, "%s:", bytes.Trim(text[before:in.InputOffset()], ", \t\r\n"))
		}
		if err == nil {
			err = in.Decode(&value)
		}
		if err == nil && key != name {
			kept = append(kept, append(rawKey, without(t, value, name)...))
		}
	}
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return fmt.Appendf(nil, "%c%s%c", text[0], bytes.Join(kept, []byte(",")), text[len(text)-1])
}
