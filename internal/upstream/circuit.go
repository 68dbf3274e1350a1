package upstream

import (
	"sync"
	"time"
)

// CircuitPause is how long an open circuit lets no call through. It is the Retry-After of ErrCircuit.
const CircuitPause = time.Second

// The circuit opens when at least circuitLeast calls ended within circuitWindow and half of them failed. After CircuitPause it is
// half-open: it lets circuitTrials calls through. It closes when all of them end well, and opens again when one fails.
const (
	circuitLeast  = 20
	circuitWindow = 10 // in seconds
	circuitTrials = 3
)

// The states of a circuit, as returned by Upstream.Circuit.
const (
	closed   = "closed"
	halfOpen = "half-open"
	open     = "open"
)

// outcome is what a call says about the upstream.
type outcome uint8

const (
	nothing outcome = iota // the caller ended the call
	good
	bad
)

// circuit decides from the outcomes of recent calls whether another may be made. A call counts in the second when it ends. A call
// that began before the circuit last opened doesn't count. A circuit is safe for concurrent use.
type circuit struct {
	began time.Time // start of second 0
	least int

	mu      sync.Mutex
	opened  uint32    // how often the circuit has opened
	state   string    // open until the first call after the pause, though current says half-open
	until   time.Time // open: when the pause ends
	seconds [circuitWindow]tally
	permits int       // half-open: how many more trials may begin
	renewed time.Time // half-open: when permits were last given
	passed  int       // half-open: how many trials ended well
}

// tally counts the calls that ended in one second.
type tally struct {
	second    int64
	good, bad int
}

func newCircuit() *circuit {
	return &circuit{began: time.Now(), least: circuitLeast, state: closed}
}

// begin reports whether a call may be made. The caller passes the ticket to end.
func (c *circuit) begin(now time.Time) (ticket uint32, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == closed {
		return c.opened, true
	}
	if c.state == open {
		if now.Before(c.until) {
			return 0, false
		}
		c.state, c.passed, c.permits, c.renewed = halfOpen, 0, circuitTrials, now
	}
	if c.permits == 0 && now.Sub(c.renewed) >= CircuitPause {
		c.permits, c.renewed = circuitTrials, now // long trials (a slow reader) must not keep it half-open
	}
	if c.permits == 0 {
		return 0, false
	}
	c.permits--
	return c.opened, true
}

// end records the outcome of a call.
func (c *circuit) end(ticket uint32, o outcome, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case ticket != c.opened || c.state == open:
	case c.state == closed:
		c.count(o, now)
	case o == nothing:
		c.permits = min(c.permits+1, circuitTrials)
	case o == bad:
		c.open(now)
	default:
		if c.passed++; c.passed >= circuitTrials {
			c.state, c.seconds = closed, [circuitWindow]tally{}
		}
	}
}

// count adds an outcome to its second, and opens the circuit on one failure too many.
func (c *circuit) count(o outcome, now time.Time) {
	if o == nothing {
		return
	}
	second := int64(now.Sub(c.began) / time.Second)
	t := &c.seconds[second%circuitWindow]
	if t.second != second {
		*t = tally{second: second}
	}
	if o == good {
		t.good++
		return
	}
	t.bad++
	ended, failed := 0, 0
	for _, t := range c.seconds {
		if second-t.second < circuitWindow {
			ended, failed = ended+t.good+t.bad, failed+t.bad
		}
	}
	if ended >= c.least && failed*2 >= ended {
		c.open(now)
	}
}

func (c *circuit) open(now time.Time) {
	c.opened++
	c.state, c.until = open, now.Add(CircuitPause)
}

// current returns the state at now.
func (c *circuit) current(now time.Time) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == open && !now.Before(c.until) {
		return halfOpen
	}
	return c.state
}
