package main

// This file simulates one license on all replicas that use it, event by event: licenses share nothing but Redis's time.

import (
	"container/heap"
	"math/rand/v2"
	"time"
)

// step is what a replica does next about a license.
type step int8

const (
	doLook  step = iota // for a token in Redis
	doLock              // after a look that found neither token nor lock
	doAgain             // look again, holding the lock
	doStore             // after the fetch
)

// event is a step of a replica. Times are counted from the start of the simulation.
type event struct {
	at      time.Duration
	replica int32
	start   int8 // of the replica; one from before a restart doesn't count
	step    step
}

type queue []event

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *queue) Push(x any) { *q = append(*q, x.(event)) }

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	*q = (*q)[:last]
	return e
}

// license is the state of one: what lies in Redis, and what each replica has in memory.
type license struct {
	fleet
	rand   *rand.Rand
	events queue
	count  func(kind, time.Duration)
	mine   []int32 // generation in each replica's memory; 0: none
	starts []int8  // of each replica

	generation int32         // of the token in Redis
	issued     time.Duration // when it was
	locked     bool
}

// play runs a license that is first asked for at first until end. restarts are the moments at which an equal part of the
// replicas, each another, starts anew.
func play(f fleet, r *rand.Rand, first, end time.Duration, restarts []time.Duration, count func(kind, time.Duration)) {
	var users int
	for range f.replicas {
		if r.Float64() < f.share {
			users++
		}
	}
	users = max(users, 1)
	l := &license{fleet: f, rand: r, count: count, mine: make([]int32, users), starts: make([]int8, users)}
	for i := range users {
		l.add(int32(i), doLook, first+randN(r, f.warm))
	}
	heap.Init(&l.events)
	for done := 0; ; {
		next := end
		if len(l.events) > 0 {
			next = min(next, l.events[0].at)
		}
		switch {
		case done < len(restarts) && restarts[done] <= next:
			l.restart(done, len(restarts), restarts[done])
			done++
		case next >= end:
			return
		default:
			l.do(heap.Pop(&l.events).(event))
		}
	}
}

// restart starts one of parts of the replicas anew.
func (l *license) restart(part, parts int, at time.Duration) {
	for i := part; i < len(l.mine); i += parts {
		l.starts[i]++
		l.mine[i] = 0
		l.add(int32(i), doLook, at+randN(l.rand, l.warm))
	}
}

func (l *license) add(replica int32, s step, at time.Duration) {
	heap.Push(&l.events, event{at, replica, l.starts[replica], s})
}

// do plays one step; its call reaches Redis at e.at and is answered l.redis later.
func (l *license) do(e event) {
	old := e.start != l.starts[e.replica] // has been restarted since: it ends what it holds the lock for, and nothing else
	if old && (e.step == doLook || e.step == doLock) {
		return
	}
	answered := e.at + l.redis
	switch e.step {
	case doLook:
		l.count(look, e.at)
		switch {
		case l.generation > l.mine[e.replica]:
			l.adopt(e.replica, answered)
		case l.locked:
			l.add(e.replica, doLook, answered+jitter(l.rand, pollEvery))
		default:
			l.add(e.replica, doLock, answered)
		}
	case doLock:
		l.count(lock, e.at)
		if l.locked {
			l.add(e.replica, doLook, answered+jitter(l.rand, pollEvery))
			return
		}
		l.locked = true
		l.add(e.replica, doAgain, answered)
	case doAgain:
		l.count(look, e.at)
		if l.generation > l.mine[e.replica] {
			l.count(release, answered)
			l.locked = false
			if !old {
				l.adopt(e.replica, answered)
			}
			return
		}
		l.count(auth, answered)
		heap.Push(&l.events, event{answered + l.fetch, e.replica, e.start, doStore})
	case doStore:
		l.count(store, e.at)
		l.generation, l.issued, l.locked = l.generation+1, e.at-l.fetch, false
		if !old {
			l.adopt(e.replica, answered)
		}
	}
}

// adopt takes the token in Redis into a replica's memory and arms its refresh.
func (l *license) adopt(replica int32, now time.Duration) {
	l.mine[replica] = l.generation
	l.add(replica, doLook, max(now, l.issued+l.life-advisory(l.rand, l.life)))
}
