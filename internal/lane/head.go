package lane

import "bytes"

const (
	maxLines = 100 // header lines; many tiny ones cost far more memory than they have bytes
	maxBlank = 8   // empty lines before a request
)

var (
	errLineEnd     = bad("a line that doesn't end with CR LF")
	errRequestLine = bad("malformed request line")
	errField       = bad("malformed header line")
	errControl     = bad("control character in a header")
	errHosts       = bad("no host, or more than one")
	errHost        = bad("malformed host")
	errOtherHost   = bad("target and Host name different hosts")
	errLength      = bad("malformed or repeated Content-Length")
	errCoding      = bad("Transfer-Encoding that is not chunked, is repeated, or comes with HTTP/1.0 or Content-Length")
	errLikeFraming = bad("Content-Length or Transfer-Encoding spelled with an underscore")
	errTrailerList = bad("Trailer that names a framing header")
	errOrigins     = bad("more than one Origin")
	errVersion     = &fault{505, bad("unsupported version of HTTP").err}
	errHeadSize    = &fault{431, bad("head too long").err}
	errLines       = &fault{431, bad("too many header lines").err}
)

// span is a part of the bytes read, by its offsets: the bytes may move to another buffer.
type span struct{ from, to int }

func (s span) of(in []byte) []byte { return in[s.from:s.to] }

// head is the state of reading one head.
type head struct {
	limit int // in bytes
	// plain takes the offsets of the header lines, for a plain request. Nil: nobody answers plain requests, or reason says why this
	// isn't one.
	plain  *[maxPlainLines]line
	reason string

	line, seen int // where the first unread line begins, and up to where it has no line end
	last       int // where the line begins that was scanned last
	blank      int // empty lines before the request
	start      int // where the request begins
	lines      int // header lines read

	method, target span // the zero span: the request line hasn't been read yet
	authority      span // the host in the target; the zero span: there is none
	origin         span // the value of the last Origin
	old            bool // HTTP/1.0

	hosts, origins, lengths, codings int   // how many lines of each: Host, Origin, Content-Length, Transfer-Encoding
	length                           int64 // Content-Length
	framingTrailer                   bool  // a Trailer line names a framing header
}

// scan reads the new part of in, which begins with the bytes of the last call. It returns where the head ends, or 0 if the end hasn't
// come yet.
func (h *head) scan(in []byte) (end int, wrong *fault) {
	for {
		i := bytes.IndexByte(in[h.seen:], '\n')
		if i < 0 {
			return 0, h.unfinished(in)
		}
		begin, stop := h.line, h.seen+i
		h.last, h.line, h.seen = begin, stop+1, stop+1
		if stop == begin || in[stop-1] != '\r' {
			return 0, errLineEnd
		}
		line := span{begin, stop - 1}
		switch empty := line.from == line.to; {
		case h.line-h.start > h.limit:
			return 0, errHeadSize
		case h.target.to > 0 && empty:
			return h.line, h.finish()
		case h.target.to > 0:
			wrong = h.field(in, line)
		case empty:
			if h.blank++; h.blank > maxBlank {
				return 0, errRequestLine
			}
			h.start = h.line
		default:
			wrong = h.requestLine(in, line)
		}
		if wrong != nil {
			return 0, wrong
		}
	}
}

// unfinished checks the beginning of a line. It refuses at once what no end of the line could put right.
func (h *head) unfinished(in []byte) *fault {
	fresh := in[max(h.line, h.seen-1):]
	h.last, h.seen = h.line, len(in)
	if i := bytes.IndexByte(fresh, '\r'); i >= 0 && i < len(fresh)-1 {
		return errLineEnd
	}
	if len(in)-h.start > h.limit {
		if bytes.IndexByte(in[h.start:], ' ') < 0 {
			return errRequestLine // no method is so long
		}
		return errHeadSize
	}
	if rest := in[h.line:]; h.target.to == 0 && len(rest) > 0 && rest[0] != '\r' && classes[rest[0]]&token == 0 {
		return errRequestLine
	}
	return nil
}

// requestLine reads the first line.
func (h *head) requestLine(in []byte, line span) *fault {
	bytesOf := line.of(in)
	first, last := bytes.IndexByte(bytesOf, ' '), bytes.LastIndexByte(bytesOf, ' ')
	if first < 0 || last <= first+1 {
		return errRequestLine
	}
	method, target, version := bytesOf[:first], bytesOf[first+1:last], bytesOf[last+1:]
	if !isToken(method) || len(version) != len("HTTP/1.1") || string(version[:5]) != "HTTP/" || version[6] != '.' ||
		!isDigits(version[5:6]) || !isDigits(version[7:]) {
		return errRequestLine
	}
	h.method, h.target = span{line.from, line.from + first}, span{line.from + first + 1, line.from + last}
	h.old = version[7] == '0'
	switch {
	case version[5] > '1':
		return errVersion
	case version[5] < '1':
		return errRequestLine
	}
	authority, wrong := readTarget(method, target)
	if len(authority) > 0 {
		from := h.target.from + bytes.Index(target, []byte("//")) + len("//")
		h.authority = span{from, from + len(authority)}
	}
	return wrong
}

