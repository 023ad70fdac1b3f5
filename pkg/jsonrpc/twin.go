package jsonrpc

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Twin returns the name of a member that is not one of the known names but equals one under Unicode simple case folding, or up
// to a NUL; "" if there is none. Some servers take such a member for the known one (contract mcp-a2a 12, GO-2026-4770).
func (o Object) Twin(known ...string) string {
	for i := range o {
		if twinOf(o[i].Name, known) {
			return o[i].Name
		}
	}
	return ""
}

func twinOf(name string, known []string) bool {
	twin := false
	start, _, _ := strings.Cut(name, "\x00")
	for _, k := range known {
		if name == k {
			return false
		}
		twin = twin || foldEqual(start, k)
	}
	return twin
}

// foldEqual compares under Unicode simple folding, which includes the letters outside of ASCII that fold to ASCII ones:
// U+017F to s and U+212A to k.
func foldEqual(a, b string) bool {
	for a != "" && b != "" {
		ra, na := utf8.DecodeRuneInString(a)
		rb, nb := utf8.DecodeRuneInString(b)
		if ra != rb && !foldsTo(ra, rb) {
			return false
		}
		a, b = a[na:], b[nb:]
	}
	return a == "" && b == ""
}

func foldsTo(a, b rune) bool {
	for r := unicode.SimpleFold(a); r != a; r = unicode.SimpleFold(r) {
		if r == b {
			return true
		}
	}
	return false
}
