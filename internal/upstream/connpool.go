package upstream

// This file keeps the idle connections to one upstream. None of them has a goroutine: the one that takes a connection
// looks at it first, or with the first step of its exchange, and a timer sorts out those that nobody takes.

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// sweepEvery is how long a connection that the upstream has closed may go unnoticed.
const sweepEvery = 5 * time.Second

// connPool is the idle connections of one upstream.
type connPool struct {
	most  int           // how many it keeps
	limit time.Duration // for how long
	age   time.Duration // for how long a connection is used in all, at most

	mu    sync.Mutex
	conns []*upstreamConn // the one that has been idle longest first
	shut  bool            // closed since the last request: nothing comes back
	timer *time.Timer     // nil while there are none
}

// take returns the connection that was used last among those that can be used, or nil. Of one that looks first that isn't sure.
func (p *connPool) take(now time.Time) *upstreamConn {
	for {
		p.mu.Lock()
		p.shut = false
		last := len(p.conns) - 1
		if last < 0 {
			p.mu.Unlock()
			return nil
		}
		c := p.conns[last]
		p.conns[last] = nil
		p.conns = p.conns[:last]
		p.mu.Unlock()
		if p.young(c, now) && (c.looksFirst() || c.quiet()) {
			return c
		}
		c.close()
	}
}

// young reports whether c's time isn't over.
func (p *connPool) young(c *upstreamConn, now time.Time) bool {
	return now.Sub(c.idle) < p.limit && now.Before(c.until)
}

// until is when a new connection has been used for long enough: not all of them at the same time.
func (p *connPool) until() time.Time {
	return time.Now().Add(p.age - time.Duration(rand.Int64N(1+int64(p.age)/4)))
}

// put takes back a connection whose last answer has been read whole.
func (p *connPool) put(c *upstreamConn) {
	c.idle = time.Now()
	p.mu.Lock()
	if p.shut || len(p.conns) >= p.most || c.socket.raw == nil || !c.idle.Before(c.until) {
		p.mu.Unlock()
		c.close()
		return
	}
	p.conns = append(p.conns, c)
	if p.timer == nil {
		p.timer = time.AfterFunc(min(p.limit, sweepEvery), p.sweep)
	}
	p.mu.Unlock()
}

// sweep closes what has been idle for too long and what the upstream has closed.
func (p *connPool) sweep() {
	now := time.Now()
	p.mu.Lock()
	var bad []*upstreamConn
	p.conns = slices.DeleteFunc(p.conns, func(c *upstreamConn) bool {
		if p.young(c, now) && c.quiet() { // looks, doesn't wait
			return false
		}
		bad = append(bad, c)
		return true
	})
	if len(p.conns) == 0 {
		p.timer = nil
	} else if p.timer != nil {
		p.timer.Reset(min(p.limit, sweepEvery))
	}
	p.mu.Unlock()
	for _, c := range bad {
		c.close()
	}
}

// close closes the idle connections, and those that come back before the next request.
func (p *connPool) close() { p.clear(true) }

// drop closes the idle connections alone.
func (p *connPool) drop() { p.clear(false) }

func (p *connPool) clear(shut bool) {
	p.mu.Lock()
	conns := p.conns
	p.conns, p.shut = nil, p.shut || shut
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
	p.mu.Unlock()
	for _, c := range conns {
		c.close()
	}
}
