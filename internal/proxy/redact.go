package proxy

// Redaction removes fields from JSON room answers for members who aren't owners (ROOM_REDACT_FIELDS). The rest of the text stays the
// same. Strings and numbers pass in pieces, so a long one isn't held in memory.

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// errUnreadable means that an answer can't be redacted. None of it may pass.
var errUnreadable = errors.New("room answer can't be read for redaction")

// errBroken is for text that isn't JSON. It doesn't quote the text, which may be secret.
var errBroken = fmt.Errorf("%w: broken JSON", errUnreadable)

// redactBuffer is how many bytes of a streamed answer are read at once.
const redactBuffer = 16 << 10

// redaction removes named fields from answers, at any depth. It is safe for concurrent use. A nil *redaction must not be used.
type redaction struct {
	fields  []string
	longest int // the most bytes that a field's name can have, with its quotes and every character escaped
}

// newRedaction returns nil without fields.
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

// check adapts an answer's header to the redacted body. head: there is no body, because of a HEAD request or an empty answer. skip: there
// is nothing to redact. The error wraps errUnreadable: by the header, the body can't be redacted.
func (d *redaction) check(status int, header *fields, head bool) (skip bool, err error) {
	bodiless := head || status == http.StatusNotModified || status == http.StatusNoContent
	if !bodiless && header.get("Content-Length") == "0" {
		return true, nil
	}
	header.del("Content-Length")
	// Two different bodies must not have the same strong ETag (RFC 9110 §8.8.1). A weak one still works with If-None-Match.
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

// whole returns a complete answer without the fields. It doesn't change text. For an empty text it returns nil. The error wraps
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

// stream returns from's answer without the fields. If the answer isn't JSON, Read fails with an error that wraps errUnreadable. Other
// errors of Read are from's.
func (d *redaction) stream(from io.Reader) io.Reader {
	out := make([]byte, 0, redactBuffer+d.longest+len(",")) // enough for a piece and the name held before it
	return &redactedStream{from: from, in: make([]byte, redactBuffer), scanner: scanner{rule: d, out: out}}
}

// redactedStream needs one buffer for input and one for output, however long the answer is.
type redactedStream struct {
	scanner
	from  io.Reader
	in    []byte
	ready []byte // the part of scanner.out that hasn't been read
	some  bool   // from wasn't empty
	err   error  // for when ready has been read
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
