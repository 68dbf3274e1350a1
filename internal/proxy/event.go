package proxy

import (
	"log/slog"
	"time"
)

const maxLoggedPath = 1 << 10 // bytes

// eventAttrs is memory for the attributes of an access event.
type eventAttrs [14]slog.Attr

// event returns the access event of a call: one for each request. It contains no query, body, token or key. Its PC is 0, which saves
// the look-up of the caller that Logger does. Its attributes are in memory, which mustn't change while the event is in use.
func event(c *call, status int, bytes int64, took time.Duration, memory *eventAttrs) slog.Record {
	attrs := append(memory[:0],
		slog.String("request_id", c.requestID),
		slog.String("method", c.method),
		slog.String("route", c.route),
		slog.String("path", loggedPath(c)),
		slog.Int("status", status),
		slog.Int64("bytes", bytes),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("client", c.client),
		slog.String("sub", c.subject),
		slog.String("license", c.grant.License),
		slog.String("upstream", c.upstream),
		slog.String("token_source", c.tokenSource),
		slog.String("trace_id", c.traceID()),
	)
	if c.failure != nil {
		attrs = append(attrs, slog.String("error", c.failure.Error()))
	}
	r := slog.NewRecord(c.began.Add(took), slog.LevelInfo, "request", 0)
	r.AddAttrs(slog.Attr{Value: slog.GroupValue(attrs...)}) // a group without a name: they count as the record's own
	return r
}

// loggedPath returns the path as sent, cut to maxLoggedPath.
func loggedPath(c *call) string { return c.target.path[:min(len(c.target.path), maxLoggedPath)] }