// field reads a header line.
func (h *head) field(in []byte, at span) *fault {
	if h.lines++; h.lines > maxLines {
		return errLines
	}
	line := at.of(in)
	colon := bytes.IndexByte(line, ':')
	if colon < 0 || !isToken(line[:colon]) {
		return errField
	}
	name, value := line[:colon], line[colon+1:]
	if h.plain != nil && isPlainText(value) {
		h.note(at, colon)
	} else if !isText(value) {
		return errControl
	} else if h.plain != nil {
		h.plain, h.reason = nil, notPlainField
	}
	switch len(name) { // the names that matter have only five lengths
	case 4, 6:
		return h.routing(in, name, span{at.from + colon + 1, at.to})
	case 7, 14, 17:
		return h.framing(name, value)
	}
	return nil
}

// routing reads Host and Origin. Names are tokens and so ASCII. Among those, EqualFold ignores only case.
func (h *head) routing(in, name []byte, value span) *fault {
	switch {
	case bytes.EqualFold(name, []byte("host")):
		return h.host(in, value.of(in))
	case bytes.EqualFold(name, []byte("origin")):
		h.origin = value
		if h.origins++; h.origins > 1 {
			return errOrigins
		}
	}
	return nil
}

// framing reads the headers that say where the body ends.
func (h *head) framing(name, value []byte) *fault {
	switch {
	case bytes.EqualFold(name, []byte("trailer")):
		h.framingTrailer = h.framingTrailer || namesFraming(value)
	case bytes.EqualFold(name, []byte("content-length")):
		h.lengths++
		var ok bool
		if h.length, ok = readLength(exact(value)); !ok || h.lengths > 1 {
			return errLength
		}
	case bytes.EqualFold(name, []byte("transfer-encoding")):
		h.codings++
		// EqualFold also accepts some letters outside ASCII. They have more bytes, so the length keeps them out.
		if value = exact(value); len(value) != len("chunked") || !bytes.EqualFold(value, []byte("chunked")) || h.codings > 1 {
			return errCoding
		}
	case bytes.EqualFold(name, []byte("content_length")), bytes.EqualFold(name, []byte("transfer_encoding")):
		return errLikeFraming
	}
	return nil
}

// host reads the value of Host.
func (h *head) host(in, value []byte) *fault {
	value = trim(value)
	switch h.hosts++; {
	case h.hosts > 1:
		return errHosts
	case !ValidHost(value):
		return errHost
	case h.authority.to > 0 && !bytes.EqualFold(value, h.authority.of(in)):
		return errOtherHost
	}
	return nil
}

// finish checks what only the whole head shows.
func (h *head) finish() *fault {
	switch {
	case h.hosts == 0 && !h.old:
		return errHosts
	case h.codings > 0 && (h.old || h.lengths > 0):
		return errCoding
	case h.codings > 0 && h.framingTrailer:
		return errTrailerList
	}
	return nil
}

// body returns the state of reading the body that the head announces.
func (h *head) body() body {
	switch {
	case h.codings > 0:
		return body{state: size}
	case h.length > 0:
		return body{state: length, left: h.length}
	}
	return body{}
}

// readLength reads a Content-Length. Leading zeros are refused: some readers take such a number for an octal one.
func readLength(v []byte) (n int64, ok bool) {
	if !isDigits(v) || len(v) > 18 || v[0] == '0' && len(v) > 1 {
		return 0, false
	}
	for _, c := range v {
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// namesFraming reports whether a list of header names has one that net/http doesn't allow in a trailer.
func namesFraming(list []byte) bool {
	for name := range bytes.SplitSeq(list, []byte(",")) {
		switch name = trim(name); {
		case bytes.EqualFold(name, []byte("transfer-encoding")), bytes.EqualFold(name, []byte("trailer")), bytes.EqualFold(name, []byte("content-length")):
			return true
		}
	}
	return false
}

// isDigits reports whether v is one or more decimal digits.
func isDigits(v []byte) bool {
	for _, c := range v {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(v) > 0
}

// exact removes the one space that clients write before a value. It leaves other white space in place, because some readers of
// framing headers don't ignore it.
func exact(v []byte) []byte { return bytes.TrimPrefix(v, []byte(" ")) }

func trim(v []byte) []byte { return bytes.Trim(v, " \t") }
