package proxy

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"sync"
	"testing"
	"time"
)

// logs is the gateway's log. Tests read it while the gateway writes.
type logs struct {
	mu    sync.Mutex
	text  bytes.Buffer
	taken int // the bytes of text that next has read
	news  chan struct{}
}

// Write implements io.Writer. slog calls it once for each record.
func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(p)
	select {
	case l.news <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// log returns a logger whose events g.event reads.
func (g *gateway) log() *slog.Logger {
	return slog.New(slog.NewJSONHandler(g.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// event waits for the next access event, which may come after the client's answer.
func (g *gateway) event(t *testing.T) map[string]any {
	t.Helper()
	late := time.After(patience)
	for {
		if e := g.logs.next(t); e != nil {
			return e
		}
		select {
		case <-g.logs.news:
		case <-late:
			all := g.logs.String()
			t.Fatalf("no access event; the log ends in %s", all[max(0, len(all)-1000):])
		}
	}
}

// next returns the next access event, or nil if there is none yet.
func (l *logs) next(t *testing.T) map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		rest := l.text.Bytes()[l.taken:]
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			return nil
		}
		l.taken += end + 1
		var record map[string]any
		if err := json.Unmarshal(rest[:end], &record); err != nil {
			t.Fatalf("log line %q: %v", rest[:end], err)
		}
		if record["msg"] == "request" {
			return record
		}
	}
}
