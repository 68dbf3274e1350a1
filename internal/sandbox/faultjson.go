package sandbox

// Faults have plain time.Duration fields for Go callers, and strings in JSON for people. The methods below convert between them.

import (
	"encoding/json"
	"fmt"
	"time"
)

// wireDuration is a duration as text, in the syntax of time.ParseDuration.
type wireDuration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d wireDuration) MarshalText() ([]byte, error) {
	return []byte(time.Duration(d).String()), nil
}

// UnmarshalText implements encoding.TextUnmarshaler. A bare JSON number is an error, because it could mean seconds or
// nanoseconds.
func (d *wireDuration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("duration: %w", err)
	}
	*d = wireDuration(v)
	return nil
}

// plainFault and plainToken have the fields but not the methods, which would otherwise call themselves forever.
type (
	plainFault Fault
	plainToken TokenFault
)

// wireFault hides the Fault's durations behind its own fields: the outer name wins.
type wireFault struct {
	plainFault
	Delay    wireDuration `json:"delay,omitempty"`
	Interval wireDuration `json:"interval,omitempty"`
}

// wireToken does the same for TokenFault.
type wireToken struct {
	plainToken
	TTL  wireDuration `json:"ttl,omitempty"`
	Skew wireDuration `json:"skew,omitempty"`
}

// MarshalJSON implements json.Marshaler.
func (f Fault) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireFault{plainFault(f), wireDuration(f.Delay), wireDuration(f.Interval)})
}

// UnmarshalJSON implements json.Unmarshaler. Unknown names are an error.
func (f *Fault) UnmarshalJSON(raw []byte) error {
	var w wireFault
	if err := strict(raw, &w); err != nil {
		return err
	}
	*f = Fault(w.plainFault)
	f.Delay, f.Interval = time.Duration(w.Delay), time.Duration(w.Interval)
	return nil
}

// MarshalJSON implements json.Marshaler.
func (t TokenFault) MarshalJSON() ([]byte, error) {
	return json.Marshal(wireToken{plainToken(t), wireDuration(t.TTL), wireDuration(t.Skew)})
}

// UnmarshalJSON implements json.Unmarshaler. Unknown names are an error.
func (t *TokenFault) UnmarshalJSON(raw []byte) error {
	var w wireToken
	if err := strict(raw, &w); err != nil {
		return err
	}
	*t = TokenFault(w.plainToken)
	t.TTL, t.Skew = time.Duration(w.TTL), time.Duration(w.Skew)
	return nil
}
