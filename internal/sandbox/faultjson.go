package sandbox

// Faults as JSON. Their durations are plain time.Duration, for the sake of Go callers, and strings on
// the wire, for the sake of people; these methods stand between.

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

// UnmarshalText implements encoding.TextUnmarshaler. Being text, it makes a bare number an error, which
// would leave open whether seconds or nanoseconds are meant.
func (d *wireDuration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("duration: %w", err)
	}
	*d = wireDuration(v)
	return nil
}

// plainFault and plainToken have the fields but not the methods, which would call themselves for ever.
type (
	plainFault Fault
	plainToken TokenFault
)

// wireFault hides the durations of the Fault in it behind its own: the outer name wins.
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
