package jsonrpc_test

import (
	"encoding/json" // v1, on purpose: a grammar of JSON that shares nothing with ours
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"waymark.dev/waypoint/pkg/jsonrpc"
)

// atoms are what short JSON texts, and texts that nearly are JSON, are made of.
var atoms = []string{
	"{", "}", "[", "]", ",", ":", `"`, `\`, "a", "u", "0", "1", "-", "+", ".", "e", "E", " ", "\n", "\f", "\x00", "\x01", "\x7f",
	"true", "null", "NaN", `\u0061`, `\ud83d`, `\ude00`, "\xc3\xa9", "\xff", "\xef\xbb\xbf", "'", "/*", `"a"`, `"b":`,
}

// Every text of up to four atoms is accepted if and only if it is JSON by another reader's grammar, in UTF-8 without lone
// surrogates, and names no member twice.
func TestEveryShortText(t *testing.T) {
	l := jsonrpc.RequestLimits()
	var accepted, refused int
	var extend func(prefix string, more int)
	extend = func(prefix string, more int) {
		if got, want := jsonrpc.Check([]byte(prefix), l) == nil, proper(prefix); got != want {
			t.Errorf("%q: accepted %t, want %t", prefix, got, want)
		} else if got {
			accepted++
		} else {
			refused++
		}
		if more > 0 && !t.Failed() {
			for _, a := range atoms {
				extend(prefix+a, more-1)
			}
		}
	}
	length := 4
	if raceEnabled { // thirty times slower, and nothing here is concurrent
		length = 3
	}
	extend("", length)
	t.Logf("%d accepted, %d refused", accepted, refused)
}

// proper reports whether a text without nested objects is what Check must accept.
func proper(text string) bool {
	return json.Valid([]byte(text)) && utf8.ValidString(text) && !strings.HasPrefix(text, "\ufeff") && paired(text) && !repeated(text)
}

// paired reports whether every escaped surrogate in a JSON text is half of a pair.
func paired(text string) bool {
	text = strings.ReplaceAll(text, `\\`, "") // an escaped backslash; what follows it is no escape
	for {
		i := strings.Index(text, `\u`)
		if i < 0 {
			return true
		}
		var unit, next int
		fmt.Sscanf(text[i:], `\u%04x`, &unit)
		if text = text[i+6:]; unit < 0xd800 || unit > 0xdfff {
			continue
		}
		if n, _ := fmt.Sscanf(text, `\u%04x`, &next); n != 1 || unit > 0xdbff || next < 0xdc00 || next > 0xdfff {
			return false
		}
		text = text[6:]
	}
}

// repeated reports whether an object of a JSON text has two members of one name.
func repeated(text string) bool {
	d := json.NewDecoder(strings.NewReader(text))
	var open []map[string]bool // the names of each open object; nil for an array
	name := false              // whether a string that comes now is a name
	for {
		tok, err := d.Token()
		if err != nil {
			return false
		}
		inObject := len(open) > 0 && open[len(open)-1] != nil
		s, isString := tok.(string)
		switch {
		case inObject && name && isString:
			if open[len(open)-1][s] {
				return true
			}
			open[len(open)-1][s], name = true, false
			continue
		case tok == json.Delim('{'):
			open = append(open, map[string]bool{})
		case tok == json.Delim('['):
			open = append(open, nil)
		case tok == json.Delim('}'), tok == json.Delim(']'):
			open = open[:len(open)-1]
		}
		name = len(open) > 0 && open[len(open)-1] != nil
	}
}

// What RFC 8259 has, each of its productions in each place, is accepted; each spoiled in one byte is judged as proper says.
func TestEveryByteSpoiled(t *testing.T) {
	l := jsonrpc.RequestLimits()
	var accepted, refused int
	for _, text := range []string{
		`{"a":[1,-0,0.5,1e9,1E+9,-1.5e-3,true,false,null,"\"\\\/\b\f\n\r\t\u00e9","é😀\ud83d\ude00",{},[]],"b":{"a":{"a":""}}}`,
		" [ 1 , { \"a\" : \"\" , \"b\" : [ ] } ]\r\n\t", `"\u2028\uFFFE"`, `-0.0e-0`, toolsCall,
	} {
		if jsonrpc.Check([]byte(text), l) != nil {
			t.Errorf("%q is refused", text)
		}
		for i := range len(text) + 1 {
			for c := range 256 {
				for _, spoiled := range []string{text[:i] + string([]byte{byte(c)}) + text[i:], text[:i] + string([]byte{byte(c)}) + text[min(i+1, len(text)):]} {
					got, want := jsonrpc.Check([]byte(spoiled), l) == nil, proper(spoiled)
					if got != want {
						t.Errorf("%q: accepted %t, want %t", spoiled, got, want)
					}
					if got {
						accepted++
					} else {
						refused++
					}
				}
			}
			if cut := text[:i]; (jsonrpc.Check([]byte(cut), l) == nil) != proper(cut) {
				t.Errorf("%q: accepted %t", cut, !proper(cut))
			}
		}
	}
	t.Logf("%d accepted, %d refused", accepted, refused)
}
