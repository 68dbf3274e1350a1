package lane

// This file watches over connections while the lane answers on them: one goroutine for all, so that no request has to set a
// deadline. It is up to a second late.

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

const (
	watchEvery = 100 * time.Millisecond
	longCall   = 100 * time.Millisecond // from then on a client that leaves is noticed
)

// phase is what a connection does, as far as the lane is concerned.
type phase int64

const (
	serving   phase = iota // it is the server's
	idle                   // between two requests
	answering              // Options.Answer runs
	writing                // it waits for the client to take bytes
	shut                   // it is closed
)

// The bits of Conn.state: a phase, two marks that others than the connection's goroutine set, and since when it lasts, in
// nanoseconds after conns.began.
const (
	phaseBits   = 0b111
	closingMark = 0b1000  // Close was called while the lane answered
	watchedMark = 0b10000 // the client is watched: Conn.attention is set
	stateBits   = 5
)

// conns are the open connections of one listener on which the lane has answered.
type conns struct {
	options *Options
	began   time.Time

	ending atomic.Bool // no connection waits for a next request

	mu    sync.Mutex
	all   map[*Conn]struct{}
	runs  bool          // the watch does
	empty chan struct{} // closed when the last one is; nil: nobody waits for that
}

func newConns(o *Options) *conns {
	return &conns{options: o, began: time.Now(), all: make(map[*Conn]struct{})}
}

// add counts a connection, and starts the watch with the first.
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

// wait blocks until no connection is open, or ctx ends.
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

// closeIdle closes the connections that wait for a next request, from now on too.
func (s *conns) closeIdle() {
	s.ending.Store(true)
	for _, c := range s.open() {
		state := c.state.Load()
		if phase(state&phaseBits) == idle && c.state.CompareAndSwap(state, state|closingMark) { // else it has gone on meanwhile
			_ = c.end()
		}
	}
}

// closeAll closes all connections, those that are being answered too.
func (s *conns) closeAll() {
	for _, c := range s.open() {
		_ = c.end()
	}
}

func (s *conns) open() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.all))
}

// watch runs while there are connections.
func (s *conns) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for range tick.C {
		now := time.Since(s.began)
		s.mu.Lock()
		if len(s.all) == 0 {
			s.runs = false
			s.mu.Unlock()
			return
		}
		var over []*Conn
		for c := range s.all {
			if c.judge(now) {
				over = append(over, c)
			}
		}
		s.mu.Unlock()
		for _, c := range over {
			_ = c.end()
		}
	}
}

// judge reports whether the connection's time is over, and begins to watch a client that waits for long.
func (c *Conn) judge(now time.Duration) (over bool) {
	state := c.state.Load()
	lasts := now - time.Duration(state>>stateBits)
	o := c.conns.options
	switch phase(state & phaseBits) {
	case idle:
		over = o.IdleTimeout > 0 && lasts > o.IdleTimeout
	case writing:
		over = o.WriteTimeout > 0 && lasts > o.WriteTimeout
	case answering:
		if lasts > longCall && state&watchedMark == 0 {
			c.attend(state)
		}
	case serving, shut:
	}
	return over && c.state.CompareAndSwap(state, state|closingMark) // else it has gone on meanwhile
}

// enter begins a phase. The mark of a watched client stays as long as the lane answers.
func (c *Conn) enter(p phase) {
	answers := p == answering || p == writing
	next := int64(time.Since(c.conns.began))<<stateBits | int64(p)
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

// attention is a look at whether the client leaves while the lane answers: a Read of its next byte.
type attention struct {
	done chan struct{} // closed when it is over. What follows is set before
	next []byte        // that byte, where it came
	err  error         // the client has left
}

// attend begins a look at the client, if the connection's state is still the one that was judged.
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

// unattend ends the look, and returns what it has read of the next request.
func (c *Conn) unattend() ([]byte, error) {
	if !c.watched {
		return nil, nil
	}
	c.watched = false
	a := c.attention.Swap(nil)
	_ = c.Conn.SetReadDeadline(time.Unix(1, 0)) // closed: Read says so
	<-a.done
	_ = c.Conn.SetReadDeadline(time.Time{})
	return a.next, a.err
}
