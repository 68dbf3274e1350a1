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

	try  func(fd uintptr)      // made once
	turn func(fd uintptr) bool // made once
	out  []byte                // turn's argument: what is yet to be written
	p    []byte                // both's argument and results
	n    int
	err  error
}

func newSocket(conn net.Conn) *socket {
	s := &socket{Conn: conn}
	if c, ok := conn.(syscall.Conn); ok {
		s.raw, _ = c.SyscallConn() // fails where it is closed, and then it is not reused
	}
	s.try = func(fd uintptr) {
		for s.err = syscall.EINTR; s.err == syscall.EINTR; { //nolint:errorlint // package syscall's, never wrapped
			s.n, s.err = syscall.Read(int(fd), s.p)
		}
	}
	s.turn = s.takeTurn
	return s
}

// errUnasked is that of an idle connection over which something has come that no request has asked for, or its end.
var errUnasked = errors.New("idle connection is no longer usable")

// exchange writes head over an idle connection and reads what comes for it into p. errUnasked: nothing was written. It is one look at
// whether anything has come before, and then a Write and a Read, in one: the look makes sure that there is nothing to read until the answer
// comes, so that Read waits for that at once.
func (s *socket) exchange(head, p []byte) (n int, err error) {
	s.out, s.p = head, p
	err = s.raw.Read(s.turn)
	head = s.out
	s.out, s.p = nil, nil
	switch {
	case err != nil:
		return 0, err
	case len(head) > 0 && s.err == nil: // the socket doesn't take all at once
		if _, err := s.Write(head); err != nil {
			return 0, err
		}
		return s.Conn.Read(p)
	case s.err != nil:
		return 0, s.err
	case s.n == 0:
		return 0, io.EOF
	}
	return s.n, nil
}

// takeTurn is a step of exchange: it reports false where it is to be called again when there is something to read.
func (s *socket) takeTurn(fd uintptr) bool {
	s.try(fd)
	nothing := s.err == syscall.EAGAIN //nolint:errorlint // package syscall's, never wrapped
	switch {
	case len(s.out) == 0:
		return !nothing
	case !nothing:
		s.out, s.err = nil, errUnasked
		return true
	}
	n, err := syscall.Write(int(fd), s.out)
	s.err = nil
	if err == nil {
		s.out = s.out[n:]
	}
	return len(s.out) > 0 // Write tries again, and knows what an error means
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
