package jsonrpc

import (
	"bytes"
	"encoding/json/jsontext"
)

// Member is one name and value of an object, with where the value stands in the object's text.
type Member struct {
	Name       string // decoded
	Value      jsontext.Value
	Start, End int // of Value, in bytes
}

// Object is the members of a JSON object in order. Lookups are by exact name.
type Object []Member

// Members lists the members of v, which must be an object that Check accepted; ok is false for any other value. The values
// are slices of v.
func Members(v jsontext.Value) (o Object, ok bool) {
	i := skipSpace(v, 0)
	if i >= len(v) || v[i] != '{' {
		return nil, false
	}
	o = make(Object, 0, 6) // most objects of the protocols have no more
	for i = skipSpace(v, i+1); i < len(v) && v[i] != '}'; i = skipDelimiters(v, i) {
		end := skipString(v, i)
		name, ok := decodeName(v[i:end])
		if !ok {
			return nil, false
		}
		start := skipDelimiters(v, end)
		i = skipValue(v, start)
		o = append(o, Member{name, v[start:i:i], start, i})
	}
	return o, i < len(v)
}

// Elements lists the elements of v, which must be an array that Check accepted; ok is false for any other value.
func Elements(v jsontext.Value) (elements []Member, ok bool) {
	i := skipSpace(v, 0)
	if i >= len(v) || v[i] != '[' {
		return nil, false
	}
	for i = skipSpace(v, i+1); i < len(v) && v[i] != ']'; {
		start := i
		i = skipValue(v, start)
		elements = append(elements, Member{"", v[start:i:i], start, i})
		i = skipDelimiters(v, i)
	}
	return elements, i < len(v)
}

// decodeName decodes a member name. The names of the protocols cost no allocation.
func decodeName(raw []byte) (string, bool) {
	if len(raw) < 2 {
		return "", false
	}
	switch string(raw[1 : len(raw)-1]) {
	case "jsonrpc":
		return "jsonrpc", true
	case "id":
		return "id", true
	case "method":
		return "method", true
	case "params":
		return "params", true
	case "result":
		return "result", true
	case "name":
		return "name", true
	case "arguments":
		return "arguments", true
	case "uri":
		return "uri", true
	case "_meta":
		return "_meta", true
	case "progressToken":
		return "progressToken", true
	case "description":
		return "description", true
	case "inputSchema":
		return "inputSchema", true
	case "title":
		return "title", true
	}
	return String(raw)
}

// Get returns the value of a member, nil if there is none.
func (o Object) Get(name string) jsontext.Value {
	if m := o.Find(name); m != nil {
		return m.Value
	}
	return nil
}

// Find returns a member, nil if there is none.
func (o Object) Find(name string) *Member {
	for i := range o {
		if o[i].Name == name {
			return &o[i]
		}
	}
	return nil
}

// String returns the decoded string value of a member; ok is false if it is absent or no string.
func (o Object) String(name string) (s string, ok bool) { return String(o.Get(name)) }

// String decodes a JSON string; ok is false for any other value.
func String(v jsontext.Value) (s string, ok bool) {
	if len(v) < 2 || v[0] != '"' {
		return "", false
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return string(v[1 : len(v)-1]), true
	}
	b, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		return "", false
	}
	return string(b), true
}

// Set returns text, from which o was read, with one member's value replaced, or with the member added at the end if there
// was none. The rest stays as it came.
func (o Object) Set(text []byte, name string, value []byte) []byte {
	if m := o.Find(name); m != nil {
		return Splice(text, m, value)
	}
	end := bytes.LastIndexByte(text, '}')
	out := make([]byte, 0, len(text)+len(name)+len(value)+4)
	out = append(out, text[:end]...)
	if len(o) > 0 {
		out = append(out, ',')
	}
	out = append(appendString(out, name), ':')
	out = append(out, value...)
	return append(out, text[end:]...)
}

// Splice returns text with the bytes of one member's value replaced. The rest stays as it came.
func Splice(text []byte, m *Member, value []byte) []byte {
	out := make([]byte, 0, len(text)-len(m.Value)+len(value))
	out = append(out, text[:m.Start]...)
	out = append(out, value...)
	return append(out, text[m.End:]...)
}
