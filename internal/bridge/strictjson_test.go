package bridge

// Strict reading of JSON: texts with two meanings, which encoding/json accepts, are errors.

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestStrictObject(t *testing.T) {
	for _, tt := range []struct {
		text string
		ok   bool
	}{
		{`{}`, true}, {` {"a" : [ 1 , "b" , null , true , {} ] } ` + "\n", true}, {`{"a":1,"A":2}`, true}, {`{"a":{"a":{"a":1}}}`, true},
		{`{"a":[{"b":1},{"b":2}]}`, true}, {`{"":1}`, true}, {strings.Repeat(`{"a":`, 3000) + "1" + strings.Repeat("}", 3000), true},
		{``, false}, {` `, false}, {`null`, false}, {`1`, false}, {`"a"`, false}, {`[]`, false}, {`[{}]`, false}, {`true`, false},
		{`{`, false}, {`{"a"`, false}, {`{"a":`, false}, {`{"a":1`, false}, {`{"a":1,`, false}, {`{"a":1,}`, false}, {`{,"a":1}`, false},
		{`{"a" 1}`, false}, {`{"a":}`, false}, {`{a:1}`, false}, {`{1:1}`, false}, {`{"a":01}`, false}, {`{"a":+1}`, false}, {`{"a":.5}`, false},
		{`{"a":NaN}`, false}, {`{"a":[1,]}`, false}, {`{"a":[1 2]}`, false}, {`{"a":[1}`, false}, {`{"a":{]}`, false}, {`{"a":1]`, false},
		{`{}{}`, false}, {`{} {}`, false}, {`{}]`, false}, {`{}}`, false}, {`{},`, false}, {`{}x`, false}, {"{}\x00", false}, {"\ufeff{}", false},
		{`{"a":"` + "\n" + `"}`, false}, {`{"a":"\x"}`, false}, {`{"a":'b'}`, false}, {`{"a":1}//`, false},
		{`{"a":1,"a":1}`, false}, {`{"a":1,"\u0061":2}`, false}, {`{"x":{"a":1,"a":2}}`, false}, {`{"x":[[{"a":1,"b":2,"a":3}]]}`, false},
		{`{"` + "\xff" + `":1,"` + "\xfe" + `":2}`, false}, // both become U+FFFD
	} {
		got, err := StrictObject([]byte(tt.text))
		if (err == nil) != tt.ok || (got != nil) != tt.ok {
			t.Errorf("%.60q: %v, %v", tt.text, got, err)
		}
		if err != nil && strings.Contains(err.Error(), tt.text) && len(tt.text) > 3 {
			t.Errorf("%.60q: the error repeats it: %v", tt.text, err)
		}
	}
}

// hasDuplicate reads names from raw members, so that it shares no code with what it checks. text is valid JSON.
func hasDuplicate(text []byte) bool {
	switch text = bytes.TrimSpace(text); text[0] {
	case '[':
		var list []json.RawMessage
		if json.Unmarshal(text, &list) != nil {
			return false
		}
		for _, v := range list {
			if hasDuplicate(v) {
				return true
			}
		}
	case '{':
		var m map[string]json.RawMessage
		if json.Unmarshal(text, &m) != nil {
			return false
		}
		for _, v := range m {
			if hasDuplicate(v) {
				return true
			}
		}
		// A map keeps one member for each name. If it has fewer members than there are colons at this depth, a name occurs twice.
		return len(m) != members(text)
	}
	return false
}

// members counts the colons of the outermost object.
func members(text []byte) (n int) {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		case c == ':' && depth == 1:
			n++
		}
	}
	return n
}

func FuzzStrictObject(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":1,"a":2}`, `{"a":[{"b":1,"b":2}]}`, `{"a":1.50e3,"b":"\u0061\ud800","c":null}`, `{"a":1}{}`, `[{}]`, `{"a":{"a":[]}}`, claims(),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := StrictObject(text)
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		var want any
		wantErr := decoder.Decode(&want)
		object, isObject := want.(map[string]any)
		valid := json.Valid(text) && wantErr == nil && isObject && !hasDuplicate(text)
		switch {
		case valid && (err != nil || !reflect.DeepEqual(got, object)):
			t.Errorf("%q: %v, %v; want %v", text, got, err, object)
		case !valid && err == nil:
			t.Errorf("%q is taken as %v", text, got)
		}
	})
}
