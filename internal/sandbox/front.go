package sandbox

// What stands before either API: counts, recorded requests, faults and the control routes.

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
)

// front is embedded in both stand-ins. All its methods may be called concurrently.
type front struct {
	refuse refusal
	counts map[string]*atomic.Int64 // by route; the keys never change, so reading needs no lock
	seen   ring
	faults faultList
	ctl    http.Handler // the control routes

	done     chan struct{} // closed by Close: nothing waits any longer
	doneOnce sync.Once
}

// otherRoute is the key of requests to no known route, so that clients can't grow the counts.
const otherRoute = "other"

// newFront makes a front without control routes: those need the stand-in around it, which sets ctl.
// refuse writes errors in the form of its API, routes are the keys to count by.
func newFront(refuse refusal, routes ...string) *front {
	f := &front{
		refuse: refuse,
		counts: map[string]*atomic.Int64{otherRoute: new(atomic.Int64)},
		done:   make(chan struct{}),
	}
	for _, r := range routes {
		f.counts[r] = new(atomic.Int64)
	}
	return f
}

// Close ends answers that are waiting because of a fault; their connections are aborted. Sandbox.Close
// calls it. It is needed only for a handler used without a Sandbox, before its server is closed.
func (f *front) Close() { f.doneOnce.Do(func() { close(f.done) }) }

// answer gives the request to next, or to the first fault that matches it.
func (f *front) answer(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	// One lock for a moment is all that a request without fault pays.
	if fault, ok := f.faults.take(r); ok {
		f.misbehave(fault, w, r, next)
		return
	}
	next(w, r)
}

// countOf is 0 for an unknown route: a test that asks for one gets what it would expect.
func (f *front) countOf(route string) int {
	if n, ok := f.counts[route]; ok {
		return int(n.Load())
	}
	return 0
}

// snapshot is all counts by route, zeros included.
func (f *front) snapshot() map[string]int64 {
	all := make(map[string]int64, len(f.counts))
	for route, n := range f.counts {
		all[route] = n.Load()
	}
	return all
}

// resetFront is not atomic: a request under way may be counted before or after.
func (f *front) resetFront() {
	f.faults.set(nil)
	f.seen.clear()
	for _, n := range f.counts {
		n.Store(0)
	}
}

// Request is a request as it came in. Bodies are not kept: they hold passwords and keys.
type Request struct {
	Method     string
	RequestURI string // the request target byte for byte
	Host       string // net/http takes it out of Header
	Header     http.Header
}

// recorded is how many requests a ring keeps.
const recorded = 256

// ring keeps the latest requests.
type ring struct {
	mu   sync.Mutex
	reqs []Request // at most recorded
	next int       // the oldest, once reqs is full
}

// add records a request. The copy is the ring's own: handlers and net/http may go on using r.
func (g *ring) add(r *http.Request) {
	// Copied before the lock: at thousands of requests a second others would queue for it.
	req := Request{r.Method, r.RequestURI, r.Host, r.Header.Clone()}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.reqs) < recorded {
		g.reqs = append(g.reqs, req)
		return
	}
	g.reqs[g.next] = req
	g.next = (g.next + 1) % recorded
}

// list is the requests kept, oldest first. The caller owns it, but not the headers in it.
func (g *ring) list() []Request {
	g.mu.Lock()
	defer g.mu.Unlock()
	// next is 0 until the ring is full.
	return slices.Concat(g.reqs[g.next:], g.reqs[:g.next])
}

// last is the latest request, or a zero Request.
func (g *ring) last() Request {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.reqs) == 0 {
		return Request{}
	}
	return g.reqs[(g.next+len(g.reqs)-1)%len(g.reqs)]
}

// clear forgets all.
func (g *ring) clear() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reqs, g.next = nil, 0
}
