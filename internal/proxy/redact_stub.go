package proxy

// This file is a stand-in until the streaming redaction lands.

import (
	"bytes"
	"io"
	"net/http"
)

type redaction struct{ fields []string }

func newRedaction(fields []string) *redaction {
	if len(fields) == 0 {
		return nil
	}
	return &redaction{fields}
}

func (r *redaction) check(status int, h http.Header, empty bool) (bool, error) {
	answer := &http.Response{StatusCode: status, Header: h, Request: &http.Request{Method: "GET"}, Body: http.NoBody, ContentLength: 100000}
	h.Del("Content-Length")
	if empty || status == 304 || status == 204 {
		return true, nil
	}
	if err := redact(answer, r.fields); err != nil && answer.Body == http.NoBody && err.Error() != "room answer can't be read for redaction: not JSON" {
		return false, err
	}
	return false, nil
}
func (r *redaction) whole(text []byte) ([]byte, error) {
	return io.ReadAll(newRedactor(bytes.NewReader(text), r.fields))
}
func (r *redaction) stream(from io.Reader) io.Reader { return newRedactor(from, r.fields) }
