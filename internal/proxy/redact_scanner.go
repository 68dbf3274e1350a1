package proxy

// This file copies a JSON text piece by piece and leaves members out. The libraries hold a whole string or number at a
// time, and an answer may be a single one.

import "encoding/json"

// maxNesting bounds what is remembered of an answer. It is also encoding/json's bound.
const maxNesting = 10_000

// What a scanner waits for, or is in.
const (
	wantValue  = iota
	wantFirst  // value of an array, or its end
	wantName   // of a member, after a comma
	wantMember // the first, or the end of the object
	wantColon
	wantMore // comma, or the end of the array or object
	wantNothing
	inText
	inNumber
	inLiteral
)

// What a scanner knows of each level.
const (
	inArray = iota
	inObject
	inObjectWithMembers // some have been kept
)

// scanner copies a JSON text (RFC 8259) that comes in pieces, without the fields. It remembers the levels that it is in
// and a name as long as that may be one of the fields, and nothing else.
type scanner struct {
	rule   *redaction
	out    []byte
	state  int
	levels []byte
	skip   int // the level whose present member is dropped; 0: none
	from   int // where in the piece begins what is kept and not in out yet; -1: nothing is, until further notice

	cut     int    // where in the piece the last name or its comma begins
	name    int    // where in the piece the open name begins
	held    []byte // what earlier pieces had of it
	naming  bool   // the open text is a name of which isn't known yet if it is kept
	isName  bool   // the open text is a name
	escaped bool   // there are escapes in it
	escape  int    // characters that the open escape still needs; 5: the one after the backslash; 0: none is open
	number  int    // how far the open number is
	literal string // what is left of the open literal
}

// scan goes through the next piece. It is false where that can't be JSON.
func (s *scanner) scan(b []byte) bool {
	s.from, s.name, s.cut = min(s.from, 0), 0, 0
	for i := 0; i < len(b); {
		switch s.state {
		case inText:
			i = s.text(b, i)
		case inNumber:
			i = s.digits(b, i)
		case inLiteral:
			i = s.letter(b, i)
		default:
			i = s.structure(b, i)
		}
		if i < 0 {
			return false
		}
	}
	switch {
	case s.naming:
		s.hold(b)
	case s.state == wantName:
		s.cutOff(b)
	}
	s.emit(b, len(b))
	return true
}

// complete reports whether the text may end here.
func (s *scanner) complete() bool {
	return s.state == wantNothing || s.state == inNumber && s.number >= numberZero && len(s.levels) == 0
}

// emit puts out what is kept of the piece up to end.
func (s *scanner) emit(b []byte, end int) {
	if s.from >= 0 {
		s.out = append(s.out, b[s.from:end]...)
	}
}

// cutOff ends what is kept before the open name and its comma.
func (s *scanner) cutOff(b []byte) {
	s.emit(b, s.cut)
	s.from = -1
}

// structure takes what isn't part of a scalar, or begins one, at i. It returns where to go on, or -1 where that is out
// of place.
func (s *scanner) structure(b []byte, i int) int {
	c := b[i]
	if c == ' ' || c == '\n' || c == '\t' || c == '\r' {
		return i + 1
	}
	switch s.state {
	case wantFirst:
		if c == ']' {
			return s.leave(c, i)
		}
		return s.value(b, i)
	case wantValue:
		return s.value(b, i)
	case wantMember, wantName:
		if c == '"' {
			return s.open(b, s.members(b, i))
		}
		if s.state == wantMember {
			return s.leave(c, i)
		}
	case wantColon:
		if c == ':' {
			s.state = wantValue
			return i + 1
		}
	case wantMore:
		if c != ',' {
			return s.leave(c, i)
		}
		return s.comma(b, i)
	}
	return -1
}

// comma goes on to the next value or member. Before a member, it is only kept if one before it was.
func (s *scanner) comma(b []byte, i int) int {
	level := s.levels[len(s.levels)-1]
	if level == inArray {
		s.state = wantValue
		return i + 1
	}
	if s.state, s.cut = wantName, i; level == inObject {
		s.cutOff(b)
	}
	return i + 1
}

