package ops

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// pen is a writer that a test can block or make fail.
type pen struct {
	gate chan struct{} // nil: open; else each write waits until it is closed

	mu     sync.Mutex
	text   bytes.Buffer // guarded by mu
	writes int          // begun; guarded by mu
	room   int          // bytes written before writes fail; 0: they don't fail; guarded by mu
	full   error        // why they fail then; guarded by mu
}

// Write implements io.Writer.
func (p *pen) Write(b []byte) (int, error) {
	p.mu.Lock()
	p.writes++
	p.mu.Unlock()
	if p.gate != nil {
		<-p.gate
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full != nil {
		n, _ := p.text.Write(b[:min(p.room, len(b))])
		p.room -= n
		if n < len(b) {
			return n, p.full
		}
		return n, nil
	}
	return p.text.Write(b)
}

func (p *pen) read() (text string, writes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String(), p.writes
}

// breaks makes writes fail with why after so many bytes; nil repairs the pen.
func (p *pen) breaks(after int, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.room, p.full = after, why
}

// newTextLog returns a log with lines like `level=INFO msg=a`.
func newTextLog(w io.Writer) (*LogOutput, *slog.Logger) {
	output := NewLogOutput(w, prometheus.NewRegistry())
	return output, NewLogger(output, "text", slog.LevelInfo)
}

// dropped returns the value of the metric.
func dropped(o *LogOutput) int {
	registry := prometheus.NewRegistry()
	registry.MustRegister(o.dropped)
	all, _ := registry.Gather() // gathering one counter can't fail
	return int(counters(all)["roomgate_log_dropped_total"])
}

// messages returns the msg of each line.
func messages(text string) (all []string) {
	for line := range strings.Lines(text) {
		_, msg, _ := strings.Cut(strings.TrimSpace(line), "msg=")
		all = append(all, msg)
	}
	return all
}

func TestLinesAreWrittenTogetherAndAtMostATenthOfASecondLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pen
		output, log := newTextLog(&p)
		defer output.Close()
		time.Sleep(time.Second)
		for i := range 50 {
			log.Info(fmt.Sprint(i))
			time.Sleep(time.Millisecond)
		}
		time.Sleep(50*time.Millisecond - 1)
		synctest.Wait()
		if text, _ := p.read(); text != "" {
			t.Errorf("written before there is need: %q", text)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		text, writes := p.read()
		if got := messages(text); len(got) != 50 || got[0] != "0" || got[49] != "49" || writes != 1 {
			t.Errorf("%d writes: %q", writes, got)
		}
	})
}

func TestUrgentLinesAreWrittenAtOnceAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pen
		output, log := newTextLog(&p)
		defer output.Close()
		log = log.With("a", 1).WithGroup("g")
		for _, urgent := range []func(){
			func() { log.Info("audit") }, func() { log.Warn("w") }, func() { log.Error("e") },
		} {
			before, _ := p.read()
			log.Info("first")
			urgent()
			log.Info("last")
			synctest.Wait() // no time passes
			text, _ := p.read()
			if got := messages(text[len(before):]); len(got) < 2 || !strings.HasPrefix(got[0], "first a=1") {
				t.Errorf("%q", got)
			}
			time.Sleep(outputDelay)
			synctest.Wait()
		}
		text, _ := p.read()
		want := "first audit last first w last first e last "
		if got := strings.Join(messages(text), " ") + " "; strings.ReplaceAll(got, " a=1", "") != want {
			t.Errorf("%q", got)
		}
	})
}

func TestManyLinesDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pen
		output, log := newTextLog(&p)
		defer output.Close()
		log.Info(strings.Repeat("a", outputBatch))
		synctest.Wait()
		if _, writes := p.read(); writes != 1 {
			t.Errorf("%d writes", writes)
		}
	})
}

