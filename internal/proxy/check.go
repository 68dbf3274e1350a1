package proxy

// This file holds a request to its bounds before it is looked at.

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// maxHeaderLines is Envoy's default: many tiny lines cost more memory than their bytes tell.
const maxHeaderLines = 100

// bounds are what clients may send and how many may at once.
type bounds struct {
	body     int64 // bytes
	header   int   // bytes
	inFlight int64
}

// own is how many answers of the gateway itself may wait for their clients to take them, in sum over HTTP/2: usually none does. A
// browser asks for the few parts of a page at once.
func (b bounds) own() int64 { return max(b.inFlight/8, min(b.inFlight, 8)) }

// check refuses what is too large or too much at once, and bounds the body.
func (p *Proxy) check(w *writer, r *http.Request) error {
	if p.inFlight.Load() > p.bounds.inFlight {
		return errOverloaded
	}
	if lines, bytes := headerSize(r); lines > maxHeaderLines || bytes > p.bounds.header {
		return errHeaderSize
	}
	if len(r.Header["Origin"]) > 1 { // in HTTP/1 the lane sees to that
		return errOrigins
	}
	if err := checkTwice(r); err != nil {
		return err
	}
	if r.ContentLength > p.bounds.body {
		return errBodySize
	}
	if r.Body != nil && r.Body != http.NoBody {
		// The limiter is given the server's own writer: it tells that one to close the connection.
		r.Body = &clientBody{http.MaxBytesReader(w.ResponseWriter, r.Body, p.bounds.body)}
	}
	return nil
}

// checkTwice refuses an HTTP/2 request that says something twice and differently: its host (RFC 9113 §8.3.1), or the length of
// its body (§8.1.1). net/http goes by one of the two, and another server could go by the other. Where they agree, r keeps one
// host. With HTTP/1 such a request doesn't come this far.
func checkTwice(r *http.Request) error {
	if r.ProtoMajor != 2 {
		return nil
	}
	if hosts, ok := r.Header["Host"]; ok {
		if len(hosts) > 1 || !strings.EqualFold(hosts[0], r.Host) {
			return fmt.Errorf("%w: other than :authority", errHost)
		}
		delete(r.Header, "Host") // that of a request to an upstream is another's
	}
	if lengths, ok := r.Header["Content-Length"]; ok {
		// Without a body r.ContentLength is 0, whatever the header says.
		if n, err := strconv.ParseUint(lengths[0], 10, 63); len(lengths) > 1 || err != nil || int64(n) != r.ContentLength {
			return fmt.Errorf("%w: it is not as long as it is said to be", errBody)
		}
	}
	return nil
}

// headerSize counts lines and bytes as they were on the wire, about; Host is one of them.
func headerSize(r *http.Request) (lines, bytes int) {
	lines, bytes = 1, len("Host: \r\n")+len(r.Host)
	for name, values := range r.Header {
		for _, value := range values {
			lines++
			bytes += len(name) + len(": \r\n") + len(value)
		}
	}
	return lines, bytes
}

// clientBody fails with errors of the table: errBodySize, or one that wraps errBody.
type clientBody struct{ io.ReadCloser }

// Read implements io.Reader.
func (b *clientBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return n, errBodySize
	}
	return n, fmt.Errorf("%w: %w", errBody, err)
}
