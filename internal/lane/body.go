package lane

import "errors"

// malformed is what the server gets in place of a malformed chunk or trailer. net/http takes it for an error anywhere in a chunked body:
// it is no chunk size, no end of a chunk, and no trailer. Read can't return an error instead: net/http would think that the
// client has left.
const malformed = "zz\nz\r\n\r\n"

// maxTrailer bounds all trailers of a body together, in bytes. net/http accepts about 4,000.
const maxTrailer = 2 << 10

var (
	errChunkSize = bad("malformed chunk size, or a chunk extension")
	errChunkEnd  = bad("malformed end of a chunk")
	errTrailer   = bad("malformed trailer")
)

// bodyState is what comes next in a body.
type bodyState uint8

const (
	done   bodyState = iota
	length           // left bytes of a body that declares its length
	size             // a digit of a chunk's size, or the CR after the digits
	sizeLF
	data // left bytes of a chunk
	dataCR
	dataLF
	trailer // a trailer's first byte, or the CR that ends the body
	trailerName
	trailerValue
	trailerLF
	endLF
)

// body finds the end of one body. The zero body has no bytes.
type body struct {
	state bodyState
	left  int64  // of length and data
	count int    // digits of the size, or bytes of the trailers
	wrong *fault // the body is malformed from here on; nil: no error so far
}

func (b *body) done() bool { return b.state == done }

// measure returns how many bytes of p belong to the body. If that is less than len(p), the body is done, or wrong is set.
func (b *body) measure(p []byte) int {
	n := 0
	for n < len(p) && b.state != done {
		if b.state != length && b.state != data {
			if b.wrong = b.step(p[n]); b.wrong != nil {
				return n
			}
			n++
			continue
		}
		some := min(int64(len(p)-n), b.left)
		n += int(some)
		if b.left -= some; b.left == 0 && b.state == length {
			b.state = done
		} else if b.left == 0 {
			b.state = dataCR
		}
	}
	return n
}

// step reads one byte of a chunked body outside the chunks' data.
func (b *body) step(c byte) *fault {
	switch b.state {
	case size:
		return b.digit(c)
	case sizeLF:
		if b.count = 0; b.left > 0 {
			return b.expect(c, '\n', data, errChunkSize)
		}
		return b.expect(c, '\n', trailer, errChunkSize)
	case dataCR:
		return b.expect(c, '\r', dataLF, errChunkEnd)
	case dataLF:
		return b.expect(c, '\n', size, errChunkEnd)
	case endLF:
		return b.expect(c, '\n', done, errTrailer)
	}
	return b.trail(c)
}

func (b *body) expect(c, want byte, next bodyState, otherwise *fault) *fault {
	if c != want {
		return otherwise
	}
	b.state = next
	return nil
}

// digit reads a digit of a chunk's size, or the CR after the digits. The size stays below 2^63.
func (b *body) digit(c byte) *fault {
	value := unhex(c)
	switch {
	case value >= 0 && b.count < 16 && b.left>>59 == 0:
		b.left = b.left<<4 | int64(value)
		b.count++
	case c == '\r' && b.count > 0:
		b.state = sizeLF
	default:
		return errChunkSize
	}
	return nil
}

// trail reads a byte of the trailers.
func (b *body) trail(c byte) *fault {
	if b.count++; b.count > maxTrailer {
		return errTrailer
	}
	switch {
	case b.state == trailerLF:
		return b.expect(c, '\n', trailer, errTrailer)
	case b.state == trailer && c == '\r':
		b.state = endLF
	case b.state == trailerValue && c == '\r':
		b.state = trailerLF
	case b.state == trailerName && c == ':':
		b.state = trailerValue
	case b.state == trailerValue && classes[c]&text != 0:
	case b.state != trailerValue && classes[c]&token != 0:
		b.state = trailerName
	default:
		return errTrailer
	}
	return nil
}

// unhex returns the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// fault is why a request is refused, and the status of the answer.
type fault struct {
	status int
	err    error
}

func bad(what string) *fault { return &fault{400, errors.New("lane: " + what)} }
