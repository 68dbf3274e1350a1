package tokencache

// The world of the simulation: replicas, an in-memory Redis, the network between them, and the faults.

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"roomgate/internal/fleet"
)

// world is what the replicas live in. Its faults are drawn from the seed.
type world struct {
	t      *testing.T
	key    Key
	served atomic.Int64
	failed atomic.Int64
	ended  atomic.Bool

	mu       sync.Mutex // guards what follows; no other lock is taken while it is held
	server   *miniredis.Miniredis
	clock    time.Duration     // how far Redis's clock is ahead
	copy     map[string]string // the data of the Redis that takes over in a failover
	down     bool
	troubled time.Time // the last fault of Redis or of a replica
	failing  Class     // how the issuer fails; "": it works
	epoch    int       // grows when all tokens are revoked
	fetched  map[string]birth
	fetching int
	refused  map[string]bool // whether the refusal was right
	replicas []*replica
}

// birth is what the issuer knows of a token.
type birth struct {
	began time.Time
	epoch int
}

// replica is one process.
type replica struct {
	w     *world
	id    int
	rand  *rand.Rand  // for its requests only
	dead  atomic.Bool // none of its calls reaches Redis any more
	cache *Cache
	redis *fleet.Redis
	// Faults of its next calls of Redis.
	lose, fail, pause atomic.Int32

	mu       sync.Mutex // guards what follows
	newest   uint64
	rejected map[string]time.Time // when it first reported a token as rejected
	dropped  map[string]time.Time // when Reject had returned
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, key: newKey(t, "s"), fetched: map[string]birth{}, refused: map[string]bool{}, epoch: 1}
	w.key.AskedLife = simLife
	w.server = w.newServer(0)
	for i := range simReplicas {
		w.replicas = append(w.replicas, w.newReplica(i, seed))
	}
	go w.fate(rand.New(rand.NewPCG(seed, 0)), seed)
	return w
}

// newServer starts a Redis whose clock is ahead by the given time.
func (w *world) newServer(ahead time.Duration) *miniredis.Miniredis {
	m := miniredis.NewMiniRedis()
	m.SetTime(time.Now().Add(ahead))
	m.ClockTTL(true)
	conn, err := m.Dial() // starts it
	if err != nil {
		w.t.Fatal(err)
	}
	_ = conn.Close()
	w.clock = ahead
	return m
}

func (w *world) newReplica(id int, seed uint64) *replica {
	r := &replica{w: w, id: id, rand: rand.New(rand.NewPCG(seed, uint64(id)+1)), rejected: map[string]time.Time{}, dropped: map[string]time.Time{}}
	client := redis.NewClient(&redis.Options{
		MaxRetries: -1, DialerRetries: 1, ContextTimeoutEnabled: true, Protocol: 2, DisableIdentity: true,
		DialTimeout: simTimeout, ReadTimeout: simTimeout, WriteTimeout: simTimeout, PoolTimeout: simTimeout,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			w.mu.Lock()
			server, down := w.server, w.down
			w.mu.Unlock()
			if down || r.dead.Load() {
				return nil, errors.New("connection refused")
			}
			return server.Dial()
		},
	})
	client.AddHook(simHook{r})
	r.redis = fleet.New(client, fleet.Options{Timeout: simTimeout})
	var err error
	if r.cache, err = New(Options{Redis: r.redis, RefusedTTL: simRefused}); err != nil {
		w.t.Fatal(err)
	}
	return r
}

var errLost = errors.New("connection reset")

// simHook is the network between a replica and Redis.
type simHook struct{ r *replica }

// DialHook implements redis.Hook.
func (simHook) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessPipelineHook implements redis.Hook.
func (simHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// ProcessHook implements redis.Hook.
func (h simHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		lost := func() error { cmd.SetErr(errLost); return errLost }
		once := func(n *atomic.Int32) bool {
			if n.Load() <= 0 || n.Add(-1) < 0 {
				return false
			}
			h.r.w.trouble()
			return true
		}
		switch {
		case h.r.dead.Load() || once(&h.r.fail):
			return lost()
		case runs(cmd, saveScript) && once(&h.r.pause): // the process stands still for a while
			_ = fleet.Sleep(context.Background(), 2*h.r.cache.lease())
			h.r.w.trouble()
			ctx = context.WithoutCancel(ctx)
		}
		h.r.w.mu.Lock()
		down := h.r.w.down
		h.r.w.server.SetTime(time.Now().Add(h.r.w.clock)) // it goes on
		h.r.w.mu.Unlock()
		if down {
			return lost()
		}
		err := next(ctx, cmd)
		if _, answered := errors.AsType[redis.Error](err); err != nil && !answered {
			h.r.w.trouble() // such as a connection that has ended long ago
		}
		if once(&h.r.lose) {
			return lost()
		}
		return err
	}
}

// fate causes the faults, and ends the world.
func (w *world) fate(random *rand.Rand, seed uint64) {
	end := time.Now().Add(simFaults)
	for {
		_ = fleet.Sleep(context.Background(), time.Duration(random.Int64N(int64(40*time.Second))))
		if time.Now().After(end) {
			break
		}
		w.fault(random, seed)
	}
	w.mu.Lock()
	w.down, w.failing, w.troubled = false, "", time.Now()
	for _, r := range w.replicas {
		r.fail.Store(0)
		r.lose.Store(0)
		r.pause.Store(0)
	}
	w.mu.Unlock()
	_ = fleet.Sleep(context.Background(), simQuiet)
	w.ended.Store(true)
}

func (w *world) fault(random *rand.Rand, seed uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, kind := w.replicas[random.IntN(simReplicas)], random.IntN(12)
	if kind >= 4 {
		w.troubled = time.Now()
	}
	switch kind {
	case 0, 1:
		w.epoch++
	case 2: // and again, before or after a new one was fetched
		w.epoch++
		time.AfterFunc(time.Duration(random.Int64N(int64(5*time.Second))), func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.epoch++
		})
	case 3:
		w.failing = []Class{Transient, Denied, Garbage}[random.IntN(3)]
		w.later(random, func() { w.failing = "" })
	case 4, 5:
		w.down = true
		w.later(random, func() { w.down, w.troubled = false, time.Now() })
	case 6:
		w.copy = dumpOf(w.server)
	case 7:
		ahead := w.clock + time.Duration(random.IntN(1200)-600)*time.Second
		next := w.newServer(ahead)
		for name, value := range w.copy {
			_ = next.Set(name, value)
			next.SetTTL(name, 30*time.Second) // including the lock's
		}
		go w.server.Close() // and all its connections
		w.server, w.copy = next, nil
	case 8:
		r.fail.Store(int32(1 + random.IntN(3)))
	case 9:
		r.lose.Store(int32(1 + random.IntN(3)))
	case 10:
		r.pause.Store(1)
	case 11:
		r.dead.Store(true)
		next := w.newReplica(r.id, seed^random.Uint64())
		w.replicas[r.id] = next
		go func() { r.cache.Close(); r.redis.Close() }()
	}
}

// later ends an outage.
func (w *world) later(random *rand.Rand, end func()) {
	time.AfterFunc(time.Duration(random.Int64N(int64(simOutage))), func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		end()
	})
}

// trouble notes that a fault has had an effect.
func (w *world) trouble() {
	w.mu.Lock()
	w.troubled = time.Now()
	w.mu.Unlock()
}

// dumpOf returns the data of a Redis.
func dumpOf(m *miniredis.Miniredis) map[string]string {
	all := map[string]string{}
	for _, name := range m.Keys() {
		all[name], _ = m.Get(name)
	}
	return all
}
