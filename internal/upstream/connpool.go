package upstream

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// sweepEvery is how long a connection that the upstream has closed may stay unnoticed.
const sweepEvery = 5 * time.Second

// connPool holds the idle connections of one upstream. They have no goroutines: whoever takes a connection checks it, or its
// exchange does, and a timer removes dead ones that nobody takes.
type connPool struct {
	most  int           // maximum number of idle connections
	limit time.Duration // maximum idle time
	age   time.Duration // maximum age of a connection

	mu    sync.Mutex
	conns []*upstreamConn // longest idle first
	shut  bool            // close was called since the last take: put closes what comes
	timer *time.Timer     // nil while conns is empty
}

// take returns the most recently used connection that is usable, or nil. It doesn't check one that looksFirst: exchange does.
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

// young reports whether c is neither too old nor idle for too long.
func (p *connPool) young(c *upstreamConn, now time.Time) bool {
	return now.Sub(c.idle) < p.limit && now.Before(c.until)
}

// until returns when a new connection becomes too old. It is random within a quarter of age, so that connections don't all end at
// once.
func (p *connPool) until() time.Time {
	return time.Now().Add(p.age - time.Duration(rand.Int64N(1+int64(p.age)/4)))
}

// put takes back a connection whose answer has been read whole, or closes it.
func (p *connPool) put(c *upstreamConn, now time.Time) {
	c.idle = now
	p.mu.Lock()
	if p.shut || len(p.conns) >= p.most || c.socket.raw == nil || !now.Before(c.until) {
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

// sweep closes connections that are too old, idle for too long, or closed by the upstream.
func (p *connPool) sweep() {
	now := time.Now()
	p.mu.Lock()
	var bad []*upstreamConn
	p.conns = slices.DeleteFunc(p.conns, func(c *upstreamConn) bool {
		if p.young(c, now) && c.quiet() { // quiet doesn't block
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

// close closes the idle connections, and those that put brings back before the next take.
func (p *connPool) close() { p.clear(true) }

// drop closes only the idle connections.
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
