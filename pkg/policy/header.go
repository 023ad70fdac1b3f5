package policy

import (
	"maps"
	"net/http"
	"net/textproto"
	"strings"
)

// edited returns a header with the edits done, in order. h stays as it is: others read it.
func edited(h http.Header, edits []HeaderEdit) http.Header {
	next := maps.Clone(h)
	if next == nil {
		next = http.Header{}
	}
	for i := range edits {
		edits[i].apply(next)
	}
	return next
}

func (e *HeaderEdit) apply(h http.Header) {
	if e.Remove {
		for name, lines := range h {
			if !SameField(name, e.Name) {
				continue
			}
			if e.Cookie == "" {
				delete(h, name)
			} else if kept := withoutCookie(lines, e.Cookie); len(kept) == 0 {
				delete(h, name)
			} else {
				h[name] = kept
			}
		}
	}
	if e.Value != "" {
		name := textproto.CanonicalMIMEHeaderKey(e.Name)
		h[name] = append(h[name][:len(h[name]):len(h[name])], e.Value)
	}
}

// SameField reports whether two field names can be the same to a server: case does not count, and to those that read fields
// from CGI variables neither does the difference between "-" and "_" (RFC 3875 section 4.1.18).
func SameField(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if fieldByte(a[i]) != fieldByte(b[i]) {
			return false
		}
	}
	return true
}

func fieldByte(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c + 'a' - 'A'
	case c == '_':
		return '-'
	}
	return c
}

// withoutCookie returns the lines of a Cookie field without the cookies of a name, in whatever case.
func withoutCookie(lines []string, name string) []string {
	var kept []string
	for _, line := range lines {
		var pairs []string
		for pair := range strings.SplitSeq(line, ";") {
			pair = strings.TrimSpace(pair)
			n, _, _ := strings.Cut(pair, "=")
			if pair != "" && !strings.EqualFold(strings.TrimSpace(n), name) {
				pairs = append(pairs, pair)
			}
		}
		if len(pairs) > 0 {
			kept = append(kept, strings.Join(pairs, "; "))
		}
	}
	return kept
}
