package fleet

// Answers to TIME: which are accepted, and what Now makes of them.

import (
	"fmt"
	"testing"
	"time"
)

func TestClockOfRedisIsReadOrTheLocalOneTaken(t *testing.T) {
	s := new(Redis)
	near := func(want time.Time) {
		t.Helper()
		if apart := s.Now().Sub(want).Abs(); apart > time.Minute {
			t.Errorf("the clock is %v off", apart)
		}
	}
	near(time.Now())
	if d, known := s.Ahead(); known || d != 0 {
		t.Errorf("a clock that nobody has read is %v ahead", d)
	}
	for _, odd := range []any{nil, "", []any{}, []any{"1"}, int64(5)} {
		s.LearnClock(odd, time.Now())
		near(time.Now())
	}
	there := time.Now().Add(-1000 * time.Hour)
	s.LearnClock([]any{fmt.Sprint(there.Unix()), "999999"}, time.Now())
	near(there)
	s.LearnClock([]any{fmt.Sprint(there.Unix()), "0"}, time.Now().Add(-time.Hour)) // asked an hour ago
	near(there.Add(time.Hour))
	if d, known := s.Ahead(); !known || (d+999*time.Hour).Abs() > time.Minute {
		t.Errorf("it is %v ahead (%v), want 999 h behind", d, known)
	}
}
