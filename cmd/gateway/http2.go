package main

// Limits for one HTTP/2 connection of a client.

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
	// maxStreams is how many requests a connection may have open. With MAX_CONNECTIONS it bounds the requests of all clients.
	maxStreams = 64
	// blockedTime is how long a client may read nothing while the gateway has something to write. Streams have limits of their
	// own, but on a blocked connection no stream can be reset.
	blockedTime = 10 * time.Second
	// serverHeads times MAX_HEADER_BYTES is the HTTP server's limit for a head. The lane and the handler refuse heads over
	// MAX_HEADER_BYTES first. Over HTTP/2 the server's own refusal has no CORS headers, so no page could read it.
	serverHeads = 4
)

// speakHTTP2 makes server speak HTTP/2 over TLS, with ReadHeaderTimeout as the limit for each head. net/http applies that limit
// to HTTP/1 only: over HTTP/2 an incomplete head may take all of IdleTimeout. Set the server's fields before.
//
// Package http2 is deprecated in favour of net/http. But net/http, as of Go 1.26, serves HTTP/2 over TLS only on its own
// connections, not on a headLimit.
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
			var ctx context.Context // nil: context.Background()
			if base, ok := h.(interface{ BaseContext() context.Context }); ok {
				ctx = base.BaseContext()
			}
			own.ServeConn(&headLimit{Conn: conn, limit: server.ReadHeaderTimeout}, &h2.ServeConnOpts{Context: ctx, Handler: h, BaseConfig: server})
		},
	}
	return nil
}

// headLimit is a connection with a time limit for each head, and for each frame except a body's, from its first byte on. It follows
// the frames as they are read (RFC 9113 §4.1). Only one goroutine may call Read.
type headLimit struct {
	*tls.Conn
	limit time.Duration

	preface int     // bytes of the client's preface that have come
	header  [9]byte // of the present frame
	have    int     // bytes of header that have come
	left    int     // bytes of the payload that are still to come
	open    bool    // a head is incomplete: only CONTINUATION frames may follow
	limited bool    // a deadline is set
}

// Read implements net.Conn. It fails with os.ErrDeadlineExceeded if a head or frame takes too long.
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

// follow updates the state with the bytes just read.
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
			c.open = !flags.Has(h2.FlagHeadersEndHeaders) // CONTINUATION has the same flag
		}
	}
}

// due reports whether a head or frame is incomplete and subject to limit. For a body's frames READ_TIMEOUT counts instead.
func (c *headLimit) due() bool {
	body := c.have == len(c.header) && h2.FrameType(c.header[3]) == h2.FrameData
	return c.open || c.have > 0 && !body
}
