package config

// This file has the questions that addresses and URLs are asked.

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// privateHost tells whether credentials may be sent to the host without TLS: it is on this machine
// or in a network of the operator's own. What is not known to be private counts as public.
//
// A host name that merely resolves to a private address is public all the same: what a name
// resolves to may change while the gateway runs, and then credentials would leave in clear. That is
// why nothing is looked up here.
func privateHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap()
		carrierGrade := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10) // RFC 6598, common inside clouds
		return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() || carrierGrade.Contains(addr)
	}
	// The dot that ends a fully qualified name changes nothing about where it leads.
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if !strings.Contains(host, ".") {
		// A name in the local search domain, such as a compose service. A number is an IPv4 address
		// in disguise to some resolvers.
		return host != "" && (host[0] < '0' || host[0] > '9')
	}
	// Names that no public registry gives out: RFC 6761 and 6762, ICANN's .internal, and what
	// Kubernetes calls its services.
	for _, suffix := range []string{".local", ".internal", ".localhost", ".svc", ".test"} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

// validPort tells whether the port of a URL is one; "" is the scheme's own.
func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// cleanPath tells whether the base path of u, already without its slash at the end, can be joined
// with another without becoming a different one.
func cleanPath(u *url.URL) bool {
	return u.Path == "" || u.RawPath == "" && path.Clean(u.Path) == u.Path
}

// listenAddr takes a host:port to listen on apart.
// The host is not examined: a name that does not exist shows when listening.
func listenAddr(s string) (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", "", false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return host, port, err == nil
}

// sameListener tells whether two addresses can't both be listened on: same port, and same host or
// one of them every interface. Port 0 is a different port each time.
func sameListener(a, b string) bool {
	hostA, portA, _ := listenAddr(a)
	hostB, portB, _ := listenAddr(b)
	if strings.TrimLeft(portA, "0") == "" || strings.TrimLeft(portA, "0") != strings.TrimLeft(portB, "0") {
		return false
	}
	return hostA == hostB || everyInterface(hostA) || everyInterface(hostB)
}

// everyInterface tells whether the host of an address to listen on is no particular one.
func everyInterface(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}
