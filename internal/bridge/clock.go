package bridge

import (
	"math"
	"time"
)

// clock measures monotonic time from the creation of a Bridge. Setting the wall clock doesn't change it.
type clock struct{ start time.Time }

// moment is a time by a clock, in nanoseconds. 0 means none. It takes 8 bytes where a time.Time takes 24: each remembered member has
// several.
type moment int64

// newClock returns a clock that starts now. It starts at 1, so that no later moment is 0.
func newClock() clock { return clock{time.Now().Add(-1)} }

// now returns the present moment.
func (c clock) now() moment { return c.of(time.Now()) }

// of returns the moment of now, which must come from time.Now.
func (c clock) of(now time.Time) moment { return moment(now.Sub(c.start)) }

// farthest is the latest time that int64 can hold in nanoseconds since 1970. It is in the year 2262.
var farthest = time.Unix(0, math.MaxInt64)

// instant returns a time by the wall clock in nanoseconds since 1970. For the zero time, which means none, and for times after
// farthest, it is the largest int64.
func instant(t time.Time) int64 {
	if t.IsZero() || t.After(farthest) {
		return math.MaxInt64
	}
	return t.UnixNano()
}
