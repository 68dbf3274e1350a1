package sandbox

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
)

// front is the part that both stand-ins share: counts, recorded requests, faults and control routes. All its methods may be
// called concurrently.
type front struct {
	refuse refusal
	counts map[string]*atomic.Int64 // by route; the keys never change, so reading needs no lock
	seen   ring
	faults faultList
	ctl    http.Handler // the control routes

	done     chan struct{} // closed by Close; ends all waiting
	doneOnce sync.Once
}

// otherRoute is the key for requests to unknown routes, so that clients can't grow counts.
const otherRoute = "other"

// newFront returns a front without control routes. They need the stand-in around the front, which sets ctl. refuse writes errors
// in the form of the API; routes are the keys of counts.
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

// Close ends answers that wait because of a fault, and aborts their connections. Sandbox.Close calls it. Callers that use a
// handler without a Sandbox must call it before they close their server.
func (f *front) Close() { f.doneOnce.Do(func() { close(f.done) }) }

// answer passes the request to the first fault that matches it, or else to next.
func (f *front) answer(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	// A request without a fault costs only a short lock.
	if fault, ok := f.faults.take(r); ok {
		f.misbehave(fault, w, r, next)
		return
	}
	next(w, r)
}

// countOf returns how many requests a route has seen; 0 for an unknown route.
func (f *front) countOf(route string) int {
	if n, ok := f.counts[route]; ok {
		return int(n.Load())
	}
	return 0
}

// snapshot returns all counts by route, zeros included.
func (f *front) snapshot() map[string]int64 {
	all := make(map[string]int64, len(f.counts))
	for route, n := range f.counts {
		all[route] = n.Load()
	}
	return all
}

// resetFront clears faults, recorded requests and counts. It is not atomic: a request under way may be counted before or after.
func (f *front) resetFront() {
	f.faults.set(nil)
	f.seen.clear()
	for _, n := range f.counts {
		n.Store(0)
	}
}

// Request is a request as it came. Bodies are not kept, because they contain passwords and keys.
type Request struct {
	Method     string
	RequestURI string // request target, byte for byte
	Host       string // net/http removes it from Header
	Header     http.Header
}

// recorded is the maximum number of requests in a ring.
const recorded = 256

// ring keeps the latest requests.
type ring struct {
	mu   sync.Mutex
	reqs []Request // at most recorded
	next int       // index of the oldest, once reqs is full
}

// add records a copy of a request, because handlers and net/http go on using r.
func (g *ring) add(r *http.Request) {
	// Copy before locking: at thousands of requests per second, others would wait for the lock.
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

// list returns the kept requests, oldest first. The caller owns the list, but not the headers in it.
func (g *ring) list() []Request {
	g.mu.Lock()
	defer g.mu.Unlock()
	// next is 0 until the ring is full.
	return slices.Concat(g.reqs[g.next:], g.reqs[:g.next])
}

// last returns the latest request, or a zero Request.
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
