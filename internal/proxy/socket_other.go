//go:build !unix

package proxy

// This file stands in where a socket can't be asked without waiting.

import (
	"net"
	"os"
)

// canProbe tells whether idle connections can be looked at. Where they can't, none may be reused.
const canProbe = false

var errNothing = os.ErrDeadlineExceeded

type socket struct {
	net.Conn
	raw     any
	probing bool
}

func newSocket(conn net.Conn) *socket { return &socket{Conn: conn} }
