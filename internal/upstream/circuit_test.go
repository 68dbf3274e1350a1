package upstream

import (
	"testing"
	"testing/synctest"
	"time"
)

// bubble runs f with a circuit, in a synctest bubble.
func bubble(t *testing.T, f func(t *testing.T, c *circuit)) {
	synctest.Test(t, func(t *testing.T) { f(t, newCircuit()) })
}

// must begins a call and fails the test if the circuit doesn't let it through.
func (c *circuit) must(t *testing.T) (ticket uint32) {
	t.Helper()
	ticket, ok := c.begin(time.Now())
	if !ok {
		t.Fatal("the circuit lets no call through")
	}
	return ticket
}

// feed makes n calls that end at once.
func (c *circuit) feed(t *testing.T, n int, o outcome) {
	t.Helper()
	for range n {
		c.end(c.must(t), o, time.Now())
	}
}

// want fails the test if the circuit isn't in that state.
func (c *circuit) want(t *testing.T, state string) {
	t.Helper()
	if got := c.current(time.Now()); got != state {
		t.Errorf("the circuit is %s, want %s", got, state)
	}
}

func TestCircuitOpensByHalfOfTwentyAndCloses(t *testing.T) {
	bubble(t, func(t *testing.T, c *circuit) {
		c.feed(t, circuitLeast/2, good)
		c.feed(t, circuitLeast/2-1, bad)
		c.want(t, closed)
		c.feed(t, 1, bad)
		for range 3 { // open: no call until the pause is over
			time.Sleep(CircuitPause - time.Nanosecond)
			if _, ok := c.begin(time.Now()); ok {
				t.Fatal("a call within the pause")
			}
			c.want(t, open)
			time.Sleep(time.Nanosecond)
			c.want(t, halfOpen)
			c.feed(t, circuitTrials-1, good)
			c.feed(t, 1, bad) // still failing: open again
			c.want(t, open)
		}
		time.Sleep(CircuitPause)
		c.feed(t, circuitTrials, good)
		c.want(t, closed)
		c.feed(t, circuitLeast-1, bad) // earlier failures are forgotten
		c.want(t, closed)
	})
}

func TestCircuitStaysClosedByLessThanHalf(t *testing.T) {
	bubble(t, func(t *testing.T, c *circuit) {
		for range 100 {
			c.feed(t, circuitLeast, good)
			c.feed(t, circuitLeast-1, bad)
		}
		c.want(t, closed)
	})
}

// With a timeout longer than the window, every call began before the window.
func TestCircuitCountsACallWhenItEnds(t *testing.T) {
	bubble(t, func(t *testing.T, c *circuit) {
		var tickets []uint32
		for range circuitLeast {
			tickets = append(tickets, c.must(t))
		}
		time.Sleep(3 * circuitWindow * time.Second)
		for _, ticket := range tickets {
			c.want(t, closed)
			c.end(ticket, bad, time.Now())
		}
		c.want(t, open)
	})
}

// Such calls would open the circuit again although the upstream has recovered.
func TestCircuitIgnoresCallsFromBeforeItOpened(t *testing.T) {
	bubble(t, func(t *testing.T, c *circuit) {
		var old []uint32
		for range 10 * circuitLeast {
			old = append(old, c.must(t))
		}
		c.feed(t, circuitLeast, bad)
		c.want(t, open)
		time.Sleep(CircuitPause)
		trial := c.must(t)
		for _, ticket := range old[:circuitLeast] {
			c.end(ticket, good, time.Now())
		}
		c.want(t, halfOpen)
		c.end(trial, good, time.Now())
		c.feed(t, circuitTrials-1, good)
		for _, ticket := range old[circuitLeast:] {
			c.end(ticket, bad, time.Now())
		}
		c.want(t, closed)
	})
}

func TestOldFaultsAreForgotten(t *testing.T) {
	bubble(t, func(t *testing.T, c *circuit) {
		for range 10 { // fewer than circuitLeast within any window
			c.feed(t, circuitLeast/2-1, bad)
			time.Sleep(circuitWindow / 2 * time.Second)
		}
		c.want(t, closed)
		time.Sleep(circuitWindow * time.Second)
		c.feed(t, circuitLeast/2, bad)
		time.Sleep((circuitWindow - 1) * time.Second)
		c.feed(t, circuitLeast/2, bad)
		c.want(t, open)
	})
}

// Callers lose patience when an upstream hangs. Their leaving must not count as a good answer.
func TestCallersWhoLeaveDoNotHideAFault(t *testing.T) {
	bubble(t, func(t *testing.T, c *circuit) {
		for range circuitLeast {
			c.feed(t, 9, nothing)
			c.want(t, closed)
			c.feed(t, 1, bad)
		}
		c.want(t, open)
		time.Sleep(CircuitPause)
		c.feed(t, 10*circuitTrials, nothing) // leaving uses up no trials
		c.feed(t, circuitTrials, good)
		c.want(t, closed)
	})
}

func TestCircuitLetsFewThroughAtFirst(t *testing.T) {
	bubble(t, func(t *testing.T, c *circuit) {
		c.feed(t, circuitLeast, bad)
		time.Sleep(CircuitPause)
		var trials []uint32
		for range circuitTrials {
			trials = append(trials, c.must(t))
		}
		if _, ok := c.begin(time.Now()); ok {
			t.Error("one more")
		}
		c.end(trials[0], good, time.Now())
		if _, ok := c.begin(time.Now()); ok {
			t.Error("one more after one was good")
		}
		for _, ticket := range trials[1:] {
			c.end(ticket, good, time.Now())
		}
		c.want(t, closed)
	})
}

// A trial lasts until its reader has the whole answer. Slow readers must not keep the circuit half-open.
func TestTrialsWithSlowReadersDoNotKeepTheCircuitHalfOpen(t *testing.T) {
	bubble(t, func(t *testing.T, c *circuit) {
		c.feed(t, circuitLeast, bad)
		time.Sleep(CircuitPause)
		for range circuitTrials {
			c.must(t)
		}
		time.Sleep(CircuitPause)
		c.feed(t, circuitTrials, good)
		c.want(t, closed)
	})
}
