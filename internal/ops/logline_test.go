package ops

import (
	"bytes"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// written returns what a logger writes.
func written(log func(*slog.Logger)) string {
	var text bytes.Buffer
	output := NewLogOutput(&text, prometheus.NewRegistry())
	log(NewLogger(output, "json", slog.LevelInfo))
	output.Close()
	return text.String()
}

func checkAsSlog(t *testing.T, record slog.Record) {
	t.Helper()
	var want bytes.Buffer
	if err := slog.NewJSONHandler(&want, nil).Handle(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	if got := written(func(l *slog.Logger) { _ = l.Handler().Handle(t.Context(), record) }); got != want.String() {
		t.Errorf("%q, and slog writes %q", got, want.String())
	}
}

// Readers of the log must not be able to tell who encoded a line.
func TestEventsAreEncodedAsSlogDoes(t *testing.T) {
	at := time.Date(2026, 11, 28, 1, 2, 3, 45600, time.FixedZone("KST", 9*3600))
	texts := []string{"", "plain", `quo"te`, `back\slash`, "new\nline", "tab\t", "\x00", "\x1f", "\x7f", "<a href='x'>&", "é", "한글", "\u2028", "\xff bad", "�"}
	for _, text := range texts {
		for _, level := range []slog.Level{slog.LevelInfo, slog.LevelInfo + 1, slog.LevelError} {
			record := slog.NewRecord(at, level, "request", 0)
			record.AddAttrs(slog.String("path", text), slog.String(text, "v"), slog.Int("status", 200), slog.Int64("bytes", -1))
			checkAsSlog(t, record)
			checkAsSlog(t, slog.NewRecord(at, level, text, 0))
		}
	}
	for _, f := range []float64{0, math.Copysign(0, -1), 0.001, 1e-7, 1e-6, 12.345, 1e20, 1e21, 123456789.125, -1, math.Inf(1), math.NaN(), math.MaxFloat64} {
		record := slog.NewRecord(at, slog.LevelInfo, "request", 0)
		record.AddAttrs(slog.Float64("duration_ms", f))
		checkAsSlog(t, record)
	}
	for _, a := range []slog.Attr{
		{}, slog.Any("a", nil), slog.Any("a", []string{"x"}), slog.Bool("a", true), slog.Group("g", slog.Int("a", 1)), slog.Group("g"),
		slog.Group("", slog.Int("a", 1), slog.String("b", "c")), slog.Group("", slog.Int("a", 1), slog.String("b", "\n")), slog.Group(""),
		slog.Group("", slog.Group("", slog.Int("a", 1)), slog.Int("b", 1)), slog.Group("", slog.Int("", 1)), slog.Uint64("a", math.MaxUint64), slog.Duration("a", time.Second), slog.Time("a", at), {Value: slog.IntValue(1)},
	} {
		record := slog.NewRecord(at, slog.LevelInfo, "request", 0)
		record.AddAttrs(slog.Int("before", 1), a, slog.Int("after", 1))
		checkAsSlog(t, record)
	}
	for _, at := range []time.Time{{}, time.Now(), at.AddDate(8000, 0, 0), at.UTC()} {
		checkAsSlog(t, slog.NewRecord(at, slog.LevelInfo, "request", 0))
	}
}

func FuzzEventsAreEncodedAsSlogDoes(f *testing.F) {
	f.Add("request", "path", "/v1/sessions/a", int64(7), 1.5)
	f.Add("a\"b", "", "\u2028", int64(-7), 1e-9)
	f.Fuzz(func(t *testing.T, message, key, text string, n int64, x float64) {
		record := slog.NewRecord(time.Unix(0, n), slog.LevelInfo, message, 0)
		record.AddAttrs(slog.String(key, text), slog.Int64("n", n), slog.Float64("x", x))
		checkAsSlog(t, record)
	})
}

// slog encodes the events of a logger with attributes of its own.
func TestLoggersWithAttributesAreEncodedBySlog(t *testing.T) {
	got := written(func(l *slog.Logger) { l.With("use", "x").WithGroup("g").Info("m", "a", 1) })
	if want := `"msg":"m","use":"x","g":{"a":1}}` + "\n"; !bytes.HasSuffix([]byte(got), []byte(want)) {
		t.Errorf("%q does not end in %q", got, want)
	}
}

func BenchmarkEvent(b *testing.B) {
	out := lines{out: NewLogOutput(discard{}, prometheus.NewRegistry())}
	defer out.out.Close()
	record := slog.NewRecord(time.Now(), slog.LevelInfo, "request", 0)
	record.AddAttrs(slog.Attr{Value: slog.GroupValue(
		slog.String("request_id", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"), slog.String("method", "GET"), slog.String("route", "GET /v1/sessions/{room_name}"),
		slog.String("path", "/v1/sessions/room1"), slog.Int("status", 200), slog.Int64("bytes", 112), slog.Float64("duration_ms", 1.234),
		slog.String("client", "127.0.0.1"), slog.String("sub", "2"), slog.String("license", "default"), slog.String("upstream", "interwater"),
		slog.String("token_source", "memory"), slog.String("trace_id", "0123456789abcdef0123456789abcdef"),
	)})
	for name, handler := range map[string]slog.Handler{
		"slog": slog.NewJSONHandler(out, nil), "lines": newLogHandler(out, "json", slog.LevelInfo),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = handler.Handle(b.Context(), record)
			}
		})
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
