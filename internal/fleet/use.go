package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
)

// Use is one kind of data in Redis, with circuits of its own. A failure of one use or node doesn't open the circuits of another.
// It is safe for concurrent use. Create it with [Redis.Use].
type Use struct {
	redis *Redis
	name  string
	space string

	// mu guards circuits. No other lock is taken while it is held.
	mu sync.Mutex
	// circuits has the address of a cluster's master as the key. "": Redis isn't a cluster, or the cluster didn't tell which master has
	// the key.
	circuits map[string]*circuit
}

// Use returns the use whose keys' names begin with space, after the fleet's prefix. name is what operators read in logs
// and on the status page, such as "roster". Calls with the same space return the same use, with the name of the first.
//
// The first call for a space starts a probe in the background. It doesn't block.
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
		// So the first caller finds an open connection, and a Redis that is down is logged at once.
		key := u.Key("")
		r.wg.Go(func() {
			_ = u.Do(r.base, key, func(ctx context.Context) error { return probeScript.Run(ctx, r.client, []string{beside(key)}).Err() })
		})
	}
	return u
}

// Uses returns all uses, in the order of their creation. The slice is the caller's.
func (r *Redis) Uses() []*Use {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.uses)
}

// Name returns the name for operators.
func (u *Use) Name() string { return u.name }

// Key returns a key's whole name in Redis: the fleet's prefix, the use's space, and rest.
func (u *Use) Key(rest string) string { return u.redis.prefix + u.space + rest }

// Client returns the client for the commands in a function that is passed to Do. Without Do there is no circuit.
func (u *Use) Client() redis.UniversalClient { return u.redis.client }

// Do calls call with a context that ends after the timeout, or with ctx. All keys that call uses must be in the same slot of a
// cluster as key. Do isn't repeated and doesn't recover panics.
//
// The error is call's, with three exceptions, in which call doesn't run. It is ErrOutage if the node of key is known to be down
// for this use, ctx's if ctx has ended, and the library's if a cluster doesn't tell which node has key.
//
// An error counts as a failure of the node, with two exceptions: the caller has cancelled ctx, or Redis has answered NOPERM or
// WRONGTYPE, since a node that gives these answers works. See [Use.Refusal].
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

// at returns the circuit of the node that has key. If a cluster doesn't tell which node that is, it returns the error and the
// circuit for such errors. It never returns a nil circuit.
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

// circuit returns the node's circuit and creates it if there is none.
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

// all returns the circuits, sorted by node.
func (u *Use) all() []*circuit {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := make([]*circuit, 0, len(u.circuits))
	for _, node := range slices.Sorted(maps.Keys(u.circuits)) {
		list = append(list, u.circuits[node])
	}
	return list
}

// suspect starts probes of a failed circuit's node for all other uses that have used that node. So a use with few calls
// learns of the outage as soon as the others.
func (r *Redis) suspect(failed *circuit) {
	for _, u := range r.Uses() {
		for _, c := range u.all() {
			if c != failed && c.node == failed.node {
				c.suspect()
			}
		}
	}
}

// Outage returns why Redis, or a node of the cluster, is known to be down for this use. nil: it isn't. It asks no node.
func (u *Use) Outage() error { return u.first((*circuit).outage) }

// Refusal returns why a working Redis refuses the use's keys. nil: it doesn't. Either Redis's user has no rights to them (NOPERM),
// or a key has another type than it should (WRONGTYPE). A call that succeeds ends a refusal. A probe that succeeds ends one
// by NOPERM. It asks no node.
func (u *Use) Refusal() error { return u.first((*circuit).refusal) }

// first returns the error of the first circuit that has one, with the node's address in a cluster.
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
