// Package lru is a bounded memory that many requests read at once: least recently used go first. It is cut into shards, each with
// its own lock, so that requests seldom wait for one another.
package lru

import (
	"hash/maphash"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const shards = 16

// Cache holds what was used last. Each shard holds its share of the size: some are full a little before the whole is. It is safe
// for concurrent use.
type Cache[K comparable, V any] struct {
	seed   maphash.Seed
	shards [shards]shard[K, V]
}

type shard[K comparable, V any] struct {
	mu   sync.Mutex
	kept *simplelru.LRU[K, V]
	_    [64]byte // another shard's lock is on another cache line
}

// New returns a cache of size values, rounded up to a multiple of 16. gone is told of each value that leaves, under a lock: it must
// not block, nor use the cache. Nil: nobody is told.
func New[K comparable, V any](size int, gone func(K, V)) *Cache[K, V] {
	c := &Cache[K, V]{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].kept, _ = simplelru.NewLRU(max(1, (size+shards-1)/shards), gone) // fails for sizes below 1 only
	}
	return c
}

// of returns the shard of a key, locked.
func (c *Cache[K, V]) of(key K) *shard[K, V] {
	s := &c.shards[maphash.Comparable(c.seed, key)%shards]
	s.mu.Lock()
	return s
}

// Get returns the value of key, which is used herewith.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	s := c.of(key)
	defer s.mu.Unlock()
	return s.kept.Get(key)
}

// GetOrAdd returns the value of key, and added if there was none.
func (c *Cache[K, V]) GetOrAdd(key K, added V) V {
	s := c.of(key)
	defer s.mu.Unlock()
	if value, ok := s.kept.Get(key); ok {
		return value
	}
	s.kept.Add(key, added)
	return added
}

// Add keeps a value. The one that it replaces is gone without a call of gone.
func (c *Cache[K, V]) Add(key K, value V) {
	s := c.of(key)
	defer s.mu.Unlock()
	s.kept.Add(key, value)
}

// Remove takes the value of key out.
func (c *Cache[K, V]) Remove(key K) {
	s := c.of(key)
	defer s.mu.Unlock()
	s.kept.Remove(key)
}

// Len is how many values there are.
func (c *Cache[K, V]) Len() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += s.kept.Len()
		s.mu.Unlock()
	}
	return n
}
