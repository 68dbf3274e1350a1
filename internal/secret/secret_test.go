package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// holder has secrets in all places that a struct offers. fmt calls no methods on unexported fields.
type holder struct {
	Open    Value
	hidden  Value
	Pointer *Value
	list    []Value
	byName  map[string]Value
	nested  struct{ deep Value }
	any     any
}

func newHolder() holder {
	s := New("MARKER")
	h := holder{Open: s, hidden: s, Pointer: &s, list: []Value{s}, byName: map[string]Value{"k": s}, any: s}
	h.nested.deep = s
	return h
}

func TestSecretPrintsNothing(t *testing.T) {
	s, h := New("MARKER"), newHolder()
	values := []any{s, &s, []Value{s}, map[string]Value{"k": s}, h, &h}
	for _, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%08.3f", "%p", "%T", "%c", "%!"} {
			assertClean(t, verb, fmt.Sprintf(verb, v))
		}
		text, err := json.Marshal(v)
		assertClean(t, "json", fmt.Sprint(string(text), err))

		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "v", v, slog.Group("g", "v", v))
		slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v, slog.Group("g", "v", v))
		assertClean(t, "slog", log.String())
	}
	assertClean(t, "errorf", fmt.Errorf("failed with %v: %w", s, fmt.Errorf("%s", s)).Error())
}

// assertClean fails if text contains the secret as text, hex, base64 or a list of bytes.
func assertClean(t *testing.T, how, text string) {
	t.Helper()
	for _, form := range []string{"MARKER", "4d41524b4552", "77 65 82", "77,65,82", "TUFSS0VS"} {
		if strings.Contains(strings.ToLower(text), strings.ToLower(form)) {
			t.Errorf("%s shows the secret: %s", how, text)
		}
	}
}

func TestSecret(t *testing.T) {
	var zero, s Value
	if err := s.UnmarshalText([]byte("MARKER")); err != nil || s.Reveal() != "MARKER" || s.IsZero() {
		t.Errorf("UnmarshalText: %v", err)
	}
	if !zero.IsZero() || zero.Reveal() != "" || !New("").IsZero() {
		t.Error("the zero value is not empty")
	}
	for _, tt := range []struct{ got, want string }{
		{fmt.Sprintf("%v|%s|%#v", s, s, s), "[redacted]|[redacted]|[redacted]"},
		{fmt.Sprintf("%v|%q|%x|%#v", zero, zero, zero, zero), "|||"},
		{s.LogValue().String(), "[redacted]"},
		{s.String() + zero.String(), "[redacted]"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
	if text, err := json.Marshal(map[string]Value{"a": s, "b": zero}); string(text) != `{"a":"[redacted]","b":""}` || err != nil {
		t.Errorf("json: %s %v", text, err)
	}
}
