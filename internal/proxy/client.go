package proxy

// This file finds out who the client is, as far as that can be believed, and what to tell upstreams of it.

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// forwarding is what X-Forwarded headers say to an upstream.
type forwarding struct {
	chain, host, proto string
}

// believe returns the client's address and the forwarding headers. A peer outside trusted is the client. From a trusted
// one, X-Forwarded-For is followed from the right to the first address that isn't trusted: everything left of it is
// anybody's claim and is dropped.
func believe(r *http.Request, trusted []netip.Prefix) (client string, f forwarding) {
	peer := peerAddress(r.RemoteAddr)
	client = peer.String()
	f = forwarding{chain: client, host: r.Host, proto: "http"}
	if r.TLS != nil {
		f.proto = "https"
	}
	if !isTrusted(peer, trusted) {
		return client, f
	}
	if host := singular(r.Header, "X-Forwarded-Host"); host != "" {
		f.host = host
	}
	if proto := strings.ToLower(singular(r.Header, "X-Forwarded-Proto")); proto == "http" || proto == "https" {
		f.proto = proto
	}
	hops := strings.Split(strings.Join(r.Header["X-Forwarded-For"], ","), ",")
	for _, hop := range slices.Backward(hops) {
		address, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		address = address.Unmap()
		client = address.String()
		f.chain = client + ", " + f.chain
		if !isTrusted(address, trusted) {
			break
		}
	}
	return client, f
}

// peerAddress is the address of a RemoteAddr; the zero Addr where it has none.
func peerAddress(remote string) netip.Addr {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap().WithZone("")
}

func isTrusted(a netip.Addr, trusted []netip.Prefix) bool {
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}
