package proxy

// This file holds what a room request asks, and what all who ask it get.

import (
	"bytes"
	"io"
	"net/http"
	"strings"
)

// questionHeaders is how many headers of the table are part of the question.
const questionHeaders = 5

// question is all that the answer to a room request may depend on: requests with equal questions may share one answer.
type question struct {
	method        string
	license, role string
	path, query   string // as sent
	hasQuery      bool
	host, proto   string                  // as forwarded
	header        [questionHeaders]string // their values, joined by NUL, which no value contains
}

// asked is a question with what goes up beside it.
type asked struct {
	question
	rising http.Header   // what of the client's headers reaches Interwater
	body   io.ReadCloser // nil: none. It comes from ReverseProxy, whose bodies close without waiting for the client
	length int64         // of the body; -1: unknown
}

// ask reads an admitted request's question, and what goes up beside it.
func ask(c *call, r *http.Request) *asked {
	a := &asked{
		question: question{
			method: r.Method, license: c.grant.License, role: c.grant.Role, path: c.target.path, query: c.target.query, hasQuery: c.target.hasQuery,
			host: c.forwarded.host, proto: c.forwarded.proto,
		},
		rising: rising(r.Header, r.Method),
	}
	identify(a.rising, c)
	at := 0
	for i := range roomHeaders {
		if rule := &roomHeaders[i]; rule.question {
			a.header[at] = strings.Join(r.Header[rule.name], "\x00")
			at++
		}
	}
	return a
}

// answer is Interwater's answer as members get it: after the allow-list of headers and redaction. It is never changed, and
// several may have it at once, unless it has a rest.
type answer struct {
	status int
	header http.Header
	text   []byte        // the body, or its beginning where there is a rest
	rest   io.ReadCloser // nil: text is all. Otherwise the answer is for one alone, who closes it
	length int64         // of the whole body; -1: unknown
	shared bool          // for everybody who asks the same
	source string        // of the access token
}

// response is the answer for one of those who get it, without its header: ReverseProxy would copy that value by value, and writer
// takes it from the call.
func (a *answer) response(r *http.Request) *http.Response {
	response := &http.Response{StatusCode: a.status, ContentLength: a.length, Request: r}
	switch {
	case a.rest != nil && len(a.text) > 0:
		response.Body = readCloser{io.MultiReader(bytes.NewReader(a.text), a.rest), a.rest}
	case a.rest != nil:
		response.Body = a.rest
	default:
		response.Body = newWholeBody(a.text)
	}
	return response
}

// wholeBody is a body that has been read to its end.
type wholeBody struct{ bytes.Reader }

func newWholeBody(text []byte) *wholeBody {
	b := new(wholeBody)
	b.Reset(text)
	return b
}

// Close implements io.Closer.
func (*wholeBody) Close() error { return nil }

// readCloser reads here and closes there.
type readCloser struct {
	io.Reader
	io.Closer
}

// mayShare reports whether an answer with this header is for everybody who asks the same. Set-Cookie doesn't matter: it ends
// at the gateway.
func mayShare(h http.Header) bool {
	if strings.Contains(strings.ToLower(strings.Join(h["Cache-Control"], ",")), "no-store") {
		return false
	}
	for _, line := range h["Vary"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name != "" && !inQuestion(name) {
				return false
			}
		}
	}
	return true
}
