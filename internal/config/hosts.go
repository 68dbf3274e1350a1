package config

import (
	"net"
	"net/netip"
	"net/url"
	"path"
	"strconv"
	"strings"
)

// privateHost reports whether credentials may be sent to the host without TLS: it is this machine or in a private network. A host
// not known to be private counts as public.
//
// A host name that only resolves to a private address is public too. It may resolve to another address later, and then
// credentials would be sent there unencrypted. So privateHost does no look-up.
func privateHost(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap()
		carrierGrade := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64}), 10) // RFC 6598, common inside clouds
		return addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() || carrierGrade.Contains(addr)
	}
	// A trailing dot only marks a fully qualified name.
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if !strings.Contains(host, ".") {
		// A name in the local search domain, such as a compose service. Some resolvers take a number for an IPv4 address.
		return host != "" && (host[0] < '0' || host[0] > '9')
	}
	// Suffixes that no public registry assigns: RFC 6761 and 6762, ICANN's .internal, and Kubernetes' .svc.
	for _, suffix := range []string{".local", ".internal", ".localhost", ".svc", ".test"} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

// validPort reports whether the port of a URL is valid. "" is valid: the scheme's default.
func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// cleanPath reports whether the base path of u can be joined with another path without changing. Its trailing slash must be gone
// already.
func cleanPath(u *url.URL) bool {
	return u.Path == "" || u.RawPath == "" && path.Clean(u.Path) == u.Path
}

// listenAddr splits a host:port to listen on. It doesn't check that the host exists: listening does.
func listenAddr(s string) (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", "", false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return host, port, err == nil
}

// sameListener reports whether two addresses can't both be listened on: the port is the same, and so is the host, or one host is
// every interface. Port 0 is a different port each time.
func sameListener(a, b string) bool {
	hostA, portA, _ := listenAddr(a)
	hostB, portB, _ := listenAddr(b)
	if strings.TrimLeft(portA, "0") == "" || strings.TrimLeft(portA, "0") != strings.TrimLeft(portB, "0") {
		return false
	}
	return hostA == hostB || everyInterface(hostA) || everyInterface(hostB)
}

// everyInterface reports whether the host of a listen address means all interfaces.
func everyInterface(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}
