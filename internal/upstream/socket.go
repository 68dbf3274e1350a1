package upstream

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
)

// errNothing is returned by a probing socket that has nothing to read. TLS takes it for a temporary error and can go on later.
var errNothing = os.ErrDeadlineExceeded

// socket is the connection below TLS, or the connection itself. It adds two things to net.Conn. It can be read without blocking.
// And Write doesn't fail because the other end has closed: an upstream may answer from a request's head and close while the body
// is still being written. The reader finds out whether there is an answer.
type socket struct {
	net.Conn
	raw     syscall.RawConn // nil: it can't be read without blocking
	refused atomic.Bool     // the other end accepts no more data
	probing bool            // Read doesn't block

	try  func(fd uintptr)      // made once
	turn func(fd uintptr) bool // made once
	out  []byte                // for turn: what is left to write
	p    []byte                // for try and turn: buffer and results
	n    int
	err  error
}

func newSocket(conn net.Conn) *socket {
	s := &socket{Conn: conn}
	if c, ok := conn.(syscall.Conn); ok {
		s.raw, _ = c.SyscallConn() // fails if conn is closed, which then isn't reused
	}
	s.try = func(fd uintptr) {
		for s.err = syscall.EINTR; s.err == syscall.EINTR; { //nolint:errorlint // package syscall's, never wrapped
			s.n, s.err = syscall.Read(int(fd), s.p)
		}
	}
	s.turn = s.takeTurn
	return s
}

// errUnasked: over an idle connection something has come that no request asked for, or its end.
var errUnasked = errors.New("idle connection is no longer usable")

// exchange writes head over an idle connection and reads the answer's first bytes into p. errUnasked: nothing was written. It is
// a check for unrequested data, a Write and a Read in one. The check has found nothing to read, so Read can wait for the answer
// without trying first.
func (s *socket) exchange(head, p []byte) (n int, err error) {
	s.out, s.p = head, p
	err = s.raw.Read(s.turn)
	head = s.out
	s.out, s.p = nil, nil
	switch {
	case err != nil:
		return 0, err
	case len(head) > 0 && s.err == nil: // the socket didn't take all of head
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

// takeTurn is a step of exchange. It reports false to be called again when there is something to read.
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
	return len(s.out) > 0 // exchange then calls Write, which handles errors
}

// Read implements io.Reader.
func (s *socket) Read(p []byte) (int, error) {
	if !s.probing {
		return s.Conn.Read(p)
	}
	s.p = p
	err := s.raw.Control(s.try) // not raw.Read, which fails if an idle connection's old deadline has passed
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

// silent reports whether nothing unread has come, not even the end. Unlike a probing Read, it consumes nothing, and may be called
// while somebody reads.
func (s *socket) silent() bool {
	if s.raw == nil {
		return true // unknown
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
