package config

// This file is the type that keeps secrets out of logs, errors and dumps.

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted is what a secret looks like wherever it is printed.
const redacted = "[redacted]"

// Secret is a string that prints as "[redacted]", or as "" when it is empty, through fmt with any
// verb, log/slog and encoding/json. The zero value is the empty secret. It is safe for concurrent
// use.
//
// The value sits in a closure because fmt prints the unexported fields of a struct without asking
// their methods, and other dumpers follow pointers: of a function they all can show no more than an
// address.
type Secret struct {
	reveal func() string
}

// NewSecret makes a Secret of value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{reveal: func() string { return value }}
}

// Reveal is the value itself. Every call of it is a place to look at when a secret has leaked.
func (s Secret) Reveal() string {
	if s.reveal == nil {
		return ""
	}
	return s.reveal()
}

// IsZero tells whether the secret is empty.
func (s Secret) IsZero() bool { return s.Reveal() == "" }

// String is "[redacted]" or "".
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redacted
}

// Format prints String for every verb and flag, %x, %d and %#v among them.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue is String.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText is String, which is what encoding/json and its like write. Reading that back gives no
// secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText sets the value. It never fails.
func (s *Secret) UnmarshalText(text []byte) error {
	*s = NewSecret(string(text))
	return nil
}
