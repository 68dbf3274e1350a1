package main

// The chaos run: one thing after the other breaks under load, and its cost is counted.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	tokenLife  = 5 * time.Second
	eventEvery = 20 * time.Second
	broken     = tokenLife       // how long a fault lasts; each one meets a refresh
	recovery   = 3 * time.Second // after an upstream recovers: backoff and circuit, see docs/failures.md
)

// The promises: the share of good answers while an upstream lives, in percent, and calls of v1/auth per token's life.
const (
	leastSuccess = 99.9
	mostCalls    = 1.5
)

// episode is one event of a run and the quiet time after it.
type episode struct {
	event
	from, to  time.Time // to: when the next event begins
	mended    time.Time // when the fault ended
	authCalls int
	inVain    int // those of authCalls that fell into the outage
}

// outage reports whether a request overlapped the time in which an upstream couldn't answer, so that no gateway could either.
func (e episode) outage(x sample) bool {
	return e.upstream && !x.due.Add(x.took).Before(e.from) && x.due.Before(e.mended.Add(recovery))
}

// episodeOf returns the index of the episode that a request belongs to: the one in which it was due, or the next one if that
// began an outage while the request was in flight. It is -1 for a request from before the first.
func episodeOf(played []episode, x sample) int {
	next, _ := slices.BinarySearchFunc(played, x.due, func(e episode, at time.Time) int {
		if e.from.After(at) {
			return 1
		}
		return -1
	})
	if next < len(played) && played[next].outage(x) {
		return next
	}
	return next - 1
}

// chaos plays events in rounds, each round in another order, for as long as asked.
func chaos(ctx context.Context, f *fleet, o options, progress io.Writer) (string, error) {
	if err := f.control.setFaults(ctx, shortLife()); err != nil {
		return "", err
	}
	l, err := f.startLoad(ctx, o.rate)
	if err != nil {
		return "", err
	}
	defer l.stop()
	if err := pause(ctx, settled); err != nil {
		return "", err
	}
	random := rand.New(rand.NewPCG(o.seed, 0))
	var played []episode
	var round []event
	for began := time.Now(); time.Since(began) < o.chaos; {
		if len(round) == 0 {
			round = events()
			random.Shuffle(len(round), func(i, j int) { round[i], round[j] = round[j], round[i] })
		}
		next := round[0]
		round = round[1:]
		_, _ = fmt.Fprintf(progress, "%s %s\n", clock(), next.name)
		e, err := f.play(ctx, next, random.IntN(replicas))
		if err != nil {
			return "", fmt.Errorf("%s: %w", next.name, err)
		}
		played = append(played, e)
	}
	l.stop()
	return account(played, l.samples(), o)
}

// play runs one event, which repairs what it breaks, and waits until the next is due.
func (f *fleet) play(ctx context.Context, what event, replica int) (episode, error) {
	before, err := f.control.authCalls(ctx)
	if err != nil {
		return episode{}, err
	}
	e := episode{event: what, from: time.Now()}
	if err := what.do(ctx, f, replica); err != nil {
		return e, err
	}
	e.mended = time.Now()
	if what.upstream {
		if err := pause(ctx, recovery); err != nil {
			return e, err
		}
		calls, err := f.control.authCalls(ctx)
		if err != nil {
			return e, err
		}
		e.inVain = calls - before
	}
	if err := pause(ctx, time.Until(e.from.Add(eventEvery))); err != nil {
		return e, err
	}
	e.to = time.Now()
	after, err := f.control.authCalls(ctx)
	e.authCalls = after - before
	return e, err
}

// sum adds up all events of a kind.
type sum struct {
	times             int
	authCalls, inVain int
	lasted, outages   time.Duration
	in, out           []sample // during outages of an upstream, and outside them
}

func (s *sum) add(e episode) {
	s.times++
	s.authCalls += e.authCalls
	s.inVain += e.inVain
	s.lasted += e.to.Sub(e.from)
	if e.upstream {
		s.outages += e.mended.Add(recovery).Sub(e.from)
	}
}

func (s *sum) sample(x sample, in bool) {
	if in {
		s.in = append(s.in, x)
	} else {
		s.out = append(s.out, x)
	}
}

// calls returns how often a token was fetched while the upstreams lived, as a multiple of the ideal: once in a token's life.
func (s *sum) calls() float64 {
	return float64(s.authCalls-s.inVain) * tokenLife.Seconds() / (s.lasted - s.outages).Seconds()
}

// row returns the sum as a row of the table.
func (s *sum) row(name string) string {
	live, gone := tallyOf(s.out), tallyOf(s.in)
	failed, calls := "", ""
	if s.outages > 0 {
		failed, calls = fmt.Sprintf("%d of %d", gone.failed, gone.requests), strconv.Itoa(s.inVain)
	}
	return fmt.Sprintf("| %s | %d | %d | %d | %.3f %% | %d ms | %d ms | %d | %.2f | %s | %s |\n", name, s.times,
		live.requests, live.failed, live.success(), live.quantile(.5), live.quantile(.99),
		s.authCalls-s.inVain, s.calls(), failed, calls)
}

// account makes the table. The error says which promises weren't kept.
func account(played []episode, list []sample, o options) (string, error) {
	var all sum
	kinds := map[string]*sum{}
	for _, e := range played {
		if kinds[e.name] == nil {
			kinds[e.name] = &sum{}
		}
		kinds[e.name].add(e)
		all.add(e)
	}
	for _, x := range list {
		if i := episodeOf(played, x); i >= 0 {
			in := played[i].outage(x)
			kinds[played[i].name].sample(x, in)
			all.sample(x, in)
		}
	}
	var rows strings.Builder
	for _, e := range events() {
		if kinds[e.name] != nil {
			rows.WriteString(kinds[e.name].row(e.name))
		}
	}
	live, whole := tallyOf(all.out), tallyOf(append(append([]sample{}, all.in...), all.out...))
	table := fmt.Sprintf(`%s. %v, %d requests/s, seed %d; tokens live %v.

| event | times | requests | failed | success | p50 | p99 | v1/auth | of ideal | failed in outages | v1/auth in outages |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
%s%s
Failures outside outages: %s.

Outages counted in: %d of %d requests failed (success %.3f %%), with %d calls of v1/auth (%.2f of the ideal).
`, stamp(), all.lasted.Round(time.Second), o.rate, o.seed, tokenLife, rows.String(), all.row("**all**"),
		orNone(live.why()), whole.failed, whole.requests, whole.success(),
		all.authCalls, float64(all.authCalls)*tokenLife.Seconds()/all.lasted.Seconds())
	var missed []error
	if live.success() < leastSuccess {
		missed = append(missed, fmt.Errorf("success %.3f %%, promised are %v %%", live.success(), leastSuccess))
	}
	if all.calls() > mostCalls {
		missed = append(missed, fmt.Errorf("%.2f calls of v1/auth in a token's life, promised are %v", all.calls(), mostCalls))
	}
	return table, errors.Join(missed...)
}

func orNone(list string) string {
	if list == "" {
		return "none"
	}
	return list
}
