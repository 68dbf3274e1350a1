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

// arrival is where a request came from: the connection's side of it, and what the header claims.
type arrival struct {
	peer                                  netip.Addr
	host                                  string
	encrypted                             bool
	claimedFor, claimedHost, claimedProto []string
}

// arrivalOf is that of a request through net/http.
func arrivalOf(r *http.Request) arrival {
	return arrival{
		peer: peerAddress(r.RemoteAddr), host: r.Host, encrypted: r.TLS != nil,
		claimedFor: r.Header["X-Forwarded-For"], claimedHost: r.Header["X-Forwarded-Host"], claimedProto: r.Header["X-Forwarded-Proto"],
	}
}

// believe returns the client's address and the forwarding headers. A peer outside trusted is the client. From a trusted
// one, X-Forwarded-For is followed from the right to the first address that isn't trusted: everything left of it is
// anybody's claim and is dropped.
func (a *arrival) believe(trusted []netip.Prefix) (client string, f forwarding) {
	client = a.peer.String()
	f = forwarding{chain: client, host: a.host, proto: "http"}
	if a.encrypted {
		f.proto = "https"
	}
	if !isTrusted(a.peer, trusted) {
		return client, f
	}
	if host := singular(a.claimedHost); host != "" {
		f.host = host
	}
	// Of a list the first counts: it is what the client spoke, the others are hops between proxies.
	first, _, _ := strings.Cut(strings.Join(a.claimedProto, ","), ",")
	if proto := strings.ToLower(strings.TrimSpace(first)); proto == "http" || proto == "https" {
		f.proto = proto
	}
	hops := strings.Split(strings.Join(a.claimedFor, ","), ",")
	for _, hop := range slices.Backward(hops) {
		address := hopAddress(strings.TrimSpace(hop))
		if !address.IsValid() {
			break
		}
		client = address.String()
		f.chain = client + ", " + f.chain
		if !isTrusted(address, trusted) {
			break
		}
	}
	return client, f
}

// hopAddress is the address of one element of X-Forwarded-For, without the port and brackets that some proxies write; the zero
// Addr where it has none.
func hopAddress(hop string) netip.Addr {
	if at := peerAddress(hop); at.IsValid() {
		return at
	}
	if inner, ok := strings.CutPrefix(hop, "["); ok {
		if hop, ok = strings.CutSuffix(inner, "]"); !ok || !strings.Contains(hop, ":") {
			return netip.Addr{}
		}
	}
	address, err := netip.ParseAddr(hop)
	if err != nil {
		return netip.Addr{}
	}
	return plainAddress(address)
}

// peerAddress is the address of a RemoteAddr; the zero Addr where it has none.
func peerAddress(remote string) netip.Addr {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return plainAddress(at.Addr())
}

// plainAddress is the address without its zone, and as IPv4 where it is one.
func plainAddress(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func isTrusted(a netip.Addr, trusted []netip.Prefix) bool {
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}
