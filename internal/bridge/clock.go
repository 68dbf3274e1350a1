package bridge

// This file keeps times in 8 bytes: there are some for each remembered member.

import (
	"math"
	"time"
)

// clock counts from the start of a Bridge. Nobody can set it, as the wall clock can be.
type clock struct{ start time.Time }

// moment is a time of clock, in nanoseconds. 0 is none.
type moment int64

func newClock() clock { return clock{time.Now().Add(-1)} } // now is never 0

func (c clock) now() moment { return c.of(time.Now()) }

// of is the moment of a time that time.Now has given.
func (c clock) of(now time.Time) moment { return moment(now.Sub(c.start)) }

// farthest is the last time that fits into nanoseconds since 1970: in 2262.
var farthest = time.Unix(0, math.MaxInt64)

// instant is a time by the wall clock, in nanoseconds since 1970. The zero time, which is none, and what is too far are the farthest.
func instant(t time.Time) int64 {
	if t.IsZero() || t.After(farthest) {
		return math.MaxInt64
	}
	return t.UnixNano()
}
