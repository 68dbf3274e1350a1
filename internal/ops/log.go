package ops

// This file makes the program's logger.

import (
	"context"
	"log/slog"
)

// NewLogger writes events to out, one a line: JSON unless format is "text". level may be changed while it is used. Audit events,
// warnings and errors are written at once, others at most 100 ms late; nobody who logs waits for either.
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

// lines is one of an output's two entrances. slog writes each event with one call.
type lines struct {
	out    *LogOutput
	urgent bool
}

// Write implements io.Writer. It takes all of p, or drops it.
func (l lines) Write(p []byte) (int, error) {
	l.out.add(p, l.urgent)
	return len(p), nil
}

// byUrgency hands each event to one of two handlers, which differ in where they write alone: a writer doesn't see an event's level.
type byUrgency struct{ usual, urgent slog.Handler }

// Enabled implements slog.Handler.
func (h byUrgency) Enabled(ctx context.Context, level slog.Level) bool {
	return h.usual.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h byUrgency) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn || r.Message == "audit" {
		return h.urgent.Handle(ctx, r) //nolint:wrapcheck // it never fails: lines takes all
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
