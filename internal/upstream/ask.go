package upstream

// This file is the short way to an upstream for requests that a gateway has written itself: without the header maps, contexts and
// copies that net/http's types cost.

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
	// Target is the path, which begins with "/", and the query where there is one. It follows the path of Options.Base byte for byte.
	Target string
	// Fields are sent in this order, after Host. No one may tell of the body or the connection. Without User-Agent none is sent.
	Fields []Field
	// Body is closed. Nil: there is none.
	Body io.ReadCloser
	// Length is the body's, in bytes; -1: unknown.
	Length int64
}

// Answer is an upstream's answer.
type Answer struct {
	Status int
	// Fields are all header lines but Transfer-Encoding and Trailer. Their order is the upstream's or any.
	Fields []Field
	// Length is what the header says of the body, in bytes; -1: nothing.
	Length int64
	// Text is the whole body where it came together with the header, and belongs to the caller. Body is empty then.
	Text []byte
	// Body is never nil. The caller closes it. Its errors are those of Ask.
	Body io.ReadCloser
}

// Ask sends the request and returns the answer, as RoundTrip does: with the same promises and errors.
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
	a := &directAnswer{call: call{upstream: u, ctx: ctx}}
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
	now := time.Now()
	u.metrics.times.Observe(now.Sub(a.call.began).Seconds())
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
		a.call.finishAt(nil, now)
		return &a.Answer, nil
	}
	a.call.body, a.Body = a.Body, &a.call
	return &a.Answer, nil
}

// sendable reports whether nothing in the request's head can end a line, or be taken for another host.
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
			header[f.Name] = values[i : i+1 : i+1] // of one allocation for all
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

// at is the URL of a target. Opaque keeps net/url from spelling the path its own way.
func (u *Upstream) at(target string) *url.URL {
	path, query, asks := strings.Cut(target, "?")
	return &url.URL{
		Scheme: u.base.Scheme, Host: u.base.Host, Opaque: basePath(u.base) + path, RawQuery: query, ForceQuery: asks && query == "",
	}
}

// basePath is what stands before each target.
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
