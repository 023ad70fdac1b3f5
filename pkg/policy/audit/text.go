package audit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/jsontext"
	"fmt"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// cut bounds s to limit bytes, at the beginning of a character, and says how much is missing.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	at := limit
	for at > limit-utf8.UTFMax && !utf8.RuneStart(s[at]) {
		at--
	}
	return fmt.Sprintf("%s…(+%d bytes)", s[:at], len(s)-at)
}

// escape rewrites JSON so that every character is one that prints: control and format characters (direction overrides,
// zero width, tags), odd spaces and line separators become \u escapes. Outside strings JSON has none of them.
func escape(b []byte) []byte {
	clean := true
	for _, c := range b {
		clean = clean && c >= 0x20 && c < 0x7f
	}
	if clean {
		return b
	}
	out := make([]byte, 0, len(b)+len(b)/8)
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case unicode.IsPrint(r):
			out = append(out, b[:n]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		b = b[n:]
	}
	return out
}

// digest names arguments without telling them: SHA-256, keyed if there is a key, of their canonical form (RFC 8785), so that
// the order of members, spaces and escapes make no difference. What is not JSON is digested as it is, under another name.
func (s *Stage) digest(arguments jsontext.Value) string {
	if arguments == nil {
		return ""
	}
	canonical := arguments.Clone()
	if err := canonical.Canonicalize(); err != nil {
		return s.sum("raw", arguments)
	}
	return s.sum("", canonical)
}

// hash names a session without telling it: who reads the record must not be able to use the session.
func (s *Stage) hash(session string) string {
	if session == "" {
		return ""
	}
	return s.sum("session", []byte(session))
}

// sum returns algorithm:hex. The label keeps a session from having the digest of arguments.
func (s *Stage) sum(label string, b []byte) string {
	name, in := "", b
	if label != "" {
		name, in = label+"-", append([]byte(label+"\x00"), b...)
	}
	var sum [sha256.Size]byte
	if s.key == nil {
		name, sum = name+"sha256:", sha256.Sum256(in)
	} else {
		h := hmac.New(sha256.New, s.key)
		h.Write(in)
		name = name + "hmac-sha256:"
		h.Sum(sum[:0])
	}
	var out [len("session-hmac-sha256:") + 2*sha256.Size]byte
	return string(hex.AppendEncode(append(out[:0], name...), sum[:]))
}
