package proxy

// This file keeps answers to room GETs for those who ask the same a little later (ROOM_CACHE_TTL).

import (
	"net/http"
	"time"
)

const (
	maxKept      = 32 << 20 // of all answers that are kept, in bytes
	maxKeptCount = 4096
	refreshShare = 5 // an answer is renewed in the last fifth of its time
)

// keptAnswer is an answer and when it came.
type keptAnswer struct {
	*answer
	at         time.Time
	refreshing bool
}

// fresh is the kept answer to a question, if one is young enough. Of those who find an old one the first renews it; until it
// has, the others get that one as long as its time isn't over. The caller holds s.mu.
func (s *sharing) fresh(q question, now time.Time) *answer {
	k, ok := s.kept.Get(q)
	if !ok {
		return nil
	}
	age := now.Sub(k.at)
	if age < s.ttl && (k.refreshing || age < s.ttl-s.ttl/refreshShare) {
		return k.answer
	}
	k.refreshing = true
	return nil
}

// keep takes a flight's answer, if it is one to be kept. The caller holds s.mu.
func (s *sharing) keep(f *flight) {
	if k, ok := s.kept.Peek(f.question); ok {
		k.refreshing = false
	}
	if f.answer == nil || f.answer.status != http.StatusOK || f.writes != s.writes {
		return
	}
	s.kept.Remove(f.question)
	s.kept.Add(f.question, &keptAnswer{answer: f.answer, at: time.Now()})
	for s.size += len(f.answer.text); s.size > maxKept; {
		s.kept.RemoveOldest()
	}
}

// forget makes sure that no answer from before is given to anybody who asks from now on.
func (s *sharing) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	clear(s.flights)
	s.kept.Purge()
}
