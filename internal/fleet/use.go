package fleet

// This file is the way to Redis for one kind of data. What one use or one node of a cluster loses, no other does.

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Use is one kind of data in Redis. It is safe for concurrent use. Make one with Redis.Use.
type Use struct {
	redis *Redis
	name  string
	space string

	mu       sync.Mutex          // guards circuits; no other lock is taken while it is held
	circuits map[string]*circuit // by the address of a cluster's master; of other Redis it is ""
}

// Use returns the use whose keys begin with space, after the fleet's own prefix. Name is for operators, as in
// "redis refuses the roster". All callers for one space share the use.
func (r *Redis) Use(name, space string) *Use {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, u := range r.uses {
		if u.space == space {
			return u
		}
	}
	u := &Use{redis: r, name: name, space: space, circuits: make(map[string]*circuit)}
	r.uses = append(r.uses, u)
	if !r.closed {
		// The first caller finds a connection, and an operator learns at once of a Redis that isn't there.
		key := u.Key("")
		r.wg.Go(func() {
			_ = u.Do(r.base, key, func(ctx context.Context) error { return probeScript.Run(ctx, r.client, []string{beside(key)}).Err() })
		})
	}
	return u
}

// Uses returns all uses so far.
func (r *Redis) Uses() []*Use {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.uses)
}

// Name returns what operators call the use.
func (u *Use) Name() string { return u.name }

// Key returns the name in Redis of what the use calls rest.
func (u *Use) Key(rest string) string { return u.redis.prefix + u.space + rest }

// Client is what the function of Do sends its commands with.
func (u *Use) Client() redis.UniversalClient { return u.redis.client }

// Do runs call, whose commands are all about keys in the slot of key, within the timeout. It doesn't run call while the
// node of key is known to be down for this use: then the error is ErrOutage. Otherwise the error is call's, or ctx's where
// that has ended before.
//
// An error of call counts against the node, with two exceptions. If ctx was cancelled, the caller was impatient. And
// NOPERM and WRONGTYPE are answers of a node that works: see Refusal.
func (u *Use) Do(ctx context.Context, key string, call func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, u.redis.timeout)
	defer cancel()
	c, err := u.at(limited, key)
	if c.outage() != nil || errors.Is(err, ErrOutage) {
		return ErrOutage
	}
	if ended := ctx.Err(); ended != nil {
		return ended
	}
	if err == nil {
		err = call(limited)
	}
	if err == nil || !errors.Is(ctx.Err(), context.Canceled) {
		if c.record(key, err) {
			u.redis.suspect(c)
		}
	}
	return err
}

// at returns the circuit of the node that has key. Of a cluster whose slots aren't known, it returns a circuit for that
// beside the error.
func (u *Use) at(ctx context.Context, key string) (*circuit, error) {
	one := u.circuit("")
	cluster, is := u.redis.client.(*redis.ClusterClient)
	if !is {
		return one, nil
	}
	if one.outage() != nil {
		return one, ErrOutage
	}
	node, err := cluster.MasterForKey(ctx, key)
	if err != nil {
		return one, fmt.Errorf("find the node: %w", err)
	}
	return u.circuit(node.Options().Addr), nil
}

// circuit finds or makes a node's circuit.
func (u *Use) circuit(node string) *circuit {
	u.mu.Lock()
	defer u.mu.Unlock()
	c := u.circuits[node]
	if c == nil {
		c = &circuit{use: u, node: node, key: u.Key("")}
		u.circuits[node] = c
	}
	return c
}

// all returns the circuits by node.
func (u *Use) all() []*circuit {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := make([]*circuit, 0, len(u.circuits))
	for _, node := range slices.Sorted(maps.Keys(u.circuits)) {
		list = append(list, u.circuits[node])
	}
	return list
}

// suspect has the node of a circuit probed for every other use that has been there. Uses that seldom ask then learn as
// soon as the others whether it works for them.
func (r *Redis) suspect(failed *circuit) {
	for _, u := range r.Uses() {
		for _, c := range u.all() {
			if c != failed && c.node == failed.node {
				c.suspect()
			}
		}
	}
}

// Outage returns why Redis, or a node of it, is known to be down for this use, or nil.
func (u *Use) Outage() error { return u.first((*circuit).outage) }

// Refusal returns why Redis works but refuses the use's keys, or nil: the user has no rights to them (NOPERM), or a key has
// another type (WRONGTYPE). It is nil again once a call, or a probe after NOPERM, has succeeded.
func (u *Use) Refusal() error { return u.first((*circuit).refusal) }

// first returns the first node's error.
func (u *Use) first(of func(*circuit) error) error {
	for _, c := range u.all() {
		if err := of(c); err != nil && c.node != "" {
			return fmt.Errorf("node %s: %w", c.node, err)
		} else if err != nil {
			return err
		}
	}
	return nil
}
