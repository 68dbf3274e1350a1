package tokencache

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a string that can't be printed, logged or marshaled by accident. The zero value is the empty secret. It may be copied.
//
// The text is behind a pointer: fmt doesn't call the methods of unexported fields, but for a pointer it prints an address only.
type Secret struct{ text *string }

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{&s} }

// Reveal returns the text. Call it only where the text is used.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Format implements fmt.Formatter: every verb prints "[redacted]".
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalText implements encoding.TextMarshaler. encoding/json uses it too.
func (Secret) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
