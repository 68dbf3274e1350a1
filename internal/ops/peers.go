package ops

// This file keeps strangers from the operations listener: pages of other sites, and peers that have no business with its insides.

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// forThisMachine admits only requests for an IP address or localhost. A page of another site can point its own name at 127.0.0.1
// (DNS rebinding), and then the browser lets it read the answers; but the name stands in the request.
func forThisMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !namesNoSite(r.Host) {
			refuse(w, "ask by IP address or as localhost")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// fromThisMachine admits only peers on loopback, whatever address the listener has; a port-forward of a cluster is one.
func fromThisMachine(next http.Handler) http.Handler {
	return forThisMachine(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !peer.Addr().Unmap().IsLoopback() {
			refuse(w, "for peers on loopback alone; use a port-forward")
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// namesNoSite reports whether the host, perhaps with a port, is an IP address, localhost or, with HTTP/1.0, nothing. A browser
// always names one.
func namesNoSite(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "" || strings.EqualFold(strings.TrimSuffix(host, "."), "localhost") {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// refuse answers 403.
func refuse(w http.ResponseWriter, why string) {
	writeJSON(w, http.StatusForbidden, map[string]string{"error": why})
}
