package mcpmatrix

import (
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf16"
)

// spoiled is a body that is wrong as a whole, or labelled wrongly.
type spoiled struct {
	name  string
	field string   // a header field to set
	lines []string // its lines; nil leaves it out
	bytes func(body string) string
	want  Want
}

func plain(body string) string { return body }

func ahead(text string) func(string) string { return func(body string) string { return text + body } }
func behindIt(text string) func(string) string {
	return func(body string) string { return body + text }
}

// spoils are the ways in which a whole body can be misspelled.
func spoils() []spoiled {
	forward := Want{Forward: true}
	list := []spoiled{
		{"byte order mark", "", nil, ahead("\xef\xbb\xbf"), notJSON},
		{"two byte order marks", "", nil, ahead("\xef\xbb\xbf\xef\xbb\xbf"), notJSON},
		{"UTF-16LE", "", nil, wide16(binary.LittleEndian, false), media},
		{"UTF-16BE", "", nil, wide16(binary.BigEndian, false), media},
		{"UTF-16LE with its mark", "", nil, wide16(binary.LittleEndian, true), media},
		{"UTF-16BE with its mark", "", nil, wide16(binary.BigEndian, true), media},
		{"UTF-32LE", "", nil, wide32(binary.LittleEndian), media},
		{"UTF-32BE", "", nil, wide32(binary.BigEndian), media},
		{"UTF-7", "", nil, ahead("+AHs-"), notJSON},
		{"a letter after it", "", nil, behindIt("x"), notJSON},
		{"an object after it", "", nil, behindIt("{}"), notJSON},
		{"a brace after it", "", nil, behindIt("}"), notJSON},
		{"a comma after it", "", nil, behindIt(","), notJSON},
		{"a NUL after it", "", nil, behindIt("\x00"), notJSON},
		{"a control byte after it", "", nil, behindIt("\x1e"), notJSON},
		{"a form feed after it", "", nil, behindIt("\f"), notJSON},
		{"a no-break space after it", "", nil, behindIt("\u00a0"), notJSON},
		{"itself after it", "", nil, func(body string) string { return body + body }, notJSON},
		{"itself on the next line", "", nil, func(body string) string { return body + "\n" + body }, notJSON},
		{"a comment after it", "", nil, behindIt("//x"), notJSON},
		{"an XSSI guard before it", "", nil, ahead(")]}',\n"), notJSON},
		{"a record separator before it", "", nil, ahead("\x1e"), notJSON},
		{"a comment before it", "", nil, ahead("/**/"), notJSON},
		{"white space around it", "", nil, func(body string) string { return " \t\r\n" + body + "\n \r\t" }, forward},
		{"half of it", "", nil, func(body string) string { return body[:len(body)/2] }, notJSON},
		{"nothing", "", nil, func(string) string { return "" }, notJSON},
		{"white space only", "", nil, func(string) string { return " \n" }, notJSON},
		{"an array of it", "", nil, func(body string) string { return "[" + body + "]" }, invalid},
		{"an array of two", "", nil, func(body string) string { return "[" + body + "," + body + "]" }, invalid},
		{"an empty array", "", nil, func(string) string { return "[]" }, invalid},
		{"a string of it", "", nil, func(string) string { return `"x"` }, invalid},
		{"100000 arrays around it", "", nil, func(body string) string {
			return strings.Repeat("[", 100_000) + body + strings.Repeat("]", 100_000)
		}, invalid},
		{"an unknown member", "", nil, func(body string) string { return `{"x":1,` + body[1:] }, invalid},
		{"an empty name", "", nil, func(body string) string { return `{"":1,` + body[1:] }, invalid},
		{"a prototype", "", nil, func(body string) string { return `{"__proto__":{},` + body[1:] }, invalid},
	}
	for _, coding := range []string{"gzip", "deflate", "br", "zstd", "compress", "x-gzip", "identity, gzip", "identity, identity", "aws-chunked", ""} {
		list = append(list, spoiled{"Content-Encoding " + coding, "Content-Encoding", []string{coding}, plain, media})
	}
	for _, charset := range []string{"utf-16", "utf-16le", "utf-32", "utf-7", "iso-8859-1", "us-ascii", "shift_jis", `"utf-7"`, ""} {
		list = append(list, spoiled{"charset " + charset, "Content-Type", []string{"application/json; charset=" + charset}, plain, media})
	}
	for _, other := range []string{"text/plain", "application/jsonp", "application/vnd.x+json", "application/json, text/plain", "multipart/form-data",
		"application/x-www-form-urlencoded", "application/json; profile=x", "text/json", "application/json;", ""} {
		want := media
		if other == "application/json;" {
			want = forward // an empty parameter is none
		}
		list = append(list, spoiled{"Content-Type " + other, "Content-Type", []string{other}, plain, want})
	}
	return append(list,
		spoiled{"Content-Encoding identity", "Content-Encoding", []string{"identity"}, plain, forward},
		spoiled{"Content-Encoding twice", "Content-Encoding", []string{"identity", "identity"}, plain, media},
		spoiled{"Content-Encoding twice, different", "Content-Encoding", []string{"identity", "gzip"}, plain, media},
		spoiled{"no Content-Type", "Content-Type", nil, plain, media},
		spoiled{"Content-Type twice", "Content-Type", []string{"application/json", "application/json"}, plain, media},
		spoiled{"charset UTF-8", "Content-Type", []string{"APPLICATION/JSON; charset=UTF-8"}, plain, forward},
		spoiled{"charset twice", "Content-Type", []string{"application/json; charset=utf-8; charset=utf-7"}, plain, media},
	)
}

// bodies spoils the message as a whole in each way.
func (b *base) bodies(t Transport) (list []Request) {
	text := b.root.text(nil, "")
	for _, s := range spoils() {
		r := b.request(t, s.name, s.bytes(text), s.want)
		if s.field != "" {
			if r.Header[s.field] = slices.Clone(s.lines); s.lines == nil {
				delete(r.Header, s.field)
			}
		}
		list = append(list, r)
	}
	return list
}

// wide16 writes a text in UTF-16.
func wide16(order binary.AppendByteOrder, mark bool) func(string) string {
	return func(body string) string {
		if mark {
			body = "\ufeff" + body
		}
		var b []byte
		for _, unit := range utf16.Encode([]rune(body)) {
			b = order.AppendUint16(b, unit)
		}
		return string(b)
	}
}

// wide32 writes a text in UTF-32.
func wide32(order binary.AppendByteOrder) func(string) string {
	return func(body string) string {
		var b []byte
		for _, r := range body {
			b = order.AppendUint32(b, uint32(r))
		}
		return string(b)
	}
}
