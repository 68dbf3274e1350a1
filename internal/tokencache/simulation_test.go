package tokencache

// The simulation runs the real code for hours of simulated time: replicas on an in-memory Redis, in a bubble. A seed draws the schedule of
// faults. It asserts for the code what docs/model proves for the model.
//
// A seed always gives the same schedule. It doesn't decide the jitter, nor the order of goroutines that run at the same moment.

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"roomgate/internal/fleet"
	"roomgate/internal/secret"
)

var (
	simSeeds = flag.Uint64("sim.seeds", 8, "how many schedules the simulation plays; CI plays 200")
	simFirst = flag.Uint64("sim.first", 1, "the first seed")
)

const (
	simReplicas = 5
	simLife     = 6 * time.Minute  // of a token
	simFaults   = 10 * time.Minute // with faults
	simQuiet    = 2 * time.Minute  // after them
	simOutage   = 20 * time.Second // the longest of Redis or the issuer
	simTimeout  = 250 * time.Millisecond
	simRefused  = time.Minute
	// simCalm is how long after a fault of Redis or of a replica two replicas may fetch the same token: a lease, a fetch, and until the
	// circuit is closed again.
	simCalm = 30 * time.Second
)

func TestTheFleetKeepsItsPromisesUnderRandomFaults(t *testing.T) {
	seeds := *simSeeds
	var fetches, served, failed, refused int
	for seed := *simFirst; seed < *simFirst+seeds; seed++ {
		synctest.Test(t, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("seed %d: go test ./internal/tokencache -run %s -sim.first=%d -sim.seeds=1", seed, t.Name(), seed)
				}
			})
			w := newWorld(t, seed)
			w.run()
			fetches, refused = fetches+len(w.fetched), refused+len(w.refused)
			served, failed = served+int(w.served.Load()), failed+int(w.failed.Load())
		})
	}
	t.Logf("%d seeds: %d requests served, %d failed, %d fetches, %d tokens refused", seeds, served, failed, fetches, refused)
}

// run runs the world to its end.
func (w *world) run() {
	var users sync.WaitGroup
	for i := range simReplicas {
		for range 2 {
			users.Go(func() {
				for !w.ended.Load() {
					r := w.at(i)
					r.mu.Lock()
					pause := time.Duration(r.rand.Int64N(int64(20 * time.Second)))
					r.mu.Unlock()
					time.Sleep(pause)
					if r.request() {
						w.served.Add(1)
					} else {
						w.failed.Add(1)
					}
				}
			})
		}
	}
	users.Wait()
	for token, lawful := range w.refused {
		if !lawful {
			w.t.Errorf("%s was refused, but nobody has fetched it after a rejection", token)
		}
	}
	for i := range simReplicas {
		r := w.at(i)
		if !r.request() {
			_, _, err := r.cache.Token(w.t.Context(), w.key, r.fetch)
			w.t.Errorf("replica %d isn't served %v after the last fault: %v", i, simQuiet, err)
		}
		r.cache.Close()
		r.redis.Close()
	}
	w.mu.Lock()
	server := w.server
	w.mu.Unlock()
	server.Close()
	time.Sleep(time.Minute) // for the clients' pools, and replicas that stood still
}

// at returns the replica that runs in a place now.
func (w *world) at(i int) *replica {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.replicas[i]
}

// request does what package proxy does with a GET.
func (r *replica) request() bool {
	var before *Token
	for range 3 {
		asked := time.Now()
		token, _, err := r.cache.Token(r.w.t.Context(), r.w.key, r.fetch)
		if err != nil {
			return false
		}
		r.check(token, asked)
		time.Sleep(10 * time.Millisecond)
		if r.w.good(token) {
			return true
		}
		if !r.reject(token, before) {
			return false
		}
		before = token
	}
	return false
}

// check asserts that this replica hadn't dropped the token before asked, and that the generation in memory hasn't gone back.
func (r *replica) check(token *Token, asked time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.dropped[token.Value()]; ok && at.Before(asked) && !r.dead.Load() {
		r.w.t.Errorf("replica %d: sends %s (generation %d), which was rejected %v ago", r.id, token.Value(), token.Generation(), asked.Sub(at))
	}
	if mine := r.cache.entry(r.w.key).token.Load(); mine != nil {
		if mine.generation < r.newest {
			r.w.t.Errorf("replica %d: generation %d in memory after %d", r.id, mine.generation, r.newest)
		}
		r.newest = max(r.newest, mine.generation)
	}
}

// reject reports whether another token may help. For each refused token it notes whether the refusal was right: a request was rejected
// with it, and the token was fetched after the same request had been rejected before.
func (r *replica) reject(token, before *Token) bool {
	r.mu.Lock()
	if _, ok := r.rejected[token.Value()]; !ok {
		r.rejected[token.Value()] = time.Now()
	}
	r.mu.Unlock()
	err := r.cache.Reject(r.w.t.Context(), r.w.key, token, before)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.dropped[token.Value()] = time.Now()
		return true
	}
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	lawful := before != nil && !r.w.fetched[token.Value()].began.Before(r.rejected[before.Value()])
	r.w.refused[token.Value()] = r.w.refused[token.Value()] || lawful
	return false
}

// good reports whether Interwater accepts a token.
func (w *world) good(token *Token) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fetched[token.Value()].epoch == w.epoch
}

// fetch is a Fetch.
func (r *replica) fetch(ctx context.Context) (Issued, error) {
	w := r.w
	w.mu.Lock()
	name := fmt.Sprintf("token %d", len(w.fetched)+1)
	began := time.Now()
	w.fetched[name] = birth{began: began, epoch: w.epoch}
	if w.fetching++; w.fetching > 1 && began.Sub(w.troubled) > simCalm && !w.down {
		w.t.Errorf("%d fetches at once, %v after the last fault", w.fetching, began.Sub(w.troubled))
	}
	failing := w.failing
	w.mu.Unlock()
	err := fleet.Sleep(ctx, 300*time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fetching--
	if err == nil && failing != "" {
		err = failure(failing)
	}
	return Issued{Value: secret.New(name), Life: simLife}, err
}
