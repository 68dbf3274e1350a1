package ops

import (
	"bytes"
	"io"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	outputDelay   = 100 * time.Millisecond // maximum wait of a line that isn't urgent
	outputBatch   = 64 << 10               // waiting bytes that are written at once: what a pipe accepts
	outputMost    = 1 << 20                // maximum bytes that wait; a write under way may hold as many
	outputReserve = 64 << 10               // part of outputMost, only for urgent lines
	outputEnd     = time.Second            // time to write what waits when the process ends
	outputRecent  = time.Minute            // how long Dropping reports true after a drop
)

// LogOutput holds a logger's lines until its goroutine writes them, many at a time and in order. So a reader that is slow, stuck
// or gone never delays a request. Lines that don't fit or can't be written are dropped and counted. All methods are safe for
// concurrent use. A process that is killed loses the lines of the last 100 ms.
type LogOutput struct {
	out     io.Writer
	dropped prometheus.Counter
	ended   chan struct{} // closed when the goroutine has ended

	mu       sync.Mutex
	waiting  []byte      // whole lines; guarded by mu
	due      *time.Timer // when waiting is written; reset only under mu, so that an urgent line isn't delayed
	lastDrop time.Time   // zero: never; guarded by mu
	closed   bool        // guarded by mu
}

// NewLogOutput starts a goroutine that writes to w, which may block or fail. The caller must call Close.
func NewLogOutput(w io.Writer, metrics prometheus.Registerer) *LogOutput {
	o := &LogOutput{
		out: w, ended: make(chan struct{}), due: time.NewTimer(outputDelay),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "roomgate_log_dropped_total",
			Help: "Log lines that were dropped because the reader of standard output was slow or gone, or a write failed.",
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

// Close writes the waiting lines. It returns after at most a second, even if a write is stuck. Lines that come later are dropped.
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

// add queues a whole line, or drops it. It never waits for the reader.
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

// drop counts lost lines. The caller holds mu.
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

// write writes whole lines. If the last write failed within a line, it ends that line first, so that the next one isn't lost with
// it.
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
