package main

// This file bounds what a client may hold by one HTTP/2 connection.

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net/http"
	"time"

	h2 "golang.org/x/net/http2"
)

const (
	// maxStreams is how many requests it may have open: with MAX_CONNECTIONS that bounds what all clients can hold.
	maxStreams = 64
	// blockedTime is how long it may take nothing of what is to be written. Streams have limits of their own, but on a
	// connection that is blocked none of them can be reset.
	blockedTime = 10 * time.Second
	// serverHeads is how many times MAX_HEADER_BYTES the server takes, which the lane and the handler hold heads to. The server would
	// answer a longer one over HTTP/2 by itself, and a page couldn't read that.
	serverHeads = 4
)

// speakHTTP2 has server speak HTTP/2 over TLS on connections that hold heads to its ReadHeaderTimeout. net/http does so for
// HTTP/1 only: in HTTP/2 a head that is never completed has all of IdleTimeout. Its fields are to be set before.
//
// Package http2 is deprecated in favour of net/http, but that, as of Go 1.26, takes no connection with TLS but its own.
//
//nolint:staticcheck // SA1019: see above
func speakHTTP2(server *http.Server) error {
	server.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: maxStreams, WriteByteTimeout: blockedTime}
	var own h2.Server
	if err := h2.ConfigureServer(server, &own); err != nil {
		return fmt.Errorf("HTTP/2: %w", err)
	}
	server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		h2.NextProtoTLS: func(server *http.Server, conn *tls.Conn, h http.Handler) {
			var ctx context.Context // nil: the background
			if base, ok := h.(interface{ BaseContext() context.Context }); ok {
				ctx = base.BaseContext()
			}
			own.ServeConn(&headLimit{Conn: conn, limit: server.ReadHeaderTimeout}, &h2.ServeConnOpts{Context: ctx, Handler: h, BaseConfig: server})
		},
	}
	return nil
}

// headLimit is a connection on which no head, and no frame but of a body, takes longer than limit from its first byte on. It
// follows what is read from frame to frame (RFC 9113 §4.1). One goroutine reads.
type headLimit struct {
	*tls.Conn
	limit time.Duration

	preface int     // what has come of it, in bytes
	header  [9]byte // of the frame
	have    int     // of header, in bytes
	left    int     // of the payload, in bytes
	open    bool    // a head has begun that isn't complete: only CONTINUATION may come
	limited bool    // there is a deadline
}

// Read implements net.Conn. It fails with os.ErrDeadlineExceeded where a head takes too long.
func (c *headLimit) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.follow(p[:n])
	if due := c.due(); due != c.limited {
		c.limited = due
		var deadline time.Time
		if due {
			deadline = time.Now().Add(c.limit)
		}
		if err := c.SetReadDeadline(deadline); err != nil {
			return n, err
		}
	}
	return n, err
}

// follow takes note of what has been read.
func (c *headLimit) follow(p []byte) {
	n := min(len(h2.ClientPreface)-c.preface, len(p))
	c.preface, p = c.preface+n, p[n:]
	for len(p) > 0 {
		if c.have < len(c.header) {
			n := copy(c.header[c.have:], p)
			c.have, p = c.have+n, p[n:]
			if c.have < len(c.header) {
				return
			}
			c.left = int(binary.BigEndian.Uint32(c.header[:4]) >> 8)
		}
		n := min(c.left, len(p))
		c.left, p = c.left-n, p[n:]
		if c.left > 0 {
			return
		}
		c.have = 0
		if kind, flags := h2.FrameType(c.header[3]), h2.Flags(c.header[4]); kind == h2.FrameHeaders || kind == h2.FrameContinuation {
			c.open = !flags.Has(h2.FlagHeadersEndHeaders) // CONTINUATION has the same
		}
	}
}

// due reports whether more has to come soon. A body's frame has READ_TIMEOUT.
func (c *headLimit) due() bool {
	body := c.have == len(c.header) && h2.FrameType(c.header[3]) == h2.FrameData
	return c.open || c.have > 0 && !body
}
