package proxy

// This file reads from a socket without waiting, which net has no way to do: a deadline that is over fails before
// anything is read.

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// errNothing is the answer of a probing socket that has nothing to read. TLS takes it for temporary and goes on later.
var errNothing = os.ErrDeadlineExceeded

// socket is a connection that can be asked without waiting.
type socket struct {
	net.Conn
	raw     syscall.RawConn // nil: can't be asked
	probing bool            // Read doesn't wait

	try func(fd uintptr) bool // made once
	p   []byte                // try's argument and results
	n   int
	err error
}

func newSocket(conn net.Conn) *socket {
	s := &socket{Conn: conn}
	if c, ok := conn.(syscall.Conn); ok {
		s.raw, _ = c.SyscallConn() // fails where it is closed, and then it is not reused
	}
	s.try = func(fd uintptr) bool {
		for s.err = syscall.EINTR; errors.Is(s.err, syscall.EINTR); {
			s.n, s.err = syscall.Read(int(fd), s.p)
		}
		return true // don't wait for more
	}
	return s
}

// Read implements io.Reader.
func (s *socket) Read(p []byte) (int, error) {
	if !s.probing {
		return s.Conn.Read(p)
	}
	s.p = p
	if err := s.raw.Read(s.try); err != nil {
		return 0, err
	}
	s.p = nil
	switch {
	case errors.Is(s.err, syscall.EAGAIN):
		return 0, errNothing
	case s.err != nil:
		return 0, s.err
	case s.n == 0:
		return 0, io.EOF
	}
	return s.n, nil
}
