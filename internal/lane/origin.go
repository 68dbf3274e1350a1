package lane

// This file finds the page that a refused request comes from, so that its script can read the answer.

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"time"
)

// originLine is the longest line in which an Origin is looked for, once a head is too long.
const originLine = 4 << 10

// permission returns the header lines for the page that the request comes from. in is what has come of the request.
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

// originBehind reads a head that is too long to its end, for its Origin: what made it too long often comes before that line, and
// the page is to learn what is wrong. It keeps nothing, and reads no further than linger would.
func (c *Conn) originBehind(in []byte) string {
	h := &c.head
	_ = c.Conn.SetReadDeadline(time.Now().Add(lingerTime)) // where that fails, reading does
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
				return "" // from here on the lines may be others than they seem
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

// readField takes a header line apart; ok tells whether it is well-formed.
func readField(line []byte) (name, value []byte, ok bool) {
	line, ended := bytes.CutSuffix(line, []byte("\r\n"))
	name, value, found := bytes.Cut(line, []byte(":"))
	return name, trim(value), ended && found && isToken(name) && isText(value)
}
