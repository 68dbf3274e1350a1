package proxy

// The scanner copies a JSON text piece by piece and leaves members out. JSON libraries hold a whole string or number in memory, and an
// answer may consist of a single long one.

import "encoding/json"

// maxNesting limits the levels that a scanner remembers. encoding/json has the same limit.
const maxNesting = 10_000

// States of a scanner: what it expects next, or what it is in.
const (
	wantValue  = iota
	wantFirst  // the first value of an array, or its end
	wantName   // a member's name, after a comma
	wantMember // the first member's name, or the end of the object
	wantColon
	wantMore    // a comma, or the end of the array or object
	wantNothing // the text is complete
	inText      // a string
	inNumber
	inLiteral // true, false or null
)

// Kinds of levels.
const (
	inArray             = iota
	inObject            // without a member so far that is kept
	inObjectWithMembers // at least one member is kept
)

// scanner copies a JSON text (RFC 8259) that comes in pieces, without the fields. Between pieces it remembers only the kinds of the open
// levels, and an open name while that may be a field's.
type scanner struct {
	rule   *redaction
	out    []byte
	state  int
	levels []byte // the kinds of the open arrays and objects
	skip   int    // the level whose current member is dropped; 0: none
	from   int    // where the part of the piece begins that is kept and not yet in out; -1: nothing is kept now

	cut     int    // where in the piece the last name begins, or the comma before it
	name    int    // where in the piece the open name begins
	held    []byte // the part of the open name in earlier pieces
	naming  bool   // the open string is a name, and it isn't decided whether to keep it
	isName  bool   // the open string is a name
	escaped bool   // the open string has escapes
	escape  int    // how many characters the open escape still needs; 5: the one after the backslash; 0: none is open
	number  int    // the state of the open number
	literal string // the rest of the open literal
}

// scan processes the next piece. It returns false if the text can't be JSON.
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

// emit appends the kept part of the piece, up to end, to out.
func (s *scanner) emit(b []byte, end int) {
	if s.from >= 0 {
		s.out = append(s.out, b[s.from:end]...)
	}
}

// cutOff emits what comes before the last name and its comma. From there on, nothing is kept.
func (s *scanner) cutOff(b []byte) {
	s.emit(b, s.cut)
	s.from = -1
}

// structure processes the character at i, which isn't inside a string, number or literal. It returns where to go on, or -1 if the
// character isn't allowed there.
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

// comma processes the comma at i. In an object, it keeps the comma only if it has kept an earlier member.
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

// members is a fast path for what most answers mostly consist of: members whose values are strings, without white space or escapes, each
// followed by another member. It begins with the name at i. It returns where the first name begins that it hasn't processed.
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

// open begins the name at i.
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

// value begins the value at i.
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

// leave ends an array or object with the bracket c at i. It returns where to go on, or -1 if c is another character.
func (s *scanner) leave(c byte, i int) int {
	last := len(s.levels) - 1
	if s.levels[last] == inArray && c != ']' || s.levels[last] != inArray && c != '}' {
		return -1
	}
	s.levels = s.levels[:last]
	return s.ended(i + 1)
}

// ended is called after each value, with its end i. It returns i.
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

// named decides whether to keep the member whose name ends at end.
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

// drops reports whether the member of that name is dropped. The name has its quotes.
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

// keep keeps the open name, and emits the held part of it.
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

// hold remembers the open name beyond the end of the piece. If the name is too long for a field's, it keeps it.
func (s *scanner) hold(b []byte) {
	if len(s.held)+len(b)-s.name >= s.rule.longest {
		s.keep()
		return
	}
	s.cutOff(b)
	s.held = append(s.held, b[s.name:]...)
}
