package lane

import "encoding/binary"

// class is the set of places in a request where a byte may stand.
type class uint8

const (
	token class = 1 << iota // in a method or a header's name (RFC 9110 §5.6.2)
	text                    // in a header's value: tab, and all that isn't a control character
	uri                     // in a target (RFC 3986 §2), except "%" and "#"
	host                    // in a host name
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
	add(uri, "{|}^`") // RFC 3986 excludes them, but browsers send them raw, and nobody takes them for separators
	add(host, alphanumeric+"-._~")
	for c := range table {
		if c >= ' ' && c != 0x7f || c == '\t' {
			table[c] |= text
		}
	}
	return table
}

// isText reports whether v may be a header's value. It checks eight bytes at a time, because most of a head is values.
func isText(v []byte) bool {
	const each, high = 0x0101010101010101, 0x8080808080808080
	for ; len(v) >= 8; v = v[8:] {
		x := binary.LittleEndian.Uint64(v)
		del := x ^ 0x7f*each
		// A high bit marks a byte below 0x20, or 0x7f. That may also be a tab, so the slow check decides.
		if ((x-0x20*each)&^x|(del-each)&^del)&high != 0 && !isTextSlow(v[:8]) {
			return false
		}
	}
	return isTextSlow(v)
}

// isPlainText reports whether v is only visible ASCII, spaces and tabs.
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

// isToken reports whether v is a token. The empty v isn't.
func isToken(v []byte) bool {
	for _, c := range v {
		if classes[c]&token == 0 {
			return false
		}
	}
	return len(v) > 0
}
