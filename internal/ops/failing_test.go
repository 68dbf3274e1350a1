package ops

import (
	"testing"
	"testing/synctest"
	"time"
)

// answer counts one answer of a route, and its call.
func (g *gauged) answer(route, code, result string) {
	g.requests.WithLabelValues(route, "GET", code).Inc()
	g.calls.WithLabelValues("interwater", result).Inc()
}

func TestFailedAnswersAreSeenAndForgotten(t *testing.T) {
	const route = "GET /v1/info"
	for _, tt := range []struct {
		rule          string
		each          int // per second
		failed        int // how many of those
		code, result  string
		is, now, call bool
	}{
		{"all at 60 a second", 60, 60, "503", "error", true, true, true},
		{"a fifth", 10, 2, "500", "error", true, true, true},
		{"one a second of sixty", 60, 1, "502", "failed", true, true, true},
		{"all, at one a second", 1, 1, "504", "timeout", true, true, true},
		{"refused by ourselves, without a call", 10, 10, "502", "ok", true, true, false},
		{"none", 10, 0, "500", "error", false, false, false},
		{"of two hundred, one in ten seconds is bad luck", 200, 0, "500", "error", false, false, false},
		{"clients' faults", 10, 10, "401", "ok", false, false, false},
		{"clients that have left", 10, 10, "499", "client", false, false, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newGauged()
			for range 50 {
				g.answer(route, "500", "error") // from before the history began: must not count
			}
			h := watched(t, g.registry)
			after(500 * time.Millisecond)
			for second := range 20 {
				for i := range tt.each {
					if i < tt.failed {
						g.answer(route, tt.code, tt.result)
					} else {
						g.answer(route, "200", "ok")
					}
				}
				if tt.each == 200 && second%10 == 0 {
					g.answer(route, "500", "ok")
				}
				after(time.Second)
			}
			got := map[string]Failing{}
			for _, f := range h.Failing() {
				got[f.Name] = f
			}
			if f, is := got[route]; is != tt.is || f.Now != tt.now || f.Minute != tt.now {
				t.Errorf("%s: %+v", tt.rule, got)
			} else if _, called := got["interwater"]; called != tt.call {
				t.Errorf("%s: the upstream's calls: %+v", tt.rule, got)
			} else if is {
				same(t, tt.rule+": share", f.Of(), float64(tt.failed)/float64(tt.each))
			}
			for range 70 { // all is well again, but still listed for five minutes
				g.answer(route, "200", "ok")
				g.answer(route, "200", "ok")
				after(time.Second)
			}
			if list := h.Failing(); (len(list) > 0) != tt.is || tt.is && (list[0].Now || list[0].Minute) {
				t.Errorf("%s, a minute later: %+v", tt.rule, list)
			}
			after(5 * time.Minute)
			if list := h.Failing(); len(list) > 0 {
				t.Errorf("%s, much later: %+v", tt.rule, list)
			}
		})
	}
}

// Nobody has asked since, so nobody knows whether it works again.
func TestWhatFailedLastFailsUntilItIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGauged()
		h := watched(t, g.registry)
		after(500 * time.Millisecond)
		for range 5 {
			g.answer("GET /v1/info", "502", "failed")
			after(time.Second)
		}
		after(2 * time.Minute)
		if list := h.Failing(); len(list) != 2 || !list[0].Now || list[0].Minute || list[0].Upstream || !list[1].Upstream {
			t.Errorf("%+v", list)
		}
	})
}

func TestHeadlineSaysWhetherMembersAreServed(t *testing.T) {
	w := words{Lang: "en", table: texts()}
	for _, tt := range []struct {
		levels     []string
		ready      bool
		text, mood string
	}{
		{nil, true, "● Well: members are served", "good"},
		{[]string{LevelRisk}, true, "▲ At risk: members are served, but something is missing", "warn"},
		{[]string{LevelDown, LevelRisk}, true, "✕ Down: members get errors", "bad"},
		{[]string{LevelRisk, LevelDown}, true, "✕ Down: members get errors", "bad"},
		{nil, false, "Draining: no new traffic is wanted · ● Well: members are served", "warn"},
		{[]string{LevelDown}, false, "Draining: no new traffic is wanted · ✕ Down: members get errors", "bad"},
	} {
		s := Status{}
		for _, level := range tt.levels {
			s.Degraded = append(s.Degraded, Degradation{Level: level})
		}
		if got := headline(w, s, tt.ready); got.Text != tt.text || got.Mood != tt.mood {
			t.Errorf("%v: %+v", tt.levels, got)
		}
	}
}
