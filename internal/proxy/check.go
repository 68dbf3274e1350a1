package proxy

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// maxHeaderLines is Envoy's default. Many tiny lines take more memory than their bytes suggest.
const maxHeaderLines = 100

// bounds limit the size and number of requests.
type bounds struct {
	body     int64 // bytes
	header   int   // bytes
	inFlight int64 // requests
}

// own is how many of the gateway's own answers over HTTP/2 may wait for their clients to take them. Usually none waits. But a browser
// asks for all parts of a page at once.
func (b bounds) own() int64 { return max(b.inFlight/8, min(b.inFlight, 8)) }

// check refuses a request that is too large, or that is one too many in flight. It limits the body, which is yet to be read.
func (p *Proxy) check(w *writer, r *http.Request) error {
	if p.inFlight.Load() > p.bounds.inFlight {
		return errOverloaded
	}
	if lines, bytes := headerSize(r); lines > maxHeaderLines || bytes > p.bounds.header {
		return errHeaderSize
	}
	if len(r.Header["Origin"]) > 1 { // HTTP/2 only: the lane refuses it in HTTP/1
		return errOrigins
	}
	if err := checkTwice(r); err != nil {
		return err
	}
	if r.ContentLength > p.bounds.body {
		return errBodySize
	}
	if r.Body != nil && r.Body != http.NoBody {
		// MaxBytesReader needs the server's own writer, to close the connection.
		r.Body = &clientBody{http.MaxBytesReader(w.ResponseWriter, r.Body, p.bounds.body)}
	}
	return nil
}

// checkTwice refuses an HTTP/2 request that gives two different hosts (RFC 9113 §8.3.1) or body lengths (§8.1.1). net/http uses one of
// the two, and an upstream could use the other. If the hosts agree, checkTwice removes the second one. In HTTP/1, the lane refuses such
// a request.
func checkTwice(r *http.Request) error {
	if r.ProtoMajor != 2 {
		return nil
	}
	if hosts, ok := r.Header["Host"]; ok {
		if len(hosts) > 1 || !strings.EqualFold(hosts[0], r.Host) {
			return fmt.Errorf("%w: it differs from :authority", errHost)
		}
		delete(r.Header, "Host") // an upstream gets its own host
	}
	if lengths, ok := r.Header["Content-Length"]; ok {
		// Without a body r.ContentLength is 0, whatever the header says.
		if n, err := strconv.ParseUint(lengths[0], 10, 63); len(lengths) > 1 || err != nil || int64(n) != r.ContentLength {
			return fmt.Errorf("%w: wrong Content-Length", errBody)
		}
	}
	return nil
}

// headerSize returns about how many lines and bytes the header had on the wire, including Host.
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

// clientBody turns the errors of Read into those of the table: errBodySize, or one that wraps errBody.
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
