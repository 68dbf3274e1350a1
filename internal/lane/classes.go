package lane

// This file knows characters: which may stand where.

import "encoding/binary"

// class is a set of places where a byte may stand.
type class uint8

const (
	token class = 1 << iota // of a method or a field's name (RFC 9110 §5.6.2)
	text                    // of a field's value: all but control characters; tab is none here
	uri                     // of a target (RFC 3986 §2), "%" and "#" apart
	host                    // of a host's name
)

var classes = classify()

func classify() (table [256]class) {
	add := func(set class, chars string) {
		for _, c := range []byte(chars) {
			table[c] |= set
		}
	}
	const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	add(token, alphanumeric+"!#$%&'*+-.^_`|~")
	add(uri, alphanumeric+"-._~:/?[]@!$&'()*+,;=")
	add(uri, "{|}^`") // not RFC 3986's, but browsers send them as they are, and to nobody do they separate anything
	add(host, alphanumeric+"-._~")
	for c := range table {
		if c >= ' ' && c != 0x7f || c == '\t' {
			table[c] |= text
		}
	}
	return table
}

// isText reports whether v may be a field's value. It looks at eight bytes at a time: most of a head is values.
func isText(v []byte) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	for ; len(v) >= 8; v = v[8:] {
		x := binary.LittleEndian.Uint64(v)
		del := x ^ 0x7f*each
		// High bits mark bytes below 0x20, and 0x7f. A mark may be a tab's.
		if ((x-0x20*each)&^x|(del-each)&^del)&high != 0 && !isTextSlow(v[:8]) {
			return false
		}
	}
	return isTextSlow(v)
}

// isPlainText is isText for visible ASCII, space and tab alone.
func isPlainText(v []byte) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	for ; len(v) >= 8; v = v[8:] {
		x := binary.LittleEndian.Uint64(v)
		del := x ^ 0x7f*each
		if ((x-0x20*each)|x|(del-each)&^del)&high != 0 && !isPlainTextSlow(v[:8]) {
			return false
		}
	}
	return isPlainTextSlow(v)
}

func isPlainTextSlow(v []byte) bool {
	for _, c := range v {
		if c >= 0x80 || classes[c]&text == 0 {
			return false
		}
	}
	return true
}

func isTextSlow(v []byte) bool {
	for _, c := range v {
		if classes[c]&text == 0 {
			return false
		}
	}
	return true
}

// isToken reports whether v is a token. Nothing is none.
func isToken(v []byte) bool {
	for _, c := range v {
		if classes[c]&token == 0 {
			return false
		}
	}
	return len(v) > 0
}
