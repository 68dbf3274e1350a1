package ops

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// forThisMachine admits only requests for an IP address or localhost. Another site's page could point its own host name at
// 127.0.0.1 (DNS rebinding), and the browser would let it read the answers. But then the request contains that name.
func forThisMachine(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !namesNoSite(r.Host) {
			refuse(w, "use an IP address or localhost as the host name")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// fromThisMachine admits only peers on loopback, whatever address the listener has. A cluster's port-forward is such a peer.
func fromThisMachine(next http.Handler) http.Handler {
	return forThisMachine(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !peer.Addr().Unmap().IsLoopback() {
			refuse(w, "only for peers on loopback; use a port-forward")
			return
		}
		next.ServeHTTP(w, r)
	}))
}

// namesNoSite reports whether the host, with or without a port, is an IP address, localhost or empty. Only HTTP/1.0 clients send
// none; browsers always do.
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
