package proxy

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"

	"roomgate/internal/upstream"
)

// questionHeaders is how many headers of the table are part of the question.
const questionHeaders = 5

// mostFields is enough for the header of most upstream requests: a browser's lines, the gateway's own and the access token.
const mostFields = 16

// question is all that the answer to a room request may depend on. Requests with equal questions may share one answer.
type question struct {
	method        string
	license, role string
	path, query   string // as sent
	hasQuery      bool
	host, proto   string                  // as forwarded
	header        [questionHeaders]string // the values of each header, joined by NUL, which no value contains
}

// clone returns a copy that doesn't keep the memory of its request in use.
func (q *question) clone() question {
	own := *q
	for _, text := range []*string{&own.license, &own.role, &own.path, &own.query, &own.host, &own.proto} {
		*text = strings.Clone(*text)
	}
	for i := range own.header {
		own.header[i] = strings.Clone(own.header[i])
	}
	return own
}

// asked is a question and the upstream request that asks it.
type asked struct {
	question
	request upstream.Request // without the access token, which fetcher.send adds
}

// ask fills c.asked from an admitted request. values are the values of the headers in the table.
func (c *call) ask(values *roomValues) {
	a := &c.asked
	a.question = question{
		method: c.method, license: c.grant.License, role: c.grant.Role, path: c.target.path, query: c.target.query, hasQuery: c.target.hasQuery,
		host: c.forwarded.host, proto: c.forwarded.proto,
	}
	a.request.Method, a.request.Target = c.method, c.target.raw
	if a.request.Fields == nil {
		a.request.Fields = make(fields, 0, mostFields)
	}
	at, body := 0, c.method != http.MethodGet && c.method != http.MethodHead
	for i := range roomHeaders {
		rule := &roomHeaders[i]
		if rule.question {
			a.header[at] = strings.Join(values[i], "\x00")
			at++
		}
		if rule.up && (body || !rule.content) {
			for _, value := range values[i] {
				a.request.Fields = append(a.request.Fields, upstream.Field{Name: rule.name, Value: value})
			}
		}
	}
	a.request.Fields = c.identity(a.request.Fields)
}

// answer is Interwater's answer as members get it: after the allow-list of headers and redaction. It is never changed. Without a rest,
// several requests may use it at once.
type answer struct {
	status int
	header fields        // sorted by name
	text   []byte        // the body, or its beginning if there is a rest
	lent   bool          // the memory of the answer and its text is lent: only one request uses them
	memory *lentText     // the memory of text; nil: text belongs to the upstream's answer, or to this one
	rest   io.ReadCloser // nil: text is the whole body. Otherwise the answer is for one request, which closes rest
	length int64         // of the whole body; -1: unknown
	shared bool          // it may be shared with everybody who asks the same
	source string        // where the access token came from

	few [6]upstream.Field // the memory of header, if that is short
}

// response returns the answer for one request, without its header: ReverseProxy would copy the header value by value. writer takes the
// header from the call.
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

// readCloser joins a Reader and a Closer.
type readCloser struct {
	io.Reader
	io.Closer
}

// complete returns a copy of the answer with the rest read. If the body is longer than most bytes, the copy still has a rest.
func (a *answer) complete(most int) (*answer, error) {
	text, err := io.ReadAll(io.LimitReader(a.rest, int64(most-len(a.text)+1)))
	if err != nil {
		_ = a.rest.Close()
		return nil, brokenOff(err)
	}
	whole := *a
	whole.lent = false
	if whole.text = append(slices.Clip(a.text), text...); len(whole.text) <= most {
		whole.rest, whole.length, whole.header = nil, int64(len(whole.text)), slices.Clone(a.header)
		whole.measure(http.MethodGet)
		_ = a.rest.Close()
	}
	return &whole, nil
}

// leftBody calls release after it is closed.
type leftBody struct {
	io.ReadCloser
	release func() bool
}

// Close implements io.Closer.
func (b *leftBody) Close() error {
	defer b.release()
	return b.ReadCloser.Close()
}

// mayShare reports whether an answer with these header lines may be shared with everybody who asks the same. Set-Cookie doesn't matter,
// because the gateway drops it.
func mayShare(lines fields) bool {
	for i := range lines {
		switch line := &lines[i]; line.Name {
		case "Cache-Control":
			if strings.Contains(strings.ToLower(line.Value), "no-store") {
				return false
			}
		case "Vary":
			for name := range strings.SplitSeq(line.Value, ",") {
				if name = strings.TrimSpace(name); name != "" && !inQuestion(name) {
					return false
				}
			}
		}
	}
	return true
}
