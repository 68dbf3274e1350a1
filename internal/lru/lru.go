// Package lru is a bounded cache for many concurrent readers. It evicts the least recently used entry first. It has shards, each
// with its own lock, so requests seldom wait for one another. An entry takes about 45 bytes besides its key and value.
package lru

import (
	"hash/maphash"
	"sync"
)

const shards = 16

// Cache keeps the entries that were used last. Each shard holds an equal part of the size, so some shards evict a little before the
// whole cache is full. It is safe for concurrent use.
type Cache[K comparable, V any] struct {
	seed   maphash.Seed
	most   int        // entries in a shard
	gone   func(K, V) // called for each removed entry, under the shard's lock; nil: nobody is told
	shards [shards]shard[K, V]
}

type shard[K comparable, V any] struct {
	mu sync.Mutex // guards entries and ring
	// entries are stored by the hash of their key, which is shorter. If two keys have the same hash, only the later one is kept.
	entries map[uint64]*entry[K, V]
	ring    entry[K, V] // sentinel: ring.newer is the oldest entry, ring.older the newest
	_       [64]byte    // keeps the locks of two shards on different cache lines
}

type entry[K comparable, V any] struct {
	newer, older *entry[K, V]
	key          K
	value        V
}

// New returns a cache for size entries, rounded up to a multiple of 16. The cache calls gone for each entry that is evicted, replaced
// or removed. It holds a lock then: gone must not block or use the cache. A nil gone is not called.
func New[K comparable, V any](size int, gone func(K, V)) *Cache[K, V] {
	c := &Cache[K, V]{seed: maphash.MakeSeed(), most: max(1, (size+shards-1)/shards), gone: gone}
	for i := range c.shards {
		s := &c.shards[i]
		s.entries = map[uint64]*entry[K, V]{}
		s.ring.newer, s.ring.older = &s.ring, &s.ring
	}
	return c
}

// of returns the shard of a key and the key's hash. It locks the shard.
func (c *Cache[K, V]) of(key K) (*shard[K, V], uint64) {
	hash := maphash.Comparable(c.seed, key)
	s := &c.shards[hash%shards]
	s.mu.Lock()
	return s, hash
}

// Get returns the value of key and marks it as just used.
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

// GetOrAdd returns the value of key. If there is none, it adds and returns added.
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

// Add stores a value. It replaces the one that key had.
func (c *Cache[K, V]) Add(key K, value V) {
	s, hash := c.of(key)
	defer s.mu.Unlock()
	c.add(s, hash, key, value)
}

// Remove deletes the value of key, if there is one.
func (c *Cache[K, V]) Remove(key K) {
	s, hash := c.of(key)
	defer s.mu.Unlock()
	if e := s.entries[hash]; e != nil && e.key == key {
		c.drop(s, hash, e)
	}
}

// Len returns the number of entries.
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

// add stores a new entry. It drops the entry with the same hash or, in a full shard, the oldest one. The caller holds s.mu.
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

// use makes e the newest entry.
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
