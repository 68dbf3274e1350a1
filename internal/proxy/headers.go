package proxy

// This file holds the header rules of both upstreams: what goes up, what comes back.

import (
	"encoding/hex"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// roomRequestHeaders may reach Interwater. Content headers only matter on routes whose method has a body, which an
// operator must have opened.
func roomRequestHeaders() []string {
	return []string{
		"Accept", "Accept-Encoding", "Accept-Language", "User-Agent", "If-None-Match", "If-Modified-Since",
		"Content-Type", "Content-Encoding", "Content-Language",
	}
}

// roomResponseHeaders may come back from Interwater.
func roomResponseHeaders() []string {
	return []string{
		"Content-Type", "Content-Length", "Content-Encoding", "Content-Language",
		"Etag", "Last-Modified", "Vary", "Date", "Retry-After",
	}
}

// pick returns the named headers of h, under the canonical names.
func pick(h http.Header, names []string) http.Header {
	picked := make(http.Header, 8) // one group of the map
	for _, name := range names {
		if values := h[name]; len(values) > 0 {
			picked[name] = values
		}
	}
	return picked
}

// dropCredentials removes every header that some upstream could take for the credential header: frameworks fold case,
// and some of them all punctuation.
func dropCredentials(h http.Header) {
	for name := range h {
		if foldsToCredential(name) {
			delete(h, name)
		}
	}
}

// foldsToCredential compares letters and digits only.
func foldsToCredential(name string) bool {
	const folded = "sconnectorjwt"
	at := 0
	for i := range len(name) {
		c := name[i] | 0x20 // lower case, and digits stay digits
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9') {
			continue
		}
		if at == len(folded) || c != folded[at] {
			return false
		}
		at++
	}
	return at == len(folded)
}

// dropHopByHop removes what ReverseProxy leaves for upgrades and trailers, and what the gateway answers itself.
func dropHopByHop(h http.Header) {
	for _, name := range []string{"Connection", "Upgrade", "Te", "Trailer", "Expect", "Http2-Settings"} {
		h.Del(name)
	}
}

// identify sets what the gateway says of the request to either upstream.
func identify(h http.Header, ex *exchange) {
	values := []string{ex.requestID, ex.forwarded.chain, ex.forwarded.host, ex.forwarded.proto, traceparent(ex.span)} // one allocation
	h["X-Request-Id"] = values[0:1:1]
	h["X-Forwarded-For"] = values[1:2:2]
	h["X-Forwarded-Host"] = values[2:3:3]
	h["X-Forwarded-Proto"] = values[3:4:4]
	h["Traceparent"] = values[4:5:5]
	delete(h, "Tracestate")
	if state := ex.span.TraceState().String(); state != "" {
		h.Set("Tracestate", state)
	}
}

// traceparent is the W3C form (Trace Context §3.2).
func traceparent(s trace.SpanContext) string {
	id, span := s.TraceID(), s.SpanID()
	text := make([]byte, 0, 55)
	text = append(text, "00-"...)
	text = hex.AppendEncode(text, id[:])
	text = append(text, '-')
	text = hex.AppendEncode(text, span[:])
	text = append(text, '-')
	text = hex.AppendEncode(text, []byte{byte(s.TraceFlags())})
	return string(text)
}

// credentialHeader is bridge.CredentialHeader in the form that http.Header keys have.
const credentialHeader = "S-Connector-Jwt"

// singular is the one value of a header, or "" where there is none or more than one.
func singular(h http.Header, name string) string {
	if values := h[name]; len(values) == 1 {
		return strings.TrimSpace(values[0])
	}
	return ""
}
