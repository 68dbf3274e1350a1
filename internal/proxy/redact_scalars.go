package proxy

// The scanner's strings, numbers and literals. Each of them may come in pieces.

import (
	"encoding/binary"
	"math/bits"
	"strings"
)

// States of a number: what came last. A number may end in numberZero and the states after it.
const (
	numberMinus = iota
	numberPoint
	numberE
	numberSign // of the exponent
	numberZero // the only digit before the point
	numberDigits
	numberFraction
	numberExponent
)

// letter processes the next letter of a literal.
func (s *scanner) letter(b []byte, i int) int {
	if b[i] != s.literal[0] {
		return -1
	}
	if s.literal = s.literal[1:]; s.literal == "" {
		return s.ended(i + 1)
	}
	return i + 1
}

// text processes a string from i on. It returns where the string or the piece ends, or -1 if a character isn't allowed.
func (s *scanner) text(b []byte, i int) int {
	for ; i < len(b); i++ {
		if s.escape > 0 {
			if !s.escapes(b[i]) {
				return -1
			}
			continue
		}
		if i += ordinary(b[i:]); i == len(b) {
			break
		}
		switch b[i] {
		case '\\':
			s.escape, s.escaped = 5, true
		case '"':
			i++
			if !s.isName {
				return s.ended(i)
			}
			s.state = wantColon
			if s.naming {
				s.named(b, i)
			}
			return i
		default:
			return -1 // a control character
		}
	}
	return i
}

// escapes processes the next character of an escape. It returns false if the character isn't allowed.
func (s *scanner) escapes(c byte) bool {
	s.escape--
	if s.escape < 4 {
		return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
	}
	if c == 'u' {
		return true
	}
	s.escape = 0
	return strings.IndexByte(`"\/bfnrt`, c) >= 0
}

// ordinary returns how many bytes at the beginning are neither quotes, backslashes nor control characters. It tests eight bytes at a time.
// In each of the three terms, the lowest set high bit belongs to the first match.
func ordinary(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, backslash := w^ones*'"', w^ones*'\\'
		if m := ((quote-ones)&^quote | (backslash-ones)&^backslash | (w-ones*' ')&^w) & highs; m != 0 {
			return i + bits.TrailingZeros64(m)/8
		}
	}
	for i < len(b) && b[i] >= ' ' && b[i] != '"' && b[i] != '\\' {
		i++
	}
	return i
}

// digits processes a number from i on. It returns where the number or the piece ends, or -1 if a character isn't allowed.
func (s *scanner) digits(b []byte, i int) int {
	for ; i < len(b); i++ {
		next := nextNumber(s.number, b[i])
		if next < 0 && s.number >= numberZero {
			return s.ended(i)
		}
		if next < 0 {
			return -1
		}
		s.number = next
	}
	return i
}

// nextNumber returns a number's state after one more character, or -1 if the character isn't part of the number.
func nextNumber(number int, c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return afterDigit(number, c)
	case c == '.' && (number == numberZero || number == numberDigits):
		return numberPoint
	case c|0x20 == 'e' && numberZero <= number && number < numberExponent:
		return numberE
	case (c == '+' || c == '-') && number == numberE:
		return numberSign
	}
	return -1
}

func afterDigit(number int, digit byte) int {
	switch number {
	case numberMinus:
		if digit == '0' {
			return numberZero
		}
		return numberDigits
	case numberZero:
		return -1
	case numberPoint:
		return numberFraction
	case numberE, numberSign:
		return numberExponent
	}
	return number
}
