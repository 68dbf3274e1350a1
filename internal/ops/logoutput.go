package ops

// This file writes the log's lines apart from those who log: a reader that is slow, stuck or gone never delays a request.

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	outputDelay   = 100 * time.Millisecond // at most, for a line that isn't urgent
	outputBatch   = 64 << 10               // bytes that don't wait for outputDelay: what a pipe takes at once
	outputMost    = 1 << 20                // bytes of lines that wait; as many may be in the write under way
	outputReserve = 64 << 10               // of outputMost, for urgent lines alone
	outputEnd     = time.Second            // for what still waits when the process ends
	outputRecent  = time.Minute            // as long after a drop, lines count as being dropped
)

// LogOutput is where a logger's lines wait for one goroutine that writes them, many at a time and in order. What doesn't fit,
// or fails to be written, is dropped and counted. All methods are safe for concurrent use. A process that is killed
// loses the lines of the last 100 ms.
type LogOutput struct {
	out     io.Writer
	dropped prometheus.Counter
	ended   chan struct{} // closed when the goroutine has ended

	mu       sync.Mutex
	waiting  []byte      // whole lines; guarded by mu
	due      *time.Timer // when waiting is written; reset under mu, so that an urgent line isn't put off
	lastDrop time.Time   // zero: never; guarded by mu
	closed   bool        // guarded by mu
}

// NewLogOutput starts a goroutine that writes to w, which may block or fail. The caller calls Close.
func NewLogOutput(w io.Writer, metrics prometheus.Registerer) *LogOutput {
	o := &LogOutput{
		out: w, ended: make(chan struct{}), due: time.NewTimer(outputDelay),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "roomgate_log_dropped_total",
			Help: "Lines of the log that were dropped, because the reader of standard output was slow or gone, or a write failed.",
		}),
	}
	metrics.MustRegister(o.dropped)
	go o.run()
	return o
}

// Dropping reports whether a line was dropped within the last minute.
func (o *LogOutput) Dropping() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.lastDrop.IsZero() && time.Since(o.lastDrop) < outputRecent
}

// Close writes what waits, and returns after a second at the latest. A write that is stuck by then goes on. Lines that
// come later are dropped.
func (o *LogOutput) Close() {
	o.mu.Lock()
	o.closed = true
	o.due.Reset(0)
	o.mu.Unlock()
	select {
	case <-o.ended:
	case <-time.After(outputEnd):
	}
}

// add takes a whole line. It never blocks for the reader.
func (o *LogOutput) add(line []byte, urgent bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	most := outputMost
	if !urgent {
		most -= outputReserve
	}
	before := len(o.waiting)
	after := before + len(line)
	if o.closed || after > most {
		o.drop(1)
		return
	}
	o.waiting = append(o.waiting, line...)
	switch {
	case urgent || before < outputBatch && after >= outputBatch:
		o.due.Reset(0)
	case before == 0:
		o.due.Reset(outputDelay)
	}
}

// drop counts lines that are lost. The caller holds mu.
func (o *LogOutput) drop(lines int) {
	o.dropped.Add(float64(lines))
	o.lastDrop = time.Now()
}

// run writes until the output is closed.
func (o *LogOutput) run() {
	defer close(o.ended)
	var batch []byte
	torn := false // the last write ended within a line
	for last := false; !last; {
		<-o.due.C
		o.mu.Lock()
		batch, o.waiting, last = o.waiting, batch[:0], o.closed
		o.mu.Unlock()
		if len(batch) > 0 {
			torn = o.write(batch, torn)
		}
	}
}

// write writes whole lines. A line that was torn by a failure ends first, or the next one would be lost with it.
func (o *LogOutput) write(lines []byte, torn bool) (tornNow bool) {
	if torn {
		_, err := o.out.Write([]byte("\n"))
		torn = err != nil
	}
	written := 0
	var err error
	if !torn {
		written, err = o.out.Write(lines)
	}
	if rest := lines[written:]; len(rest) > 0 {
		o.mu.Lock()
		o.drop(bytes.Count(rest, []byte("\n")))
		o.mu.Unlock()
	}
	if err != nil && written > 0 {
		torn = lines[written-1] != '\n'
	}
	return torn
}
