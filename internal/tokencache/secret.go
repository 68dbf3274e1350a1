package tokencache

// This file keeps secret strings from being printed by accident.

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a string that doesn't print, log or marshal itself. The zero value is the empty secret.
// The text hangs behind a pointer, so that even fmt's look into unexported fields finds an address only.
type Secret struct{ text *string }

// NewSecret wraps s.
func NewSecret(s string) Secret { return Secret{&s} }

// Reveal returns the text; call it only where the text is used.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// Format implements fmt.Formatter for every verb.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// LogValue implements slog.LogValuer.
func (Secret) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalText implements encoding.TextMarshaler, and so covers JSON.
func (Secret) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }
