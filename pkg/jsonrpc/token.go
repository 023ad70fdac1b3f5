package jsonrpc

import (
	"bytes"
	"encoding/json/jsontext"
	"strconv"
	"unicode"
)

// ID is the raw token of a request id: an integer, or a quoted string. It is copied as bytes, never as a number. nil means
// that there is none.
type ID jsontext.Value

// Equal reports whether two ids are the same in type and value: 1 is not "1", "a" may be spelled "\u0061". No id equals
// nothing, not even no id.
func (id ID) Equal(other ID) bool {
	switch {
	case len(id) == 0 || len(other) == 0:
		return false
	case bytes.Equal(id, other):
		return true
	case id[0] != '"' && other[0] != '"':
		a, erra := strconv.ParseInt(string(id), 10, 64) // -0 and 0 are one id
		b, errb := strconv.ParseInt(string(other), 10, 64)
		return erra == nil && errb == nil && a == b
	}
	a, oka := String(jsontext.Value(id))
	b, okb := String(jsontext.Value(other))
	return oka && okb && a == b
}

// readID returns the id in v, a value that Check accepted.
func readID(v jsontext.Value, l Limits) (ID, bool) {
	ok := false
	switch v.Kind() {
	case '"':
		ok = len(v) <= l.ID+len(`""`) && printable(v)
	case '0':
		ok = safeInteger(v)
	}
	if !ok {
		return nil, false
	}
	return ID(v), true
}

const maxSafeInteger = 1<<53 - 1

// safeInteger reports whether a number token is a plain integer that every reader keeps: no fraction, no exponent, within
// 2^53-1.
func safeInteger(v jsontext.Value) bool {
	n, err := strconv.ParseInt(string(v), 10, 64)
	return err == nil && n <= maxSafeInteger && n >= -maxSafeInteger
}

// printable reports whether a string has no control character once decoded.
func printable(v jsontext.Value) bool {
	s, ok := String(v)
	if !ok {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return false
		}
	}
	return true
}

// Quote returns s as a JSON string. Invalid UTF-8 becomes U+FFFD.
func Quote(s string) jsontext.Value { return appendString(nil, s) }

func appendString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // its only error speaks of the invalid UTF-8 it has replaced
	return b
}

// clip bounds a peer's text inside an error.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "…"
	}
	return s
}