// members takes, from a name at i on, what most answers mostly are: members that are strings, written without white space
// or escapes, and with another one behind. It returns where that one's name begins. Whatever else comes is the caller's.
func (s *scanner) members(b []byte, i int) int {
	for s.skip == 0 {
		colon := i + 2 + ordinary(b[i+1:])
		if len(b)-colon < 2 || b[colon-1] != '"' || b[colon] != ':' || b[colon+1] != '"' {
			return i
		}
		comma := colon + 3 + ordinary(b[colon+2:])
		if len(b)-comma < 2 || b[comma-1] != '"' || b[comma] != ',' || b[comma+1] != '"' {
			return i
		}
		if s.state == wantMember {
			s.cut = i
		}
		s.name, s.escaped = i, false
		s.named(b, colon)
		s.ended(comma)
		i = s.comma(b, comma)
	}
	return i
}

// open begins a name.
func (s *scanner) open(b []byte, i int) int {
	if s.state == wantMember {
		s.cut = i
	}
	s.state, s.isName, s.escaped = inText, true, false
	if s.skip == 0 {
		s.name, s.naming = i, true
	}
	return s.text(b, i+1)
}

// value begins one at i.
func (s *scanner) value(b []byte, i int) int {
	switch c := b[i]; c {
	case '"':
		s.state, s.isName = inText, false
		return s.text(b, i+1)
	case '{':
		s.state = wantMember
		s.levels = append(s.levels, inObject)
	case '[':
		s.state = wantFirst
		s.levels = append(s.levels, inArray)
	case '-':
		s.state, s.number = inNumber, numberMinus
	case '0':
		s.state, s.number = inNumber, numberZero
	case 't':
		s.state, s.literal = inLiteral, "true"[1:]
	case 'f':
		s.state, s.literal = inLiteral, "false"[1:]
	case 'n':
		s.state, s.literal = inLiteral, "null"[1:]
	default:
		if c < '1' || c > '9' {
			return -1
		}
		s.state, s.number = inNumber, numberDigits
	}
	if len(s.levels) > maxNesting {
		return -1
	}
	return i + 1
}

// leave ends an array or object with the bracket c at i.
func (s *scanner) leave(c byte, i int) int {
	last := len(s.levels) - 1
	if s.levels[last] == inArray && c != ']' || s.levels[last] != inArray && c != '}' {
		return -1
	}
	s.levels = s.levels[:last]
	return s.ended(i + 1)
}

// ended follows a value, of which i is the end.
func (s *scanner) ended(i int) int {
	s.state = wantMore
	if len(s.levels) == 0 {
		s.state = wantNothing
	}
	if s.skip > 0 && s.skip == len(s.levels) {
		s.skip, s.from = 0, i
	}
	return i
}

// named decides about the name that ends at end.
func (s *scanner) named(b []byte, end int) {
	name := b[s.name:end]
	if len(s.held) > 0 {
		name = append(s.held, name...)
	}
	if !s.drops(name) {
		s.keep()
		return
	}
	s.cutOff(b)
	s.naming, s.held, s.skip = false, s.held[:0], len(s.levels)
}

// drops reports whether the name, with its quotes, is that of a field.
func (s *scanner) drops(name []byte) bool {
	if len(name) > s.rule.longest {
		return false
	}
	plain := name[1 : len(name)-1]
	if s.escaped {
		var text string
		if json.Unmarshal(name, &text) != nil {
			return true
		}
		plain = []byte(text)
	}
	for _, field := range s.rule.fields {
		if string(plain) == field {
			return true
		}
	}
	return false
}

// keep decides to keep the open name, and puts out what is held of it.
func (s *scanner) keep() {
	level := &s.levels[len(s.levels)-1]
	if s.from < 0 {
		if *level == inObjectWithMembers {
			s.out = append(s.out, ',')
		}
		s.out = append(s.out, s.held...)
		s.held, s.from = s.held[:0], s.name
	}
	*level, s.naming = inObjectWithMembers, false
}

// hold remembers the open name beyond the piece, if it may still be a field's.
func (s *scanner) hold(b []byte) {
	if len(s.held)+len(b)-s.name >= s.rule.longest {
		s.keep()
		return
	}
	s.cutOff(b)
	s.held = append(s.held, b[s.name:]...)
}
