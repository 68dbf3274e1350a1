package upstream

// Ask and its types spare the gateway's own requests the header maps, contexts and copies that net/http's types cost.

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Field is a header line.
type Field struct {
	Name  string // in canonical form (http.CanonicalHeaderKey)
	Value string
}

// Request is a request to an upstream.
type Request struct {
	Method string
	// Target is the path, which begins with "/", and the query if there is one. It is appended byte for byte to the path of
	// Options.Base.
	Target string
	// Fields are sent in this order, after Host. They must not describe the body or the connection. Without a User-Agent field,
	// none is sent.
	Fields []Field
	// Body may be nil. Ask closes it, even if Ask fails.
	Body io.ReadCloser
	// Length is the body's length in bytes; -1: unknown.
	Length int64

	answer *directAnswer // memory for the next answer; nil: none
}

// Reset empties the request for another use, and keeps its memory. Its answer must not be used any more.
func (r *Request) Reset() {
	clear(r.Fields[:cap(r.Fields)]) // beyond the length, the array may still hold a credential
	if r.answer != nil {
		*r.answer = directAnswer{text: r.answer.text}
	}
	*r = Request{Fields: r.Fields[:0], answer: r.answer}
}

// Answer is an upstream's answer. If it has no Body to read, it may be used until its Request is reset or sent again.
type Answer struct {
	Status int
	// Fields are all header lines except Transfer-Encoding and Trailer. Their order is unspecified.
	Fields []Field
	// Length is the body's length in bytes, as the header declares it; -1: undeclared.
	Length int64
	// Text is the whole body if it arrived together with the header; Body is then empty. Otherwise Text is nil.
	Text []byte
	// Body is never nil. The caller closes it. Its errors are those of Ask.
	Body io.ReadCloser
}

// Ask sends the request and returns the answer. Its promises and errors are those of RoundTrip, and it refuses a target or field
// that could end a line or change the host.
func (u *Upstream) Ask(ctx context.Context, r *Request) (*Answer, error) {
	if !sendable(r) {
		if r.Body != nil {
			_ = r.Body.Close()
		}
		return nil, fmt.Errorf("%s: %w", u.name, errLine)
	}
	if u.direct == nil || u.tracer != nil || !direct(r) {
		return u.askNetHTTP(ctx, r)
	}
	a := r.answer
	if r.answer = nil; a == nil {
		a = new(directAnswer)
	}
	*a = directAnswer{call: call{upstream: u, ctx: ctx}, text: a.text}
	if err := u.admit(&a.call); err != nil {
		return nil, fmt.Errorf("%s: %w", u.name, err)
	}
	returned := false
	defer func() {
		if !returned { // a panic
			a.call.end(nothing, "client", nil)
		}
	}()
	err := u.direct.send(ctx, r, u.timeout, a)
	if err != nil {
		a.came = time.Now()
	}
	u.metrics.times.Observe(a.came.Sub(a.call.began).Seconds())
	if err == nil {
		if err = checked(a.Status); err != nil {
			_ = a.Body.Close()
		}
	}
	returned = true
	if err != nil {
		return nil, a.call.failed(err, nil)
	}
	a.call.status = a.Status
	if a.Body == http.NoBody {
		a.call.finishAt(nil, a.came)
		r.answer = a // nothing refers to it but the answer
		return &a.Answer, nil
	}
	a.call.body, a.Body = a.Body, &a.call
	return &a.Answer, nil
}

// sendable reports whether nothing in the target or the fields can end a line or change the host.
func sendable(r *Request) bool {
	if !strings.HasPrefix(r.Target, "/") || !isPrintable(r.Target) {
		return false
	}
	for i := range r.Fields {
		if f := &r.Fields[i]; !isPlainName(f.Name) || !isLine(f.Value) {
			return false
		}
	}
	return true
}

// askNetHTTP asks through net/http's transport.
func (u *Upstream) askNetHTTP(ctx context.Context, r *Request) (*Answer, error) {
	header, values := make(http.Header, len(r.Fields)+1), make([]string, len(r.Fields)+1)
	for i := range r.Fields {
		f := &r.Fields[i]
		values[i] = f.Value
		if earlier, ok := header[f.Name]; ok && f.Name != "User-Agent" {
			header[f.Name] = append(earlier, f.Value)
		} else {
			header[f.Name] = values[i : i+1 : i+1] // a part of one allocation for all values
		}
	}
	if _, ok := header["User-Agent"]; !ok {
		header["User-Agent"] = values[len(r.Fields):] // an empty one keeps net/http from sending its own
	}
	sent := &http.Request{
		Method: r.Method, URL: u.at(r.Target), Header: header, Body: r.Body, ContentLength: r.Length, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	got, err := u.RoundTrip(sent.WithContext(ctx)) //nolint:bodyclose // the caller of Ask closes it
	if err != nil {
		return nil, err
	}
	return &Answer{Status: got.StatusCode, Fields: fieldsOf(got.Header), Length: got.ContentLength, Body: got.Body}, nil
}

// at returns the URL of a target. Opaque keeps net/url from changing the path's encoding.
func (u *Upstream) at(target string) *url.URL {
	path, query, asks := strings.Cut(target, "?")
	return &url.URL{
		Scheme: u.base.Scheme, Host: u.base.Host, Opaque: basePath(u.base) + path, RawQuery: query, ForceQuery: asks && query == "",
	}
}

// basePath returns what precedes each target.
func basePath(base *url.URL) string { return strings.TrimSuffix(base.EscapedPath(), "/") }

// fieldsOf lists a header's lines.
func fieldsOf(h http.Header) []Field {
	fields := make([]Field, 0, len(h))
	for name, values := range h {
		for _, value := range values {
			fields = append(fields, Field{name, value})
		}
	}
	return fields
}
