package upstream

// This file reads the head of an answer in its plain form: one that lies whole in the buffer and that there is one way to
// read. Everything else is left to net/http's reader. It saves most of that one's allocations.

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// readPlain returns the answer to r, or nil where it isn't sure; then it has read nothing.
func readPlain(in *bufio.Reader, r *http.Request) *http.Response {
	seen, _ := in.Peek(in.Buffered()) // what is buffered can be peeked at
	end := bytes.Index(seen, []byte("\r\n\r\n"))
	if end < 0 || r.Method == http.MethodHead {
		return nil
	}
	head := string(seen[:end+len("\r\n")]) // all values are parts of it
	line, lines, _ := strings.Cut(head, "\r\n")
	status := plainStatus(line)
	if status == 0 {
		return nil
	}
	answer := &http.Response{
		Status: line[len("HTTP/1.1 "):], StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, ContentLength: -1,
	}
	if !readPlainHeader(answer, lines) || answer.ContentLength < 0 {
		return nil
	}
	_, _ = in.Discard(end + len("\r\n\r\n")) // it is buffered
	answer.Body = http.NoBody
	if answer.ContentLength > 0 {
		answer.Body = &exactBody{in, answer.ContentLength}
	}
	return answer
}

// plainStatus is the status of an answer with a body, or 0 where the line isn't plain.
func plainStatus(line string) int {
	code, ok := strings.CutPrefix(line, "HTTP/1.1 ")
	if !ok || len(code) < len("200 ") || code[3] != ' ' || !isPlainValue(code) {
		return 0
	}
	switch status, err := strconv.ParseUint(code[:3], 10, 16); {
	case err != nil, status < 200, status > 599, status == http.StatusNoContent, status == http.StatusNotModified:
		return 0
	default:
		return int(status)
	}
}

// readPlainHeader reads lines that each end with CRLF. false: one of them is not plain, or says something about the connection
// or the body beside a length.
func readPlainHeader(answer *http.Response, lines string) bool {
	n := strings.Count(lines, "\r\n")
	values := make([]string, 0, n)
	answer.Header = make(http.Header, n)
	for lines != "" {
		var line string
		line, lines, _ = strings.Cut(lines, "\r\n")
		name, value, ok := strings.Cut(line, ":")
		if !ok || !isToken(name) || !isPlainValue(value) {
			return false
		}
		name, value = canonical(name), strings.Trim(value, " \t")
		switch name {
		case "Content-Length":
			length, err := strconv.ParseUint(value, 10, 63)
			if err != nil || answer.ContentLength >= 0 {
				return false
			}
			answer.ContentLength = int64(length)
		case "Connection":
			if !strings.EqualFold(value, "keep-alive") {
				return false
			}
		case "Transfer-Encoding", "Trailer", "Upgrade", "Pragma":
			return false
		}
		if earlier := answer.Header[name]; earlier != nil {
			answer.Header[name] = append(earlier, value)
			continue
		}
		values = append(values, value)
		answer.Header[name] = values[len(values)-1 : len(values) : len(values)]
	}
	return true
}

// isToken reports whether a name has letters, digits and hyphens alone.
func isToken(name string) bool {
	for i := range len(name) {
		if c := name[i]; !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return name != ""
}

// isPlainValue reports whether a value has visible ASCII, space and tab alone.
func isPlainValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; (c < ' ' || c > '~') && c != '\t' {
			return false
		}
	}
	return true
}

// canonical returns a name in the form of http.Header's keys, without an allocation where it has it.
func canonical(name string) string {
	first := true // of a word
	for i := range len(name) {
		if c := name[i]; first && 'a' <= c && c <= 'z' || !first && 'A' <= c && c <= 'Z' {
			return textproto.CanonicalMIMEHeaderKey(name)
		}
		first = name[i] == '-'
	}
	return name
}

// exactBody is a body of known length. It ends with io.EOF at that length alone.
type exactBody struct {
	in   *bufio.Reader
	left int64
}

// Read implements io.Reader.
func (b *exactBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	n, err := b.in.Read(p[:min(int64(len(p)), b.left)])
	if b.left -= int64(n); b.left == 0 {
		return n, io.EOF
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close implements io.Closer.
func (*exactBody) Close() error { return nil }
