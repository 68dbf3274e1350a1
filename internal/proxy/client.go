package proxy

// Who the client is, and what the gateway tells upstreams about it.

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

// arrival is where a request came from: what the connection says, and what the header claims.
type arrival struct {
	peer                                  netip.Addr
	peerText                              string // of peer
	host                                  string
	encrypted                             bool
	claimedFor, claimedHost, claimedProto []string
}

// arrivalOf returns the arrival of a request that came through net/http.
func arrivalOf(r *http.Request) arrival {
	peer := peerAddress(r.RemoteAddr)
	return arrival{
		peer: peer, peerText: peer.String(), host: r.Host, encrypted: r.TLS != nil,
		claimedFor: r.Header["X-Forwarded-For"], claimedHost: r.Header["X-Forwarded-Host"], claimedProto: r.Header["X-Forwarded-Proto"],
	}
}

// believe returns the client's address and the forwarding headers. A peer outside trusted is the client. Behind a trusted peer, the
// client is the first address in X-Forwarded-For, from the right, that isn't trusted. The addresses left of it are dropped: anybody
// can claim them.
func (a *arrival) believe(trusted []netip.Prefix) (client string, f forwarding) {
	client = a.peerText
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
	// The first of a list is the client's protocol. The others are those between proxies.
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

// hopAddress returns the address in one element of X-Forwarded-For, without the port and brackets that some proxies write. It returns
// the zero Addr if there is none.
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

// peerAddress returns the address in a RemoteAddr, or the zero Addr if there is none.
func peerAddress(remote string) netip.Addr {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	return plainAddress(at.Addr())
}

// plainAddress returns the address without its zone. It turns an IPv4-mapped IPv6 address into IPv4.
func plainAddress(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

func isTrusted(a netip.Addr, trusted []netip.Prefix) bool {
	return slices.ContainsFunc(trusted, func(p netip.Prefix) bool { return p.Contains(a) })
}
