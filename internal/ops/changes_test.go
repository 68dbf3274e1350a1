package ops

import (
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestEachChangeOfStateIsRememberedWithItsMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now atomic.Pointer[[]Degradation]
		set := func(list ...Degradation) { now.Store(&list) }
		set()
		h := NewHistory(prometheus.NewRegistry(), func() []Degradation { return *now.Load() })
		go func() { _ = h.Run(t.Context()) }()
		after(500 * time.Millisecond)
		if c := h.Past().Changes; len(c) != 0 {
			t.Errorf("at the start: %+v", c)
		}
		redis := Degradation{Reason: "redis", Level: LevelRisk}
		fails := Degradation{Reason: "answers", Subject: "GET /a", Level: LevelDown}
		failed := Degradation{Reason: "answers", Subject: "GET /a", Level: LevelRisk}
		began := time.Now()
		for _, tt := range []struct {
			is           []Degradation
			level        string
			began, ended int
		}{
			{[]Degradation{redis}, LevelRisk, 1, 0}, {[]Degradation{fails, redis}, LevelDown, 1, 0}, {[]Degradation{failed, redis}, LevelRisk, 1, 0},
			{[]Degradation{failed}, LevelRisk, 0, 1}, {[]Degradation{redis}, LevelRisk, 1, 1}, {nil, "", 0, 1},
		} {
			before := len(h.Past().Changes)
			set(tt.is...)
			after(10 * time.Second) // ten readings, but one change
			all := h.Past().Changes
			if c := all[len(all)-1]; len(all) != before+1 || c.Level != tt.level || len(c.Began) != tt.began || len(c.Ended) != tt.ended ||
				c.At.Before(began) || c.At.Sub(began) > time.Second {
				t.Errorf("%v: %+v of %d", tt.is, c, len(all))
			}
			began = time.Now()
		}
		after(historySpan - 30*time.Second)
		if n := len(h.Past().Changes); n >= 6 || n == 0 {
			t.Errorf("%d are remembered as the first is older than 15 minutes", n)
		}
		after(time.Minute)
		if n := len(h.Past().Changes); n != 0 {
			t.Errorf("%d are remembered for over 15 minutes", n)
		}
	})
}

func TestChangesAreBounded(t *testing.T) {
	var s states
	at := time.Unix(0, 0)
	for i := range 3 * changesMost {
		s.take(at.Add(time.Duration(i)*time.Second), []Degradation{{Reason: "token", Subject: strconv.Itoa(i), Level: LevelDown}})
	}
	if last := s.changes[len(s.changes)-1]; len(s.changes) != changesMost || last.Began[0].Subject != strconv.Itoa(3*changesMost-1) {
		t.Errorf("%d changes, the last %+v", len(s.changes), last)
	}
}
