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
	question   question
	at         time.Time
	refreshing bool
}

// fresh is the kept answer to a question, if one is young enough. Of those who find an old one the first renews it; until it
// has, the others get that one as long as its time isn't over. The caller holds s.mu.
func (s *shard) fresh(q *question, hash uint64, now time.Time) *answer {
	k, ok := s.kept.Get(hash)
	if !ok || k.question != *q {
		return nil
	}
	age, ttl := now.Sub(k.at), s.of.ttl
	if age < ttl && (k.refreshing || age < ttl-ttl/refreshShare) {
		return k.answer
	}
	k.refreshing = true
	return nil
}

// keep takes a flight's answer, if it is one to be kept. The caller holds s.mu.
func (s *shard) keep(f *flight) {
	if k, ok := s.kept.Peek(f.hash); ok {
		k.refreshing = false
	}
	if f.answer == nil || f.answer.status != http.StatusOK || f.writes != s.writes {
		return
	}
	s.kept.Remove(f.hash)
	s.kept.Add(f.hash, &keptAnswer{answer: f.answer, question: f.question.clone(), at: time.Now()})
	for s.size += len(f.answer.text); s.size > maxKept/shards; {
		s.kept.RemoveOldest()
	}
}

// forget makes sure that no answer from before is given to anybody who asks from now on.
func (s *sharing) forget() {
	for i := range s.shards {
		s.shards[i].forget()
	}
}

func (s *shard) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	clear(s.flights)
	s.kept.Purge()
}
