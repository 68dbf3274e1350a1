// Package secret keeps secrets out of logs, errors and dumps.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted is what a secret looks like wherever it is printed.
const redacted = "[redacted]"

// Value is a string that prints as "[redacted]", or as "" when it is empty, by fmt with any verb, log/slog and encoding/json.
// The zero value is the empty secret. It is safe for concurrent use and may be copied.
//
// The text is in a closure: fmt prints the unexported fields of a struct without calling their methods, and other dumpers follow
// pointers. Of a function they all print no more than an address.
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

// Reveal returns the text. Call it only where the text is used: each call is a place to search when a secret has leaked.
func (s Value) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// IsZero tells whether the secret is empty.
func (s Value) IsZero() bool { return s.Reveal() == "" }

// String is "[redacted]" or "".
func (s Value) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// Format prints String for every verb and flag, %x, %d and %#v among them.
func (s Value) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is String.
func (s Value) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String, which is what encoding/json and its like write. Reading that back gives no
// secret.
func (s Value) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText sets the value. It never fails.
func (s *Value) UnmarshalText(text []byte) error {
	*s = New(string(text))
	return nil
}
