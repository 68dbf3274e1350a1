package tokencache

// This file lends the shared Redis to other small values that expire, under the same seal and the same circuit.

import (
	"context"
	"sync/atomic"
	"time"
)

// Vault keeps sealed values for the fleet. What Redis loses, or somebody else has written, is simply absent. The zero
// value and a vault without Redis are empty and take nothing.
type Vault struct {
	store   *store
	secret  atomic.Pointer[Secret] // nil: the empty secret, with which nothing opens
	purpose string
}

// Vault returns a vault whose values open with the same secret and purpose only.
func (c *Cache) Vault(secret Secret, purpose string) *Vault {
	v := &Vault{store: c.store, purpose: purpose}
	v.Reseal(secret)
	return v
}

// Reseal has the vault use another secret from now on. What was saved with the old one is absent.
func (v *Vault) Reseal(secret Secret) { v.secret.Store(&secret) }

// key is where a value lies.
func (v *Vault) key(name string) (Key, error) {
	var secret Secret
	if known := v.secret.Load(); known != nil {
		secret = *known
	}
	return NewKey(secret, v.purpose, name)
}

// Load returns the value of name and the rest of its life; ok is false where there is none.
// It waits for Redis at most one RedisTimeout.
func (v *Vault) Load(ctx context.Context, name string) (value []byte, left time.Duration, ok bool) {
	if v.store == nil {
		return nil, 0, false
	}
	key, err := v.key(name)
	if err != nil {
		return nil, 0, false
	}
	seen, err := v.store.load(ctx, key)
	if err != nil || seen.token == nil {
		return nil, 0, false
	}
	return []byte(seen.token.Value()), time.Until(seen.token.expiry), true
}

// Save keeps value under name for ttl. A loss is no error: the next Load finds nothing.
func (v *Vault) Save(ctx context.Context, name string, value []byte, ttl time.Duration) {
	if v.store == nil || ttl <= 0 {
		return
	}
	key, err := v.key(name)
	if err != nil {
		return
	}
	_, _ = v.store.save(ctx, key, "", &Token{
		value: NewSecret(string(value)), expiry: time.Now().Add(ttl), life: ttl, generation: uint64(time.Now().UnixMicro()),
	})
}
