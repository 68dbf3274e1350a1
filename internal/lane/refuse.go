package lane

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"time"
)

const (
	writeTime = 5 * time.Second // for the whole answer
	// lingerTime and lingerBytes bound how much is read from a refused client after the answer. If a connection is closed with
	// unread bytes, the client gets a reset, which can overtake the answer.
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 256 << 10
)

// message is the answer's error message.
func (f *fault) message() string {
	switch f.status {
	case http.StatusRequestHeaderFieldsTooLarge:
		return "Request header too large"
	case http.StatusHTTPVersionNotSupported:
		return "HTTP version not supported"
	}
	return "Malformed request"
}

// refuse answers, calls Options.Refused, and drops what the client still sends. in is what has come of the request. It returns the error
// that Read returns from now on: with it, the server closes the connection without an answer of its own.
func (c *Conn) refuse(f *fault, in []byte) error {
	c.broken = io.EOF
	c.keep(nil)
	r := Refusal{
		Status: f.status, Err: f.err, RequestID: rand.Text(), RemoteAddr: c.RemoteAddr().String(), Method: string(c.head.method.of(in)),
	}
	if path, _, _ := bytes.Cut(c.head.target.of(in), []byte("?")); bytes.HasPrefix(path, []byte("/")) {
		r.Path = string(path)
	}
	body := fmt.Sprintf(`{"code":"%d","message":"%s"}`, f.status, f.message())
	answer := fmt.Sprintf("HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %d\r\n"+
		"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nX-Request-Id: %s\r\n%sConnection: close\r\n\r\n",
		f.status, http.StatusText(f.status), time.Now().UTC().Format(http.TimeFormat), len(body), r.RequestID, c.permission(f, in))
	if r.Method != http.MethodHead {
		answer += body
		r.Bytes = int64(len(body))
	}
	_ = c.Conn.SetDeadline(time.Now().Add(writeTime)) // if that fails, so does what follows
	_, err := io.WriteString(c.Conn, answer)
	if c.options.Refused != nil {
		c.options.Refused(r)
	}
	if err == nil {
		c.linger()
	}
	return c.broken
}

// linger reads and drops what the client still sends, for a short time.
func (c *Conn) linger() {
	_ = c.CloseWrite()
	_ = c.Conn.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes) // any end will do
}