func TestReaderThatIsStuckDelaysNobodyAndLosesCountedLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pen{gate: make(chan struct{})}
		output, log := newTextLog(&p)
		log.Warn("first")
		synctest.Wait() // its write is stuck
		const sent = 10_000
		filler := strings.Repeat("a", 200)
		for i := range sent {
			log.Info(fmt.Sprintf("%d-%s", i, filler))
		}
		lost := dropped(output)
		if lost == 0 || lost == sent || !output.Dropping() {
			t.Fatalf("%d lines of %d dropped; dropping: %v", lost, sent, output.Dropping())
		}
		if held := cap(output.waiting); held > 2*outputMost {
			t.Errorf("%d bytes wait", held)
		}
		for range 20 {
			log.Error("urgent")
			log.Info("audit")
		}
		if now := dropped(output); now != lost {
			t.Errorf("%d urgent lines dropped", now-lost)
		}
		close(p.gate)
		output.Close()
		text, _ := p.read()
		got := messages(text)
		if len(got) != 1+sent-lost+40 || got[0] != "first" || got[1] != "0-"+filler || got[sent-lost] != fmt.Sprintf("%d-%s", sent-lost-1, filler) {
			t.Errorf("%d lines of %d arrived, %d were counted as dropped", len(got), sent, lost)
		}
	})
}

func TestDroppingIsOverAMinuteAfterTheLastDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		output, log := newTextLog(io.Discard)
		defer output.Close()
		if output.Dropping() {
			t.Error("dropping from the start")
		}
		log.Info(strings.Repeat("a", outputMost))
		time.Sleep(time.Minute - 1)
		if !output.Dropping() {
			t.Error("over too soon")
		}
		time.Sleep(time.Nanosecond)
		if output.Dropping() {
			t.Error("not over after a minute")
		}
	})
}

func TestFailedWritesAreCountedAndTornLinesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pen
		output, log := newTextLog(&p)
		defer output.Close()
		flush := func() { time.Sleep(outputDelay); synctest.Wait() }
		log.Info("a")
		flush()
		whole, _ := p.read()
		p.breaks(len(whole)+5, errors.New("disk full"))
		log.Info("b")
		log.Info("c") // torn
		log.Info("d")
		flush()
		if got := dropped(output); got != 2 || !output.Dropping() {
			t.Errorf("%d dropped, want 2", got)
		}
		log.Info("e")
		flush()
		if got := dropped(output); got != 3 {
			t.Errorf("%d dropped, want 3", got)
		}
		p.breaks(0, nil)
		log.Info("f")
		flush()
		text, _ := p.read()
		if got := messages(text); strings.Join(got, ",") != "a,b,,f" || !strings.HasSuffix(text, "\n") {
			t.Errorf("%q", text)
		}
	})
}

// Nobody reads any more. main handles what Go does on EPIPE at standard output.
func TestReaderThatIsGoneLosesCountedLines(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	output, log := newTextLog(w)
	for range 10 {
		log.Info("a")
	}
	output.Close()
	if got := dropped(output); got != 10 {
		t.Errorf("%d dropped, want 10", got)
	}
}

func TestCloseWritesWhatWaitsAndDropsWhatComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pen
		output, log := newTextLog(&p)
		log.Info("a")
		began := time.Now()
		output.Close()
		if text, _ := p.read(); len(messages(text)) != 1 || time.Since(began) > 0 {
			t.Errorf("after %v: %q", time.Since(began), text)
		}
		log.Error("b")
		if got := dropped(output); got != 1 {
			t.Errorf("%d dropped, want 1", got)
		}
		output.Close() // a second Close does nothing
	})
}

func TestCloseGivesUpAStuckWriteAfterASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pen{gate: make(chan struct{})}
		output, log := newTextLog(&p)
		log.Info("a")
		began := time.Now()
		output.Close()
		if took := time.Since(began); took != time.Second {
			t.Errorf("took %v", took)
		}
		close(p.gate)
	})
}

func TestManyMayLogAtTheSameTime(t *testing.T) {
	var p pen
	output, log := newTextLog(&p)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 500 {
				log.Info("a")
				log.Warn("b")
				output.Dropping()
			}
		})
	}
	all.Wait()
	output.Close()
	text, _ := p.read()
	if got := strings.Count(text, "\n") + dropped(output); got != 8000 {
		t.Errorf("%d lines arrived or were counted, of 8000", got)
	}
}
