package lane

// A refused request may come from a script on a page of another origin. The script can read the answer only if the answer permits that
// origin.

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"
)

// originLine is the longest header line, in bytes, that originBehind reads as a whole.
const originLine = 4 << 10

// permission returns the header lines that let the request's page read the answer. in is what has come of the request.
func (c *Conn) permission(f *fault, in []byte) string {
	switch h := &c.head; {
	case c.options.Permission == nil:
		return ""
	case f.status == http.StatusRequestHeaderFieldsTooLarge:
		return c.options.Permission(c.originBehind(in))
	case h.origins == 1:
		return c.options.Permission(string(trim(h.origin.of(in))))
	}
	return c.options.Permission("")
}

// originBehind reads a head that is too long, to its end, and returns its Origin. That line often comes after the ones that are too long.
// It returns "" if there is no Origin, more than one, or a malformed line. It keeps no bytes, and has the limits of linger for time
// and bytes.
func (c *Conn) originBehind(in []byte) string {
	h := &c.head
	_ = c.Conn.SetReadDeadline(time.Now().Add(lingerTime)) // if that fails, so does reading
	rest := bufio.NewReaderSize(io.LimitReader(io.MultiReader(bytes.NewReader(in[h.last:]), c.Conn), lingerBytes), originLine)
	origins, origin := h.origins, string(trim(h.origin.of(in)))
	for field := h.target.to > 0; ; field = true {
		line, err := rest.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		if field && (err == nil || long) {
			name, value, ok := readField(line)
			isOrigin := bytes.EqualFold(name, []byte("origin"))
			switch {
			case len(line) == len("\r\n") && line[0] == '\r':
				err = io.EOF
			case isOrigin && long, !ok && !long:
				return "" // after a malformed line, nothing that follows can be trusted
			case isOrigin:
				origins, origin = origins+1, string(value)
			}
		}
		for errors.Is(err, bufio.ErrBufferFull) { // the rest of a long line
			_, err = rest.ReadSlice('\n')
		}
		if err != nil {
			break
		}
	}
	if origins != 1 {
		return ""
	}
	return origin
}

// readField splits a header line into name and value. ok is false if the line is malformed.
func readField(line []byte) (name, value []byte, ok bool) {
	line, ended := bytes.CutSuffix(line, []byte("\r\n"))
	name, value, found := bytes.Cut(line, []byte(":"))
	return name, trim(value), ended && found && isToken(name) && isText(value)
}
