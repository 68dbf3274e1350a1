package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// askAgain is how long to wait for a name server's answer before the question is repeated. The wait doubles each time.
	askAgain = 500 * time.Millisecond
	// otherFamily is how long addresses of one family wait for those of the other (RFC 8305: Resolution Delay).
	otherFamily = 50 * time.Millisecond
	// lookupTimeout bounds a look-up. Package net turns to a machine's second name server after 5 s.
	lookupTimeout = 8 * time.Second
	// keepAddresses is how long addresses are used without another look-up. Package net doesn't report the TTL.
	keepAddresses = 5 * time.Second
)

// lookup returns a host's addresses of one family: network is "ip4" or "ip6". (*net.Resolver).LookupNetIP is a lookup.
type lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// resolve uses the machine's resolver settings. Each question has a Resolver of its own. A shared one would join equal questions,
// so that a repeated question would wait for the datagram that was lost. When ctx ends, resolve closes the question's socket at
// once; package net would keep it open for 5 s.
func resolve(ctx context.Context, network, host string) ([]netip.Addr, error) {
	usual := net.DefaultResolver
	dial := usual.Dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	own := net.Resolver{PreferGo: usual.PreferGo, StrictErrors: usual.StrictErrors}
	own.Dial = func(dialling context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(dialling, network, address)
		if err == nil {
			context.AfterFunc(ctx, func() { _ = conn.Close() })
		}
		return conn, err
	}
	return own.LookupNetIP(ctx, network, host)
}

// names looks up the addresses of one host and keeps them for a moment. Datagrams get lost, and some name servers never answer an
// AAAA question: neither may fail a call. names is safe for concurrent use.
type names struct {
	lookup lookup

	mu     sync.Mutex
	kept   []netip.Addr // addresses that haven't failed
	until  time.Time    // when kept expires
	asking *answer      // the look-up under way; nil: none, or it has an address already
}

// answer is the result of a look-up.
type answer struct {
	some  chan struct{} // closed when addrs and err are set
	addrs []netip.Addr  // the first to come
	err   error         // set if there is no address
	all   chan struct{} // closed when rest is set
	rest  []netip.Addr  // addresses of the family that came later
}

// known returns the kept addresses, or nil. Each call rotates them, so that all addresses get their share of connections.
func (n *names) known() []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.kept) == 0 || !time.Now().Before(n.until) {
		return nil
	}
	n.kept = append(n.kept[1:len(n.kept):len(n.kept)], n.kept[0])
	return slices.Clone(n.kept)
}

// drop forgets addresses that failed or were slow.
func (n *names) drop(addrs []netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kept = slices.DeleteFunc(slices.Clone(n.kept), func(addr netip.Addr) bool { return slices.Contains(addrs, addr) })
}

// ask begins a look-up, or joins one that has no address yet. The look-up goes on when a caller leaves: others may have joined.
func (n *names) ask(host string) *answer {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.asking == nil {
		n.asking = &answer{some: make(chan struct{}), all: make(chan struct{})}
		go n.find(host, n.asking)
	}
	return n.asking
}

// find asks for the addresses of both families at once.
func (n *names) find(host string, a *answer) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	defer close(a.all)
	found := make(chan family, 2)
	for _, network := range []string{"ip6", "ip4"} {
		go func() { found <- n.family(ctx, network, host) }()
	}
	one := <-found
	if one.err == nil {
		select {
		case other := <-found:
			n.settle(a, one, other)
		case <-time.After(otherFamily):
			n.settle(a, one)
			a.rest = (<-found).addrs
		}
		return
	}
	n.settle(a, one, <-found)
}

// settle sets the answer from the families that have come.
func (n *names) settle(a *answer, families ...family) {
	for _, f := range families {
		if f.err == nil {
			a.addrs = interleave(a.addrs, f.addrs)
		} else if a.err == nil || isNotFound(a.err) { // prefer other errors: a name without AAAA is "no such host" too
			a.err = f.err
		}
	}
	n.mu.Lock()
	n.asking = nil
	if len(a.addrs) > 0 {
		a.err, n.kept, n.until = nil, a.addrs, time.Now().Add(keepAddresses)
	}
	n.mu.Unlock()
	close(a.some)
}

func isNotFound(err error) bool {
	unknown, ok := errors.AsType[*net.DNSError](err)
	return ok && unknown.IsNotFound
}

// family is the addresses of a name in one family, or an error.
type family struct {
	addrs []netip.Addr
	err   error
}

// family asks until it gets an answer. The first answer counts and ends the other questions.
func (n *names) family(ctx context.Context, network, host string) family {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan family)
	ask := func() {
		addrs, err := n.lookup(ctx, network, host)
		if err == nil && len(addrs) == 0 {
			err = &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
		}
		select {
		case answers <- family{addrs, err}:
		case <-ctx.Done():
		}
	}
	for wait := askAgain; ; wait *= 2 {
		go ask()
		again := time.NewTimer(wait)
		select {
		case got := <-answers:
			again.Stop()
			return got
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return family{err: &net.DNSError{Err: "no answer", Name: host, IsTimeout: true}}
		}
	}
}

// interleave alternates between the families, beginning with IPv6 (RFC 8305).
func interleave(a, b []netip.Addr) []netip.Addr {
	if len(b) > 0 && b[0].Is6() && !b[0].Is4In6() {
		a, b = b, a
	}
	var both []netip.Addr
	for i := range max(len(a), len(b)) {
		both = append(both, a[min(i, len(a)):min(i+1, len(a))]...)
		both = append(both, b[min(i, len(b)):min(i+1, len(b))]...)
	}
	return both
}
