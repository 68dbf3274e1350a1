package ops

import (
	"context"
	"log/slog"
	"math"
	"strconv"
	"sync"
	"time"
)

// jsonLines encodes the events of requests, which are most of the log, without reflection, but byte for byte as slog.JSONHandler
// would. It leaves all others to its Handler: a slog.JSONHandler without attributes or groups of its own, which also writes to
// out.
type jsonLines struct {
	slog.Handler
	out lines
}

// lineBuffers holds buffers for encoding events.
var lineBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 1<<10); return &b }}

// Handle implements slog.Handler.
func (h jsonLines) Handle(ctx context.Context, r slog.Record) error {
	buffer := lineBuffers.Get().(*[]byte)
	defer lineBuffers.Put(buffer)
	line, sure := appendEvent((*buffer)[:0], &r)
	if !sure {
		return h.Handler.Handle(ctx, r) //nolint:wrapcheck // it never fails: lines.Write returns no error
	}
	*buffer = line
	h.out.out.add(line, h.out.urgent)
	return nil
}

// appendEvent encodes a record of plain texts and numbers. It reports false for any other record.
func appendEvent(b []byte, r *slog.Record) (line []byte, sure bool) {
	if r.Time.IsZero() || r.Time.Year() >= 10000 {
		return b, false
	}
	b = append(b, `{"time":"`...)
	b = r.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","level":"`...)
	b = append(b, r.Level.String()...)
	b, sure = appendText(append(b, `","msg":`...), r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "" && a.Value.Kind() == slog.KindGroup {
			for _, inner := range a.Value.Group() {
				b, sure = appendAttr(b, inner, sure)
			}
			return sure
		}
		b, sure = appendAttr(b, a, sure)
		return sure
	})
	return append(b, '}', '\n'), sure
}

// appendAttr encodes an attribute with a text or a number. sure is false if that, or what came before, failed.
func appendAttr(b []byte, a slog.Attr, before bool) (_ []byte, sure bool) {
	if !before || a.Key == "" {
		return b, false
	}
	if b, sure = appendText(append(b, ','), a.Key); !sure {
		return b, false
	}
	return appendValue(append(b, ':'), a.Value)
}

// appendValue encodes a text or a number.
func appendValue(b []byte, v slog.Value) (_ []byte, sure bool) {
	switch v.Kind() { // slog encodes all others
	case slog.KindString:
		return appendText(b, v.String())
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10), true
	case slog.KindFloat64:
		f := v.Float64()
		return strconv.AppendFloat(b, f, 'f', -1, 64), f == 0 && !math.Signbit(f) || f >= 1e-6 && f < 1e21 // slog may write others with an exponent
	}
	return b, false
}

// appendText encodes a text that needs no escapes.
func appendText(b []byte, s string) (_ []byte, sure bool) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return b, false
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"'), true
}
