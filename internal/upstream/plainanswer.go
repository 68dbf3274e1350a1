package upstream

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
)

// plainHead is the head of a plain answer, without the last line end. All values point into text.
type plainHead struct {
	text   string
	status int
	fields []Field
	length int64
}

// readPlain fills a with the answer to a GET if its head is plain: it is completely in the buffer, and there is only one way to
// read it. Otherwise readPlain reports false, has read nothing, and leaves the answer to net/http's reader. It avoids most of
// that reader's allocations. last is the connection's last plain head: many answers of one second have the same.
func readPlain(in *bufio.Reader, last *plainHead, a *directAnswer) bool {
	seen, _ := in.Peek(in.Buffered()) // can't fail: it is buffered
	end := bytes.Index(seen, []byte("\r\n\r\n"))
	if end < 0 {
		return false
	}
	if head := seen[:end+len("\r\n")]; string(head) != last.text && !last.read(string(head)) {
		return false
	}
	_, _ = in.Discard(end + len("\r\n\r\n")) // it is buffered
	a.Status, a.Fields, a.Length, a.Body = last.status, append(a.few[:0], last.fields...), last.length, http.NoBody
	if a.Length > 0 {
		a.exact = exactBody{in, a.Length}
		a.Body = &a.exact
	}
	return true
}

// read parses text. It reports false if that isn't plain; h is then empty.
func (h *plainHead) read(text string) bool {
	line, lines, _ := strings.Cut(text, "\r\n")
	fields := h.fields[:0]
	*h = plainHead{}
	status := plainStatus(line)
	if status == 0 {
		return false
	}
	fields, length, ok := readPlainFields(fields, lines)
	if ok {
		*h = plainHead{text, status, fields, length}
	}
	return ok
}

// plainStatus returns the status, or 0 if the line isn't plain or the status allows no body.
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

// readPlainFields appends the fields of lines, each of which ends with CRLF, to none, which is empty. ok is false if a line isn't
// plain, if it says anything about the connection or the body but one length, or if there is no length.
func readPlainFields(none []Field, lines string) (fields []Field, length int64, ok bool) {
	fields, length = none, -1
	for lines != "" {
		end := strings.IndexByte(lines, '\r') // a plain line has none inside
		line := lines[:end]
		if lines = lines[end:]; lines[1] != '\n' {
			return nil, 0, false
		}
		lines = lines[2:]
		colon := strings.IndexByte(line, ':')
		if colon < 0 || !isPlainName(line[:colon]) || !isPlainValue(line[colon+1:]) {
			return nil, 0, false
		}
		f := Field{canonical(line[:colon]), textproto.TrimString(line[colon+1:])}
		switch f.Name {
		case "Content-Length":
			n, err := strconv.ParseUint(f.Value, 10, 63)
			if err != nil || length >= 0 {
				return nil, 0, false
			}
			length = int64(n)
		case "Connection":
			if !strings.EqualFold(f.Value, "keep-alive") {
				return nil, 0, false
			}
		case "Transfer-Encoding", "Trailer", "Upgrade", "Pragma":
			return nil, 0, false
		}
		fields = append(fields, f)
	}
	return fields, length, length >= 0
}

// isPlainName reports whether name consists of letters, digits and hyphens, and isn't empty.
func isPlainName(name string) bool {
	for i := range len(name) {
		if c := name[i]; !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return name != ""
}

// isPlainValue reports whether value consists of visible ASCII, spaces and tabs.
func isPlainValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; (c < ' ' || c > '~') && c != '\t' {
			return false
		}
	}
	return true
}

// canonical returns name as a key of http.Header. It doesn't allocate if name has that form already.
func canonical(name string) string {
	first := true // at the start of a word
	for i := range len(name) {
		if c := name[i]; first && 'a' <= c && c <= 'z' || !first && 'A' <= c && c <= 'Z' {
			return textproto.CanonicalMIMEHeaderKey(name)
		}
		first = name[i] == '-'
	}
	return name
}

// exactBody is a body of known length. It returns io.EOF only at that length.
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
