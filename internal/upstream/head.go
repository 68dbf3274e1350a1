package upstream

// This file writes the head of a request as net/http does, byte by byte the same, without its allocations.

import (
	"bytes"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// writeHead writes the head of a request that the synchronous transport takes. What isn't plain is left to net/http.
func (t *synchronous) writeHead(b *bytes.Buffer, r *http.Request) error {
	target := r.URL.RequestURI()
	if r.Host != "" && r.Host != t.host || strings.Contains(t.host, "%") || !isPrintable(target) {
		return r.Write(b)
	}
	b.WriteString(r.Method)
	b.WriteByte(' ')
	b.WriteString(target)
	b.WriteString(" HTTP/1.1\r\n")
	writeLine(b, "Host", t.host)
	agent, given := r.Header["User-Agent"]
	switch {
	case !given:
		writeLine(b, "User-Agent", "Go-http-client/1.1")
	case len(agent) > 0 && agent[0] != "":
		writeLine(b, "User-Agent", agent[0])
	}
	var few [24]string // so that most need no allocation
	names := few[:0]
	for name := range r.Header {
		switch name {
		case "Host", "User-Agent", "Content-Length", "Transfer-Encoding", "Trailer": // they tell of what is sent
		default:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range r.Header[name] {
			writeLine(b, name, value)
		}
	}
	b.WriteString("\r\n")
	return nil
}

// writeLine writes one line of a header whose value has no line end.
func writeLine(b *bytes.Buffer, name, value string) {
	b.WriteString(name)
	b.WriteString(": ")
	b.WriteString(textproto.TrimString(value))
	b.WriteString("\r\n")
}

// isPrintable reports whether s is ASCII without spaces and control characters.
func isPrintable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
