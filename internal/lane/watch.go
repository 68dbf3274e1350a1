package lane

// One goroutine watches all connections of a listener on which the lane answers. So the lane needs no deadline for each request, and doesn't
// read the clock. What it does may come two rounds late.

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// watchEvery is the time between two rounds of the watch. A call of Options.Answer that takes longer has its client watched.
const watchEvery = 100 * time.Millisecond

// phase is what happens on a connection.
type phase int64

const (
	serving   phase = iota // the watch leaves it alone: the server uses it, or a head is coming
	idle                   // the lane has answered and waits for the next request
	answering              // Options.Answer runs
	writing                // Options.Answer waits for the client to take bytes
	shut                   // it is closed
)

// The bits of Conn.state: a phase, two marks, and the watch's round in which the phase began. Other goroutines set the marks.
// enter keeps watchedMark.
const (
	phaseBits   = 0b111
	closingMark = 0b1000  // it is to be closed: by Close, after the answer, or by CloseIdle or the watch, at once
	watchedMark = 0b10000 // the client is watched: Conn.attention is set
	stateBits   = 5
)

// conns are the open connections of one listener on which the lane has answered.
type conns struct {
	options *Options
	round   atomic.Int64 // of the watch

	ending atomic.Bool // CloseIdle was called: a connection is closed after the lane's next answer

	mu    sync.Mutex
	all   map[*Conn]struct{}
	runs  bool          // the watch is running
	empty chan struct{} // closed when the last connection is; nil: nobody waits for that
}

func newConns(o *Options) *conns {
	return &conns{options: o, all: make(map[*Conn]struct{})}
}

// add adds a connection. It starts the watch if that isn't running.
func (s *conns) add(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[c] = struct{}{}
	if !s.runs {
		s.runs = true
		go s.watch()
	}
}

func (s *conns) remove(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c)
	if len(s.all) == 0 && s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

// wait blocks until all is empty, or ctx ends. The error is ctx's.
func (s *conns) wait(ctx context.Context) error {
	s.mu.Lock()
	if len(s.all) == 0 {
		s.mu.Unlock()
		return nil
	}
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	empty := s.empty
	s.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// closeIdle is Listener.CloseIdle.
func (s *conns) closeIdle() {
	s.ending.Store(true)
	endAll(slices.DeleteFunc(s.open(), func(c *Conn) bool {
		state := c.state.Load()
		return phase(state&phaseBits) != idle || !c.state.CompareAndSwap(state, state|closingMark) // false: it has changed its phase meanwhile
	}))
}

// closeAll is Listener.Abort.
func (s *conns) closeAll() { endAll(s.open()) }

// endAll closes connections, all at the same time: with TLS, a client that reads nothing makes one take 5 s.
func endAll(all []*Conn) {
	var ends sync.WaitGroup
	for _, c := range all {
		ends.Go(func() { _ = c.end() })
	}
	ends.Wait()
}

func (s *conns) open() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.all))
}

// watch judges all connections ten times a second, as long as there are any.
func (s *conns) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for range tick.C {
		round := s.round.Add(1)
		s.mu.Lock()
		if len(s.all) == 0 {
			s.runs = false
			s.mu.Unlock()
			return
		}
		var over []*Conn
		for c := range s.all {
			if c.judge(round) {
				over = append(over, c)
			}
		}
		s.mu.Unlock()
		if len(over) > 0 {
			go endAll(over)
		}
	}
}

// judge reports whether the connection's time is over: then the caller closes it. It begins to watch a client whose call takes long.
func (c *Conn) judge(round int64) (over bool) {
	state := c.state.Load()
	lasts := time.Duration(round-state>>stateBits-1) * watchEvery // or up to a round longer: the phase began after its round
	o := c.conns.options
	switch phase(state & phaseBits) {
	case idle:
		over = o.IdleTimeout > 0 && lasts >= o.IdleTimeout
	case writing:
		over = o.WriteTimeout > 0 && lasts >= o.WriteTimeout
	case answering:
		if lasts >= watchEvery && state&watchedMark == 0 {
			c.attend(state)
		}
	case serving, shut:
	}
	return over && c.state.CompareAndSwap(state, state|closingMark) // otherwise it has changed its phase meanwhile
}

// enter begins a phase. watchedMark stays set while the lane answers.
func (c *Conn) enter(p phase) {
	answers := p == answering || p == writing
	next := c.conns.round.Load()<<stateBits | int64(p)
	if c.watched && answers {
		next |= watchedMark
	}
	old := c.state.Swap(next)
	if old&closingMark != 0 || phase(old&phaseBits) == shut {
		c.leaving = true
	}
	if old&watchedMark != 0 && !c.watched {
		if c.watched = true; answers {
			c.state.Or(watchedMark)
		}
	}
}

// attention is the watching of one client while the lane answers: a Read of its next byte.
type attention struct {
	done chan struct{} // closed when the Read has ended; only then may next and err be read
	next []byte        // the byte; empty: none came
	err  error         // why the Read failed: the client has left; nil: it hasn't
}

// attend begins to watch the client, if the connection's state is still the given one.
func (c *Conn) attend(state int64) {
	a := &attention{done: make(chan struct{})}
	c.attention.Store(a)
	if !c.state.CompareAndSwap(state, state|watchedMark) {
		return
	}
	go func() {
		defer close(a.done)
		var one [1]byte
		n, err := c.Conn.Read(one[:])
		switch {
		case n > 0:
			a.next = one[:n]
		case !errors.Is(err, os.ErrDeadlineExceeded):
			a.err = err
			c.mu.Lock()
			leave := c.onLeave
			c.mu.Unlock()
			if leave != nil {
				leave()
			}
		}
	}()
}

// unattend stops watching the client. It returns what was read of the next request, and the error if the client has left.
func (c *Conn) unattend() ([]byte, error) {
	if !c.watched {
		return nil, nil
	}
	c.watched = false
	a := c.attention.Swap(nil)
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // ends the Read; if this fails, the connection is closed and the Read ends anyway
	<-a.done
	_ = c.Conn.SetReadDeadline(time.Time{})
	return a.next, a.err
}
