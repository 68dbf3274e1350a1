package ops

// This file makes the program's logger.

import (
	"io"
	"log/slog"
)

// NewLogger writes events to w, one a line: JSON unless format is "text". level may be changed while it is used.
func NewLogger(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}
