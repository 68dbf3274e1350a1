package lane

// This file writes answers as net/http's server would, byte for byte: head and body in one write where both are there.

import (
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxWhole  = 8 << 10  // a longer body isn't copied beside its head, in bytes
	copyPiece = 64 << 10 // of a body that comes in pieces, in bytes
)

// Writer writes the answer to one plain request: Begin, Line for each line of the header, then Whole or Stream.
type Writer struct {
	conn   *Conn
	status int
	out    []byte // what is yet to be written
	length int    // to be said; -1: it isn't, or a line says it
	// What the lines have said.
	dated, measured, closes bool
	// answered is whether the whole answer was written; closing, whether the connection ends with it.
	answered, closing bool
}

// Begin begins the answer.
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

// Line adds a line to the header. Names are in canonical form, and come in their order: net/http sorts them.
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
	case "Connection": // close
		w.closes = true
	}
	out := append(w.out, name...)
	out = append(out, ": "...)
	out = append(out, value...)
	w.out = append(out, "\r\n"...)
}

// bodiless reports whether the status allows no body. net/http leaves out what tells of one then.
func (w *Writer) bodiless() bool {
	return w.status == http.StatusNoContent || w.status == http.StatusNotModified
}

// Whole ends an answer with its body, which is empty where the status allows none. Content-Length is added where no line says it.
// The error is the connection's: the client has gone, or is too slow. Nothing can be done about it.
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

// Stream ends an answer whose body is first and then all of rest. Without a Content-Length it is chunked. n counts the body's
// bytes. The error is Whole's, or rest's: then the answer breaks off.
func (w *Writer) Stream(first []byte, rest io.Reader) (n int64, err error) {
	chunked := !w.measured
	w.endHead(chunked)
	buffer := copyBuffers.Get().(*[copyPiece]byte)
	defer copyBuffers.Put(buffer)
	piece := first
	for {
		if err := w.piece(piece, chunked); err != nil {
			return n, err
		}
		n += int64(len(piece))
		w.conn.enter(answering)
		m, err := rest.Read(buffer[:])
		piece = buffer[:m]
		switch {
		case m > 0: // an error comes again
		case err == io.EOF:
			if chunked {
				w.out = append(w.out, "0\r\n\r\n"...)
			}
			return n, w.done(w.write(nil))
		case err != nil:
			return n, err
		}
	}
}

// piece writes a part of a body, with what waits in out.
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

// done notes that an answer is whole, if it is.
func (w *Writer) done(err error) error {
	w.answered = err == nil
	return err
}

var copyBuffers = sync.Pool{New: func() any { return new([copyPiece]byte) }}

// second is a Date and when it was made, in Unix seconds.
type second struct {
	at   int64
	text string
}

var lastSecond atomic.Pointer[second]

// date is the time of now for a Date header.
func date() string {
	now := time.Now()
	s := lastSecond.Load()
	if s == nil || s.at != now.Unix() {
		s = &second{now.Unix(), now.UTC().Format(http.TimeFormat)}
		lastSecond.Store(s)
	}
	return s.text
}
