package proxy

// This file takes fields out of JSON room answers for members who aren't owners: ROOM_REDACT_FIELDS. Everything else
// keeps its text. Strings and numbers go through in pieces, so that no answer is held for the length of what is in it.

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// errUnreadable is an answer from which nothing can be taken out, so that none of it may pass.
var errUnreadable = errors.New("room answer can't be read for redaction")

// errBroken doesn't quote the text, which may be secret.
var errBroken = fmt.Errorf("%w: broken JSON", errUnreadable)

// redactBuffer is how much of a streamed answer is read at once.
const redactBuffer = 16 << 10

// redaction takes named fields out of answers, at any depth. It may be used concurrently, and a nil one not at all.
type redaction struct {
	fields  []string
	longest int // bytes of a name that may still be one of the fields, with its quotes and all of it escaped
}

// newRedaction is nil without fields.
func newRedaction(fields []string) *redaction {
	if len(fields) == 0 {
		return nil
	}
	d := &redaction{fields: fields}
	for _, field := range fields {
		d.longest = max(d.longest, len(`""`)+len(field)*len(`\u0000`))
	}
	return d
}

// check judges an answer by its head, that of a HEAD request if head is set, and adapts the header to the redacted
// body. skip: nothing is to be taken out, as there is no body. The error wraps errUnreadable. Who finds out later that
// the body is empty may ignore that: an empty answer passes, whatever its head says.
func (d *redaction) check(status int, header *fields, head bool) (skip bool, err error) {
	bodiless := head || status == http.StatusNotModified || status == http.StatusNoContent
	if !bodiless && header.get("Content-Length") == "0" {
		return true, nil
	}
	header.del("Content-Length")
	// Two bodies under one strong tag would be a lie (RFC 9110 §8.8.1). A weak one still serves If-None-Match.
	switch tag := header.get("Etag"); {
	case strings.HasPrefix(tag, `"`):
		header.set("Etag", "W/"+tag)
	case !strings.HasPrefix(tag, "W/"):
		header.del("Etag")
	}
	if bodiless {
		return true, nil
	}
	if encoding := header.get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return false, fmt.Errorf("%w: compressed", errUnreadable)
	}
	kind, _, err := mime.ParseMediaType(header.get("Content-Type"))
	if err != nil || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return false, fmt.Errorf("%w: not JSON", errUnreadable)
	}
	return false, nil
}

// whole returns a complete answer without the fields, and leaves text as it is. Nothing stays nothing. The error wraps
// errUnreadable.
func (d *redaction) whole(text []byte) ([]byte, error) {
	if len(text) == 0 {
		return nil, nil
	}
	s := scanner{rule: d, out: make([]byte, 0, len(text))}
	if !s.scan(text) || !s.complete() {
		return nil, errBroken
	}
	return s.out, nil
}

// stream returns from's answer without the fields. Reading fails with an error that wraps errUnreadable where the
// answer turns out to be no JSON, or else with from's.
func (d *redaction) stream(from io.Reader) io.Reader {
	out := make([]byte, 0, redactBuffer+d.longest+len(",")) // a piece, and what was held before it
	return &redactedStream{from: from, in: make([]byte, redactBuffer), scanner: scanner{rule: d, out: out}}
}

// redactedStream holds one buffer of what comes in and one of what goes out, however long the answer is.
type redactedStream struct {
	scanner
	from  io.Reader
	in    []byte
	ready []byte // of scanner.out, not read yet
	some  bool   // something came
	err   error
}

// Read implements io.Reader.
func (r *redactedStream) Read(p []byte) (int, error) {
	for len(r.ready) == 0 && r.err == nil {
		r.fill()
	}
	if len(r.ready) == 0 {
		return 0, r.err
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}

func (r *redactedStream) fill() {
	n, err := r.from.Read(r.in)
	r.some = r.some || n > 0
	r.out, r.err = r.out[:0], err
	if !r.scan(r.in[:n]) || err == io.EOF && r.some && !r.complete() {
		r.err = errBroken
	}
	r.ready = r.out
}
