package proxy

// Answers to room GETs are kept for those who ask the same a little later (ROOM_CACHE_TTL).

import (
	"net/http"
	"time"
)

const (
	maxKept      = 32 << 20 // bodies of all kept answers together, in bytes
	maxKeptCount = 4096     // kept answers
	refreshShare = 5        // an answer is refreshed in the last fifth of its TTL
)

// keptAnswer is an answer with its question and the time when it came.
type keptAnswer struct {
	*answer
	question   question
	at         time.Time
	refreshing bool // somebody has begun to refresh it
}

// fresh returns the kept answer to a question, or nil. In the last fifth of the TTL, it returns nil to the first who asks, to refresh
// the answer. The others get the kept answer until the TTL is over. The caller holds s.mu.
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

// keep stores a flight's answer if it has one with status 200, and no write has come since the flight began. The caller holds s.mu.
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

// forget makes sure that nobody who asks from now on gets an earlier answer.
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
