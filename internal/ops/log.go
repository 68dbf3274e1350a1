package ops

import (
	"context"
	"log/slog"
)

// NewLogger returns a logger that writes events to out, one per line: JSON, or text if format is "text". level may change at any
// time. Audit events, warnings and errors are written at once, others at most 100 ms later. Logging never waits for a write.
func NewLogger(out *LogOutput, format string, level slog.Leveler) *slog.Logger {
	return slog.New(byUrgency{
		usual:  newLogHandler(lines{out, false}, format, level),
		urgent: newLogHandler(lines{out, true}, format, level),
	})
}

func newLogHandler(out lines, format string, level slog.Leveler) slog.Handler {
	options := &slog.HandlerOptions{Level: level}
	if format == "text" {
		return slog.NewTextHandler(out, options)
	}
	return jsonLines{slog.NewJSONHandler(out, options), out}
}

// lines is a writer to a LogOutput, urgent or not. slog writes each event with one call.
type lines struct {
	out    *LogOutput
	urgent bool
}

// Write implements io.Writer. It accepts all of p, or drops it.
func (l lines) Write(p []byte) (int, error) {
	l.out.add(p, l.urgent)
	return len(p), nil
}

// byUrgency passes each event to one of two handlers that differ only in their writers. It is needed because a writer doesn't see
// an event's level.
type byUrgency struct{ usual, urgent slog.Handler }

// Enabled implements slog.Handler.
func (h byUrgency) Enabled(ctx context.Context, level slog.Level) bool {
	return h.usual.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h byUrgency) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn || r.Message == "audit" {
		return h.urgent.Handle(ctx, r) //nolint:wrapcheck // it never fails: lines.Write returns no error
	}
	return h.usual.Handle(ctx, r) //nolint:wrapcheck // as above
}

// WithAttrs implements slog.Handler.
func (h byUrgency) WithAttrs(attrs []slog.Attr) slog.Handler {
	return byUrgency{h.usual.WithAttrs(attrs), h.urgent.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h byUrgency) WithGroup(name string) slog.Handler {
	return byUrgency{h.usual.WithGroup(name), h.urgent.WithGroup(name)}
}
