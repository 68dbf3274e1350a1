package upstream

// This file finds out which addresses an upstream's name stands for, and keeps them for a moment. Datagrams get lost, and
// some name servers never answer a question for AAAA: neither may fail a call.

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
	// askAgain is when a question without an answer is asked again beside the first; each time it doubles.
	askAgain = 500 * time.Millisecond
	// otherFamily is how long the addresses of one family wait for those of the other (RFC 8305's resolution delay).
	otherFamily = 50 * time.Millisecond
	// lookupTimeout bounds a look-up. net asks the second name server of a machine after 5 s.
	lookupTimeout = 8 * time.Second
	// keepAddresses is for how long addresses are used without another look-up. net tells no TTL.
	keepAddresses = 5 * time.Second
)

// lookup asks for the addresses of one family, which network names: "ip4" or "ip6". (*net.Resolver).LookupNetIP is one.
type lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

// resolve asks as the machine is set up to. Each question has a Resolver of its own: one that is shared joins questions that
// are alike, and the second would wait for the datagram that the first has lost. What nobody waits for any more is dropped
// at once: by itself net would wait for its answer for 5 s.
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

// names knows what the name of one host stands for. It is safe for concurrent use.
type names struct {
	lookup lookup

	mu     sync.Mutex
	kept   []netip.Addr // none of them has failed
	until  time.Time    // kept counts
	asking *answer      // a look-up that has no address yet; nil: none
}

// answer is what comes of a look-up.
type answer struct {
	some  chan struct{} // closed when addrs and err are there
	addrs []netip.Addr  // to go on with
	err   error         // there is no address
	all   chan struct{} // closed when rest is there, too
	rest  []netip.Addr  // of the family that was late
}

// known returns the addresses that are kept, each time beginning with another: all shall get their share of connections.
func (n *names) known() []netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.kept) == 0 || !time.Now().Before(n.until) {
		return nil
	}
	n.kept = append(n.kept[1:len(n.kept):len(n.kept)], n.kept[0])
	return slices.Clone(n.kept)
}

// drop keeps addresses no longer: they have failed, or were late.
func (n *names) drop(addrs []netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.kept = slices.DeleteFunc(slices.Clone(n.kept), func(addr netip.Addr) bool { return slices.Contains(addrs, addr) })
}

// ask begins a look-up, or joins one that has no address yet. It doesn't end with who asked: others may have joined.
func (n *names) ask(host string) *answer {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.asking == nil {
		n.asking = &answer{some: make(chan struct{}), all: make(chan struct{})}
		go n.find(host, n.asking)
	}
	return n.asking
}

// find asks for both families at once.
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

// settle makes the answer of the families that are there.
func (n *names) settle(a *answer, families ...family) {
	for _, f := range families {
		if f.err == nil {
			a.addrs = interleave(a.addrs, f.addrs)
		} else if a.err == nil || isNotFound(a.err) { // a name that has A alone is "no such host" for AAAA: another cause says more
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

// family is what the name stands for in one family: addresses or an error.
type family struct {
	addrs []netip.Addr
	err   error
}

// family asks until there is an answer. The first counts, and ends the other questions.
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

// interleave takes turns, beginning with IPv6 (RFC 8305).
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
