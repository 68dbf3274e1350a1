package upstream

// This file is the socket under every connection, TLS or not, of both ways. It can be read without waiting, which net
// has no way to do.

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
)

// errNothing is the answer of a probing socket that has nothing to read. TLS takes it for temporary and goes on later.
var errNothing = os.ErrDeadlineExceeded

// socket is a connection that can be asked without waiting, and whose Write doesn't fail because the other end has closed:
// an upstream may answer from a request's head and close while the body is still being written. Whether it has answered is
// for the reader to find out.
type socket struct {
	net.Conn
	raw     syscall.RawConn // nil: can't be asked
	refused atomic.Bool     // the other end takes nothing any more
	probing bool            // Read doesn't wait

	try func(fd uintptr) // made once
	p   []byte           // try's argument and results
	n   int
	err error
}

func newSocket(conn net.Conn) *socket {
	s := &socket{Conn: conn}
	if c, ok := conn.(syscall.Conn); ok {
		s.raw, _ = c.SyscallConn() // fails where it is closed, and then it is not reused
	}
	s.try = func(fd uintptr) {
		for s.err = syscall.EINTR; errors.Is(s.err, syscall.EINTR); {
			s.n, s.err = syscall.Read(int(fd), s.p)
		}
	}
	return s
}

// Read implements io.Reader.
func (s *socket) Read(p []byte) (int, error) {
	if !s.probing {
		return s.Conn.Read(p)
	}
	s.p = p
	err := s.raw.Control(s.try) // not Read: that fails where a deadline is over, as an idle connection's may be
	s.p = nil
	switch {
	case err != nil:
		return 0, err
	case errors.Is(s.err, syscall.EAGAIN):
		return 0, errNothing
	case s.err != nil:
		return 0, s.err
	case s.n == 0:
		return 0, io.EOF
	}
	return s.n, nil
}

// Write implements io.Writer.
func (s *socket) Write(p []byte) (int, error) {
	if s.refused.Load() {
		return len(p), nil
	}
	n, err := s.Conn.Write(p)
	if errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) {
		s.refused.Store(true)
		return len(p), nil
	}
	return n, err
}

// silent reports whether nothing has come that nobody has read, not even the end. Unlike probing it takes nothing, and
// may be asked while somebody reads.
func (s *socket) silent() bool {
	if s.raw == nil {
		return true // can't be asked
	}
	if s.refused.Load() {
		return false
	}
	var err error
	failed := s.raw.Control(func(fd uintptr) {
		var one [1]byte
		for err = syscall.EINTR; errors.Is(err, syscall.EINTR); {
			_, _, err = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK)
		}
	})
	return failed == nil && errors.Is(err, syscall.EAGAIN)
}
