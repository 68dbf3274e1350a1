// Package secret keeps secrets out of logs, errors and dumps.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted is what a secret prints as.
const redacted = "[redacted]"

// Value is a string that prints as "[redacted]", or as "" if it is empty, with all verbs of fmt, log/slog and encoding/json. The
// zero value is the empty secret. It is safe for concurrent use, and may be copied.
//
// A closure holds the text. fmt prints a struct's unexported fields without calling their methods, and other dumpers follow
// pointers, but all of them can print only the address of a function.
type Value struct {
	reveal func() string
}

// New returns text as a secret.
func New(text string) Value {
	if text == "" {
		return Value{}
	}
	return Value{reveal: func() string { return text }}
}

// Reveal returns the text. Call it only where the text is used: if a secret has leaked, it was at one of these calls.
func (s Value) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// IsZero reports whether the secret is empty.
func (s Value) IsZero() bool { return s.Reveal() == "" }

// String returns "[redacted]" or "".
func (s Value) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// Format prints String for every verb and flag, such as %x, %d and %#v.
func (s Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue returns String.
func (s Value) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns String, for encoding/json and others. Reading it back doesn't restore the secret.
func (s Value) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText sets the value. It never fails.
func (s *Value) UnmarshalText(text []byte) error {
	*s = New(string(text))
	return nil
}
