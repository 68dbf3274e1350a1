// Package lru is a bounded memory that many requests read at once: least recently used go first. It is cut into shards, each with
// its own lock, so that requests seldom wait for one another. Beside key and value it takes some 45 bytes for each.
package lru

import (
	"hash/maphash"
	"sync"
)

const shards = 16

// Cache holds what was used last. Each shard holds its share of the size: some are full a little before the whole is. It is safe
// for concurrent use.
type Cache[K comparable, V any] struct {
	seed   maphash.Seed
	most   int // in a shard
	gone   func(K, V)
	shards [shards]shard[K, V]
}

type shard[K comparable, V any] struct {
	mu sync.Mutex
	// entries are found by the hash of their key, which is shorter. Of two keys with one hash, which hardly ever are, one is kept.
	entries map[uint64]*entry[K, V]
	ring    entry[K, V] // its newer is the oldest, its older the newest
	_       [64]byte    // another shard's lock is on another cache line
}

type entry[K comparable, V any] struct {
	newer, older *entry[K, V]
	key          K
	value        V
}

// New returns a cache of size values, rounded up to a multiple of 16. gone is told of each value that leaves, under a lock: it must
// not block, nor use the cache. Nil: nobody is told.
func New[K comparable, V any](size int, gone func(K, V)) *Cache[K, V] {
	c := &Cache[K, V]{seed: maphash.MakeSeed(), most: max(1, (size+shards-1)/shards), gone: gone}
	for i := range c.shards {
		s := &c.shards[i]
		s.entries = map[uint64]*entry[K, V]{}
		s.ring.newer, s.ring.older = &s.ring, &s.ring
	}
	return c
}

// of returns the shard of a key, locked, and the key's hash.
func (c *Cache[K, V]) of(key K) (*shard[K, V], uint64) {
	hash := maphash.Comparable(c.seed, key)
	s := &c.shards[hash%shards]
	s.mu.Lock()
	return s, hash
}

// Get returns the value of key, which is used herewith.
func (c *Cache[K, V]) Get(key K) (value V, ok bool) {
	s, hash := c.of(key)
	defer s.mu.Unlock()
	e := s.entries[hash]
	if e == nil || e.key != key {
		return value, false
	}
	s.use(e)
	return e.value, true
}

// GetOrAdd returns the value of key, and added if there was none.
func (c *Cache[K, V]) GetOrAdd(key K, added V) V {
	s, hash := c.of(key)
	defer s.mu.Unlock()
	if e := s.entries[hash]; e != nil && e.key == key {
		s.use(e)
		return e.value
	}
	c.add(s, hash, key, added)
	return added
}

// Add keeps a value. The one that key had is gone.
func (c *Cache[K, V]) Add(key K, value V) {
	s, hash := c.of(key)
	defer s.mu.Unlock()
	c.add(s, hash, key, value)
}

// Remove takes the value of key out: it is gone.
func (c *Cache[K, V]) Remove(key K) {
	s, hash := c.of(key)
	defer s.mu.Unlock()
	if e := s.entries[hash]; e != nil && e.key == key {
		c.drop(s, hash, e)
	}
}

// Len is how many values there are.
func (c *Cache[K, V]) Len() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.entries)
		s.mu.Unlock()
	}
	return n
}

// add makes room for a new entry and puts it in.
func (c *Cache[K, V]) add(s *shard[K, V], hash uint64, key K, value V) {
	if same := s.entries[hash]; same != nil {
		c.drop(s, hash, same)
	} else if len(s.entries) == c.most {
		oldest := s.ring.newer
		c.drop(s, maphash.Comparable(c.seed, oldest.key), oldest)
	}
	e := &entry[K, V]{key: key, value: value}
	s.entries[hash] = e
	s.link(e)
}

func (c *Cache[K, V]) drop(s *shard[K, V], hash uint64, e *entry[K, V]) {
	delete(s.entries, hash)
	e.unlink()
	if c.gone != nil {
		c.gone(e.key, e.value)
	}
}

// use makes e the newest.
func (s *shard[K, V]) use(e *entry[K, V]) {
	if s.ring.older != e {
		e.unlink()
		s.link(e)
	}
}

func (s *shard[K, V]) link(e *entry[K, V]) {
	e.newer, e.older = &s.ring, s.ring.older
	e.older.newer, s.ring.older = e, e
}

func (e *entry[K, V]) unlink() { e.newer.older, e.older.newer = e.older, e.newer }
