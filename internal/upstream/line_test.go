package upstream

import (
	"strings"
	"testing"
)

// isLine checks eight bytes at a time. It must find the same as one byte at a time, at any position.
func TestNoValueEndsALine(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			for _, filler := range []string{"a", "\t", "\x80", "\xff"} {
				value := strings.Repeat(filler, at) + string([]byte{byte(c)}) + strings.Repeat(filler, 19-at)
				if want := (c >= ' ' || c == '\t') && c != 0x7f; isLine(value) != want {
					t.Fatalf("%q: %v", value, !want)
				}
			}
		}
	}
}
