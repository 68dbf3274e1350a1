package proxy

// This file holds the header rules of both upstreams: what goes up, what comes back.

import (
	"encoding/hex"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/trace"
)

// headerRule says where a header of a room request or answer may go. Names are in canonical form.
type headerRule struct {
	name     string
	up       bool // from the client to Interwater
	question bool // the answer may depend on it: requests that differ in it share nothing
	content  bool // describes a body: goes up with methods that have one
	down     bool // from Interwater to the client
}

// roomHeaders is the table for Interwater. What isn't in it ends at the gateway, in both directions. What the gateway sets
// itself is in identify.
var roomHeaders = [...]headerRule{
	{name: "Accept", up: true, question: true},
	{name: "Accept-Encoding", up: true, question: true},
	{name: "Accept-Language", up: true, question: true},
	{name: "If-None-Match", up: true, question: true},
	{name: "If-Modified-Since", up: true, question: true},
	{name: "User-Agent", up: true},
	{name: "Content-Type", up: true, content: true, down: true},
	{name: "Content-Encoding", up: true, content: true, down: true},
	{name: "Content-Language", up: true, content: true, down: true},
	{name: "Content-Length", down: true},
	{name: "Etag", down: true},
	{name: "Last-Modified", down: true},
	{name: "Vary", down: true},
	{name: "Date", down: true},
	{name: "Retry-After", down: true},
}

// noUserAgent keeps net/http from sending its own.
var noUserAgent = []string{""}

// uncached is the Cache-Control of every room answer.
var uncached = []string{"private, no-store"}

// rising returns the headers of a request that reach Interwater with the method. The values are h's own.
func rising(h http.Header, method string) http.Header {
	body := method != http.MethodGet && method != http.MethodHead
	var values [len(roomHeaders)][]string
	size := 8 // User-Agent and what the gateway sets
	for i := range roomHeaders {
		if rule := &roomHeaders[i]; rule.up && (body || !rule.content) {
			if values[i] = h[rule.name]; len(values[i]) > 0 {
				size++
			}
		}
	}
	risen := make(http.Header, size)
	risen["User-Agent"] = noUserAgent
	for i := range roomHeaders {
		if len(values[i]) > 0 {
			risen[roomHeaders[i].name] = values[i]
		}
	}
	return risen
}

// falling returns the headers of Interwater's answer that reach the client. The values are h's own.
func falling(h http.Header) http.Header {
	fallen := make(http.Header, 8)
	for i := range roomHeaders {
		rule := &roomHeaders[i]
		if values := h[rule.name]; rule.down && len(values) > 0 {
			fallen[rule.name] = values
		}
	}
	fallen["Cache-Control"] = uncached
	return fallen
}

// inQuestion reports whether a name in an answer's Vary is part of the question, or never reaches Interwater.
func inQuestion(name string) bool {
	name = http.CanonicalHeaderKey(name)
	for i := range roomHeaders {
		if roomHeaders[i].name == name {
			return roomHeaders[i].question
		}
	}
	switch name {
	case "X-Forwarded-Host", "X-Forwarded-Proto":
		return true
	case "Origin": // browsers' answers name it; the gateway answers CORS itself
		return true
	}
	return false
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
func identify(h http.Header, c *call) {
	values := []string{c.requestID, c.forwarded.chain, c.forwarded.host, c.forwarded.proto, traceparent(c.span), "1.1 roomgate"} // one allocation
	h["X-Request-Id"] = values[0:1:1]
	h["X-Forwarded-For"] = values[1:2:2]
	delete(h, "X-Forwarded-Host") // HTTP/1.0 may have none
	if c.forwarded.host != "" {
		h["X-Forwarded-Host"] = values[2:3:3]
	}
	h["X-Forwarded-Proto"] = values[3:4:4]
	h["Traceparent"] = values[4:5:5]
	h["Via"] = values[5:6:6]
	delete(h, "Tracestate")
	if state := c.span.TraceState().String(); state != "" {
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
