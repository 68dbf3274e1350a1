package tokencache

import (
	"context"
	"sync/atomic"
	"time"

	"roomgate/internal/secret"
)

// Vault keeps small values that expire in Redis, for the whole fleet. They are sealed like tokens and share the circuit of tokens.
// A value that Redis has lost, or that somebody else has written, is absent. The zero Vault, and one without Redis, is empty
// and keeps nothing. A Vault is safe for concurrent use and must not be copied.
type Vault struct {
	store *store // nil: without Redis
	// secret seals the values. nil or empty: nothing can be saved or loaded.
	secret  atomic.Pointer[secret.Value]
	purpose string
}

// Vault returns a vault. Vaults with the same secret and purpose share their values, on all replicas.
func (c *Cache) Vault(from secret.Value, purpose string) *Vault {
	v := &Vault{store: c.store, purpose: purpose}
	v.Reseal(from)
	return v
}

// Reseal replaces the secret. Values that were saved with the old one are absent from now on.
func (v *Vault) Reseal(with secret.Value) { v.secret.Store(&with) }

// key returns the key of a value. An empty secret is an error.
func (v *Vault) key(name string) (Key, error) {
	var from secret.Value
	if known := v.secret.Load(); known != nil {
		from = *known
	}
	return NewKey(from, v.purpose, name)
}

// Load returns the value of name and for how much longer it holds. ok is false if there is none, or Redis doesn't answer. It waits
// for Redis for at most one timeout, or two if it finds an entry that doesn't open.
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

// Save keeps value under name for ttl. If ttl is 0 or less it does nothing. It waits for Redis for at most one timeout. Errors are
// ignored: the next Load finds the old value or none. The latest value by the replicas' own clocks stays.
func (v *Vault) Save(ctx context.Context, name string, value []byte, ttl time.Duration) {
	if v.store == nil || ttl <= 0 {
		return
	}
	key, err := v.key(name)
	if err != nil {
		return
	}
	_, _ = v.store.save(ctx, key, "", &Token{
		value: secret.New(string(value)), expiry: time.Now().Add(ttl), life: ttl, generation: uint64(time.Now().UnixMicro()),
	})
}
