package lane

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxWhole  = 8 << 10  // bytes; a longer body isn't copied into the buffer of the head
	copyPiece = 64 << 10 // bytes read at a time by Stream
)

// Writer writes the answer to one plain request, with the same bytes as net/http's server. Call Begin, then Line for each header line, then
// Whole or Stream. It isn't safe for concurrent use.
type Writer struct {
	conn   *Conn
	status int
	out    []byte // bytes that aren't written yet
	length int    // the Content-Length to add; -1: none, or a line has it
	// Whether there was a line Date, Content-Length, and "Connection: close".
	dated, measured, closes bool
	// answered: the whole answer was written. closing: the connection is closed after it.
	answered, closing bool
}

// Begin begins the answer with its status line.
func (w *Writer) Begin(status int) {
	w.status, w.length = status, -1
	out := append(w.out[:0], "HTTP/1.1 "...)
	out = strconv.AppendInt(out, int64(status), 10)
	out = append(out, ' ')
	if text := http.StatusText(status); text != "" {
		out = append(out, text...)
	} else {
		out = strconv.AppendInt(append(out, "status code "...), int64(status), 10)
	}
	w.out = append(out, "\r\n"...)
}

// Line adds a header line. The caller gives names in canonical form, and in alphabetical order, as net/http writes them. The only value
// allowed for Connection is close.
func (w *Writer) Line(name, value string) {
	switch name {
	case "Date":
		w.dated = true
	case "Content-Length":
		if w.measured = true; w.bodiless() {
			return
		}
	case "Content-Type":
		if w.status == http.StatusNotModified {
			return
		}
	case "Connection":
		w.closes = true
	}
	out := append(w.out, name...)
	out = append(out, ": "...)
	out = append(out, value...)
	w.out = append(out, "\r\n"...)
}

// bodiless reports whether the status allows no body. net/http then leaves out the headers about one.
func (w *Writer) bodiless() bool {
	return w.status == http.StatusNoContent || w.status == http.StatusNotModified
}

// Whole ends the answer with its whole body, which must be empty if the status allows none. Otherwise it adds Content-Length if no line has
// it. The error is the connection's: the client has left or is too slow. The caller can't do anything about it.
func (w *Writer) Whole(body []byte) error {
	if !w.measured && !w.bodiless() {
		w.length = len(body)
	}
	w.endHead(false)
	if len(body) <= maxWhole {
		w.out = append(w.out, body...)
		body = nil
	}
	return w.done(w.write(body))
}

// Stream ends the answer with a body that is first and then all of rest. Without a line Content-Length the body is chunked. n is the number
// of the body's bytes written. The error is the connection's, as in Whole, or that of rest: then the answer is incomplete.
func (w *Writer) Stream(first []byte, rest io.Reader) (n int64, err error) {
	chunked := !w.measured
	w.endHead(chunked)
	buffer := copyBuffers.Get().(*[copyPiece]byte)
	defer copyBuffers.Put(buffer)
	piece, ended := first, error(nil)
	for {
		if err := w.piece(piece, chunked); err != nil {
			return n, err
		}
		n += int64(len(piece))
		m := 0
		if ended == nil { // a Read may return bytes and an error
			w.conn.enter(answering)
			m, ended = rest.Read(buffer[:])
		}
		piece = buffer[:m]
		switch {
		case m > 0 || ended == nil:
		case errors.Is(ended, io.EOF):
			if chunked {
				w.out = append(w.out, "0\r\n\r\n"...)
			}
			return n, w.done(w.write(nil))
		default:
			return n, ended
		}
	}
}

// piece writes out and then a part of a body, as a chunk if chunked. The chunk's last CR LF stays in out.
func (w *Writer) piece(p []byte, chunked bool) error {
	if !chunked || len(p) == 0 {
		return w.write(p)
	}
	w.out = strconv.AppendInt(w.out, int64(len(p)), 16)
	w.out = append(w.out, "\r\n"...)
	err := w.write(p)
	w.out = append(w.out, "\r\n"...)
	return err
}

// endHead ends the header as net/http does.
func (w *Writer) endHead(chunked bool) {
	if !w.dated {
		w.out = append(append(append(w.out, "Date: "...), date()...), "\r\n"...)
	}
	if w.length >= 0 {
		w.out = append(strconv.AppendInt(append(w.out, "Content-Length: "...), int64(w.length), 10), "\r\n"...)
	}
	if w.closing && !w.closes {
		w.out = append(w.out, "Connection: close\r\n"...)
	}
	w.closing = w.closing || w.closes
	if chunked {
		w.out = append(w.out, "Transfer-Encoding: chunked\r\n"...)
	}
	w.out = append(w.out, "\r\n"...)
}

// write writes out and then body.
func (w *Writer) write(body []byte) (err error) {
	if len(w.out)+len(body) == 0 {
		return nil
	}
	w.conn.enter(writing)
	if len(body) == 0 {
		_, err = w.conn.Conn.Write(w.out)
	} else {
		both := net.Buffers{w.out, body}
		_, err = both.WriteTo(w.conn.Conn)
	}
	w.out = w.out[:0]
	return err
}

// done notes that the whole answer was written, if err is nil. It returns err.
func (w *Writer) done(err error) error {
	w.answered = err == nil
	return err
}

var copyBuffers = sync.Pool{New: func() any { return new([copyPiece]byte) }}

// second is the value of Date for one second. at is that second, in Unix time.
type second struct {
	at   int64
	text string
}

var lastSecond atomic.Pointer[second]

// date returns the present time as a value of Date.
func date() string {
	now := time.Now()
	s := lastSecond.Load()
	if s == nil || s.at != now.Unix() {
		s = &second{now.Unix(), now.UTC().Format(http.TimeFormat)}
		lastSecond.Store(s)
	}
	return s.text
}
