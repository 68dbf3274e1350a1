package lane

import (
	"bytes"
	"net/netip"
	"strings"
)

var errTarget = bad("malformed request target")

// readTarget checks that a target has the right form for its method (RFC 9112 §3.2). A path is right for every method, as in net/http.
// If the target is a URL, readTarget returns the host in it.
func readTarget(method, target []byte) (authority []byte, wrong *fault) {
	if !ValidURI(target) {
		return nil, errTarget
	}
	switch {
	case target[0] == '/', string(target) == "*" && string(method) == "OPTIONS":
		return nil, nil
	case string(method) == "CONNECT":
		if !ValidHost(target) {
			return nil, errHost
		}
		return nil, nil
	}
	scheme, authority, ok := bytes.Cut(target, []byte("://"))
	if !ok || !bytes.EqualFold(scheme, []byte("http")) && !bytes.EqualFold(scheme, []byte("https")) {
		return nil, errTarget
	}
	if end := bytes.IndexAny(authority, "/?"); end >= 0 {
		authority = authority[:end]
	}
	if !ValidHost(authority) {
		return nil, errHost
	}
	return authority, nil
}

// ValidURI reports whether t has only whole percent-encodings and characters that are allowed in a URI without a fragment. "{|}^`" are
// allowed as well.
func ValidURI[T string | []byte](t T) bool {
	for i := range len(t) {
		if c := t[i]; classes[c]&uri == 0 && (c != '%' || len(t) < i+3 || unhex(t[i+1]) < 0 || unhex(t[i+2]) < 0) {
			return false
		}
	}
	return true
}

// ValidHost reports whether h is a host with or without a port: a name of letters, digits and "-._~", or an IPv6 address in
// brackets. RFC 3986 allows more characters in names. No DNS name has them, and with a comma
// h would look like two hosts.
func ValidHost[T string | []byte](h T) bool {
	if len(h) > 0 && h[0] == '[' {
		end := strings.IndexByte(string(h), ']')
		if end < 0 {
			return false
		}
		address, err := netip.ParseAddr(string(h[1:end]))
		return err == nil && address.Is6() && address.Zone() == "" && validPort(h[end+1:])
	}
	for i := range len(h) {
		if classes[h[i]]&host == 0 {
			return i > 0 && validPort(h[i:])
		}
	}
	return len(h) > 0
}

// validPort reports whether rest is empty, or a colon and at most five digits, up to 65535.
func validPort[T string | []byte](rest T) bool {
	if len(rest) == 0 {
		return true
	}
	port := 0
	for i := 1; i < len(rest); i++ {
		if rest[i] < '0' || rest[i] > '9' {
			return false
		}
		port = port*10 + int(rest[i]-'0')
	}
	return rest[0] == ':' && len(rest) <= 6 && port <= 65535
}
