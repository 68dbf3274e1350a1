package proxy

// The header rules of both upstreams. A header goes up to an upstream, or down to the client.

import (
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"roomgate/internal/upstream"
)

// headerRule says where a header of a room request or answer may go.
type headerRule struct {
	name     string // in canonical form
	up       bool   // passes from the client to Interwater
	question bool   // the answer may depend on it: requests that differ in it share no answer
	content  bool   // describes a body: passes up only with methods that have one
	down     bool   // passes from Interwater to the client
}

// roomHeaders is the table for Interwater. The gateway drops all other headers, in both directions. The headers that it sets itself are
// in call.identity.
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

// roomValues are a request's values of the headers in the table, row by row.
type roomValues [len(roomHeaders)][]string

// rowOf returns a header's row in the table, or -1.
func rowOf(name string) int {
	for i := range roomHeaders {
		if roomHeaders[i].name == name {
			return i
		}
	}
	return -1
}

// valuesOf returns the values of the table's headers. They share memory with h.
func valuesOf(h http.Header) (values roomValues) {
	for i := range roomHeaders {
		values[i] = h[roomHeaders[i].name]
	}
	return values
}

// fields are header lines. Names are in canonical form.
type fields []upstream.Field

// get returns the first value of a name, or "".
func (f fields) get(name string) string {
	for i := range f {
		if f[i].Name == name {
			return f[i].Value
		}
	}
	return ""
}

// set replaces all lines of a name with one. Sorted lines stay sorted.
func (f *fields) set(name, value string) {
	f.del(name)
	at := 0
	for at < len(*f) && (*f)[at].Name < name {
		at++
	}
	*f = slices.Insert(*f, at, upstream.Field{Name: name, Value: value})
}

func (f *fields) del(name string) {
	*f = slices.DeleteFunc(*f, func(line upstream.Field) bool { return line.Name == name })
}

// sort sorts the lines by name. Lines of one name keep their order.
func (f fields) sort() {
	for i := range f {
		for at := i; at > 0 && f[at-1].Name > f[at].Name; at-- { // insertion sort: the lines are few and mostly sorted
			f[at-1], f[at] = f[at], f[at-1]
		}
	}
}

// setIn puts the lines into h. They replace those of the same names.
func (f fields) setIn(h http.Header) {
	for i := range f {
		delete(h, f[i].Name)
	}
	f.addTo(h)
}

// addTo adds the lines to h.
func (f fields) addTo(h http.Header) {
	values := make([]string, len(f)) // one allocation
	for i := range f {
		name := f[i].Name
		if values[i] = f[i].Value; len(h[name]) == 0 {
			h[name] = values[i : i+1 : i+1]
		} else {
			h[name] = append(h[name], f[i].Value)
		}
	}
}

// falling returns the header lines of Interwater's answer that the client gets, and Cache-Control. It sorts them by name, as net/http
// does. It reuses the memory of fallen.
func falling(fallen fields, from []upstream.Field) fields {
	fallen = append(fallen[:0], upstream.Field{Name: "Cache-Control", Value: "private, no-store"})
	for i := range from {
		if row := rowOf(from[i].Name); row >= 0 && roomHeaders[row].down {
			fallen = append(fallen, from[i])
		}
	}
	fallen.sort()
	return fallen
}

// inQuestion reports whether an answer whose Vary names the header may be shared. That is so if the header is part of the question.
func inQuestion(name string) bool {
	name = http.CanonicalHeaderKey(name)
	if row := rowOf(name); row >= 0 {
		return roomHeaders[row].question
	}
	switch name {
	case "X-Forwarded-Host", "X-Forwarded-Proto":
		return true
	case "Origin": // common in Vary, but it never reaches Interwater: the gateway does CORS itself
		return true
	}
	return false
}

// dropCredentials removes every header that an upstream could take for the credential header. Frameworks ignore case, and some ignore
// punctuation.
func dropCredentials(h http.Header) {
	for name := range h {
		if foldsToCredential(name) {
			delete(h, name)
		}
	}
}

// foldsToCredential reports whether a name equals the credential header's, if only letters and digits count.
func foldsToCredential(name string) bool {
	const folded = "sconnectorjwt"
	at := 0
	for i := range len(name) {
		c := name[i] | 0x20 // makes letters lower case and leaves digits alone
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

// dropHopByHop removes the headers that ReverseProxy leaves in for upgrades and trailers. It also removes Expect, which the gateway
// answers itself.
func dropHopByHop(h http.Header) {
	for _, name := range []string{"Connection", "Upgrade", "Te", "Trailer", "Expect", "Http2-Settings"} {
		h.Del(name)
	}
}

// identity adds the headers that the gateway sets on requests to both upstreams.
func (c *call) identity(to fields) fields {
	to = append(to,
		upstream.Field{Name: "Traceparent", Value: c.traceparent()},
		upstream.Field{Name: "Via", Value: "1.1 roomgate"},
		upstream.Field{Name: "X-Forwarded-For", Value: c.forwarded.chain},
		upstream.Field{Name: "X-Forwarded-Proto", Value: c.forwarded.proto},
		upstream.Field{Name: "X-Request-Id", Value: c.requestID},
	)
	if c.forwarded.host != "" { // HTTP/1.0 may have none
		to = append(to, upstream.Field{Name: "X-Forwarded-Host", Value: c.forwarded.host})
	}
	if state := c.span.TraceState(); state.Len() > 0 {
		to = append(to, upstream.Field{Name: "Tracestate", Value: state.String()})
	}
	return to
}

// identify sets the headers of call.identity in h. They replace the client's.
func identify(h http.Header, c *call) {
	delete(h, "Tracestate")
	delete(h, "X-Forwarded-Host")
	for _, line := range c.identity(nil) {
		h[line.Name] = []string{line.Value}
	}
}

// traceparent returns the value of the header of that name for the call's span (W3C Trace Context §3.2).
func (c *call) traceparent() string {
	if c.parent == "" {
		id, span := c.span.TraceID(), c.span.SpanID()
		text := make([]byte, 0, 55)
		text = append(text, "00-"...)
		text = hex.AppendEncode(text, id[:])
		text = append(text, '-')
		text = hex.AppendEncode(text, span[:])
		text = append(text, '-')
		text = hex.AppendEncode(text, []byte{byte(c.span.TraceFlags())})
		c.parent = string(text)
	}
	return c.parent
}

// traceID returns the trace's id in hexadecimal digits.
func (c *call) traceID() string { return c.traceparent()[len("00-"):][:2*len(trace.TraceID{})] }

// credentialHeader is bridge.CredentialHeader in canonical form.
const credentialHeader = "S-Connector-Jwt"

// singular returns the value of a header that has exactly one, and otherwise "".
func singular(values []string) string {
	if len(values) == 1 {
		return strings.TrimSpace(values[0])
	}
	return ""
}
