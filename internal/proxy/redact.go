package proxy

// This file takes fields out of JSON room answers for members who aren't owners: ROOM_REDACT_FIELDS. Everything else,
// numbers among it, keeps its text.

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// errUnreadable is an answer from which nothing can be taken out, so that none of it may pass.
var errUnreadable = errors.New("room answer can't be read for redaction")

// redact replaces the answer's body by one without the named fields. What can be judged before the first byte is an
// error; a body that turns out broken further on breaks off.
func redact(r *http.Response, fields []string) error {
	if r.Request.Method == http.MethodHead || r.StatusCode == http.StatusNotModified || r.StatusCode == http.StatusNoContent {
		r.Header.Del("Content-Length") // of an answer that nobody gets
		return nil
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return fmt.Errorf("%w: compressed", errUnreadable)
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" && !strings.HasSuffix(kind, "+json") {
		return fmt.Errorf("%w: not JSON", errUnreadable)
	}
	filter := newRedactor(r.Body, fields)
	if r.ContentLength >= 0 && r.ContentLength <= smallAnswer {
		whole, err := io.ReadAll(filter)
		if err != nil {
			return err
		}
		r.Body = readCloser{bytes.NewReader(whole), r.Body}
		r.ContentLength = int64(len(whole))
		r.Header.Set("Content-Length", fmt.Sprint(len(whole)))
		return nil
	}
	if kind := filter.in.PeekKind(); kind != '{' && kind != '[' {
		return fmt.Errorf("%w: not JSON", errUnreadable)
	}
	r.Body, r.ContentLength = readCloser{filter, r.Body}, -1
	r.Header.Del("Content-Length")
	return nil
}

// redactor copies a JSON text value by value. It holds one scalar at a time, however long the answer is.
type redactor struct {
	fields []string
	in     *jsontext.Decoder
	out    *jsontext.Encoder
	ready  bytes.Buffer // what has been copied and not been read yet
	values int          // at the top; one is an answer
	err    error
}

func newRedactor(from io.Reader, fields []string) *redactor {
	// Lenient where leniency shows nothing more: the upstream's doubled names and odd strings are its own.
	lenient := []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true), jsontext.PreserveRawStrings(true)}
	r := &redactor{fields: fields, in: jsontext.NewDecoder(from, lenient...)}
	r.out = jsontext.NewEncoder(&r.ready, lenient...)
	return r
}

// Read implements io.Reader. The error of a text that is no JSON wraps errUnreadable.
func (r *redactor) Read(p []byte) (int, error) {
	for r.ready.Len() == 0 && r.err == nil {
		r.err = r.step()
	}
	if r.ready.Len() > 0 {
		return r.ready.Read(p)
	}
	return 0, r.err
}

// step copies the next scalar, bracket or name, or skips a field.
func (r *redactor) step() error {
	kind := r.in.PeekKind()
	if r.in.StackDepth() == 0 && kind != 0 {
		if r.values++; r.values > 1 {
			return fmt.Errorf("%w: more than one value", errUnreadable)
		}
	}
	if parent, index := r.in.StackIndex(r.in.StackDepth()); parent == '{' && index%2 == 0 && kind == '"' {
		return r.field()
	}
	switch kind {
	case '{', '}', '[', ']':
		token, err := r.in.ReadToken()
		if err != nil {
			return unreadable(err)
		}
		return unreadable(r.out.WriteToken(token))
	}
	value, err := r.in.ReadValue()
	if err != nil {
		if errors.Is(err, io.EOF) && r.values == 1 && r.in.StackDepth() == 0 {
			return io.EOF
		}
		return unreadable(err)
	}
	return unreadable(r.out.WriteValue(value))
}

// field copies a name, or drops it with its value.
func (r *redactor) field() error {
	name, err := r.in.ReadToken()
	if err != nil {
		return unreadable(err)
	}
	if slices.Contains(r.fields, name.String()) {
		return unreadable(r.in.SkipValue())
	}
	return unreadable(r.out.WriteToken(name))
}

// unreadable names the failure without its text, which may quote the answer. A failure of the upstream stays one.
func unreadable(err error) error {
	if err == nil {
		return nil
	}
	if _, syntax := errors.AsType[*jsontext.SyntacticError](err); syntax || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: broken JSON", errUnreadable)
	}
	return err
}
