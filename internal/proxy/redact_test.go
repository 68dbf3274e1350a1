package proxy

// Tests of redaction: what is taken out, that nothing else changes, and that what can't be read doesn't pass.

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func redacting(text, kind, encoding string, length int64) *http.Response {
	r := &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {kind}}, ContentLength: length,
		Body: io.NopCloser(strings.NewReader(text)), Request: &http.Request{Method: http.MethodGet},
	}
	if encoding != "" {
		r.Header.Set("Content-Encoding", encoding)
	}
	return r
}

func TestRedactionTakesOutTheFieldsAndNothingElse(t *testing.T) {
	for text, want := range map[string]string{
		`{"token":"x","a":1}`:                              `{"a":1}`,
		`{"a":{"token":{"location":[1]},"b":2},"token":1}`: `{"a":{"b":2}}`,
		`[{"token":1},{"location":2,"c":[{"token":3}]}]`:   `[{},{"c":[{}]}]`,
		`{"to\u006ben":"x","a":1}`:                         `{"a":1}`,
		`{"a":"token","b":["token","location"]}`:           `{"a":"token","b":["token","location"]}`,
		`{"n":1.10,"m":12345678901234567890,"e":1E+2}`:     `{"n":1.10,"m":12345678901234567890,"e":1E+2}`,
		`{"Token":1,"s":"\u00e9\/é<>"}`:                    `{"Token":1,"s":"\u00e9\/é<>"}`,
		`{}`:                                               `{}`, `[]`: `[]`, `null`: `null`, `"token"`: `"token"`, ` 1 `: `1`,
	} {
		for _, length := range []int64{int64(len(text)), -1} {
			if length < 0 && text[0] != '{' && text[0] != '[' {
				continue
			}
			r := redacting(text, "application/json; charset=utf-8", "", length)
			if err := redact(r, []string{"token", "location"}); err != nil {
				t.Errorf("%s: %v", text, err)
				continue
			}
			got, err := io.ReadAll(r.Body)
			if err != nil || strings.TrimSpace(string(got)) != want {
				t.Errorf("%s: %s (%v), want %s", text, got, err, want)
			}
			if length >= 0 && int64(len(got)) != r.ContentLength {
				t.Errorf("%s: Content-Length %d of %d bytes", text, r.ContentLength, len(got))
			}
		}
	}
}

func TestWhatCannotBeReadDoesNotPass(t *testing.T) {
	for _, tt := range []struct{ text, kind, encoding string }{
		{`{"token":"x"`, "application/json", ""},
		{`{"token":"x"}{"token":"y"}`, "application/json", ""},
		{``, "application/json", ""},
		{`<html>token</html>`, "application/json", ""},
		{`<html>token</html>`, "text/html", ""},
		{`{"a":1}`, "", ""},
		{`{"a":1}`, "application/json", "gzip"},
		{`{"a":tru}`, "application/json", ""},
	} {
		r := redacting(tt.text, tt.kind, tt.encoding, int64(len(tt.text)))
		if err := redact(r, []string{"token"}); !errors.Is(err, errUnreadable) {
			t.Errorf("%+v: %v", tt, err)
		}
	}
	r := redacting(`{"a":1,"b":`, "application/json", "", -1)
	if err := redact(r, []string{"token"}); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r.Body); !errors.Is(err, errUnreadable) {
		t.Errorf("a long answer that is broken further on must break off, got %s, %v", got, err)
	}
}

// A long answer passes through in pieces.
func TestRedactionStreams(t *testing.T) {
	var long bytes.Buffer
	long.WriteString(`{"status":true,"data":[`)
	for i := range 50_000 {
		if i > 0 {
			long.WriteByte(',')
		}
		long.WriteString(`{"id":"938","token":"wss://x?token=tok","location":"Seoul","n":1}`)
	}
	long.WriteString(`]}`)
	r := redacting(long.String(), "application/json", "", -1)
	if err := redact(r, []string{"token", "location"}); err != nil {
		t.Fatal(err)
	}
	var got struct{ Data []map[string]any }
	if err := json.NewDecoder(r.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"id": "938", "n": 1.0}
	if len(got.Data) != 50_000 || !reflect.DeepEqual(got.Data[49_999], want) {
		t.Errorf("%d elements, the last %v", len(got.Data), got.Data[len(got.Data)-1])
	}
}

func FuzzRedaction(f *testing.F) {
	for _, seed := range []string{`{"token":1,"a":[{"token":{}}]}`, `[1.0,"\ud800",{"a":{"token":[]}}]`, `{"a":1,"a":2}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := redacting(text, "application/json", "", int64(len(text)))
		if redact(r, []string{"token"}) != nil {
			return
		}
		out, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		var before, after any
		if json.Unmarshal([]byte(text), &before) != nil {
			return // more lenient than the oracle
		}
		if err := json.Unmarshal(out, &after); err != nil {
			t.Fatalf("%q became %q: %v", text, out, err)
		}
		if !reflect.DeepEqual(without(before, "token"), after) {
			t.Errorf("%q became %q", text, out)
		}
	})
}

// without is the oracle: it takes the name out of a decoded value.
func without(value any, name string) any {
	switch v := value.(type) {
	case map[string]any:
		kept := map[string]any{}
		for key, member := range v {
			if key != name {
				kept[key] = without(member, name)
			}
		}
		return kept
	case []any:
		kept := []any{}
		for _, element := range v {
			kept = append(kept, without(element, name))
		}
		return kept
	}
	return value
}
