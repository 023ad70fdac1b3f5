package authz

import (
	"bytes"
	"encoding/json/jsontext"
	"strconv"
	"strings"
	"sync"
)

// child returns the member or element of value that token names (RFC 6901). Names are compared exactly; another member
// whose name differs only in case makes the answer twofold, whether or not the exact one is there, because servers fold
// case or do not (contract mcp-a2a 13.37). Duplicate names and bad UTF-8 are unreadable.
func child(value jsontext.Value, token string) (jsontext.Value, argumentState) {
	switch value.Kind() {
	case jsontext.KindBeginObject:
		return member(value, token)
	case jsontext.KindBeginArray:
		return element(value, token)
	}
	return nil, missing
}

func member(object jsontext.Value, name string) (jsontext.Value, argumentState) {
	var at jsontext.Value
	state := missing
	err := eachMember(object, func(got []byte, value jsontext.Value) {
		switch {
		case string(got) == name:
			at = value
			state = max(state, present)
		case strings.EqualFold(string(got), name):
			state = twofold
		}
	})
	if err != nil {
		return nil, unreadable
	}
	return at, state
}

// tokens is a decoder with its input; both are used again.
type tokens struct {
	*jsontext.Decoder
	from *bytes.Buffer // jsontext reads the bytes of a Buffer in place
}

var decoders = sync.Pool{New: func() any {
	b := new(bytes.Buffer)
	return &tokens{jsontext.NewDecoder(b), b}
}}

// decode returns a decoder of value. It refuses duplicate names and bad UTF-8 by default.
func decode(value jsontext.Value) *tokens {
	t := decoders.Get().(*tokens)
	*t.from = *bytes.NewBuffer(value)
	t.Reset(t.from)
	return t
}

// release gives the decoder back without the value.
func (t *tokens) release() {
	*t.from = bytes.Buffer{}
	t.Reset(t.from)
	decoders.Put(t)
}

// eachMember calls f with every member of object. The value is a part of object, and so is a name that has no escapes.
func eachMember(object jsontext.Value, f func(name []byte, value jsontext.Value)) error {
	d := decode(object)
	defer d.release()
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() == jsontext.KindString {
		raw, err := d.ReadValue()
		if err != nil {
			return err
		}
		end := d.InputOffset()
		name := object[end-int64(len(raw))+1 : end-1]
		if bytes.IndexByte(name, '\\') >= 0 {
			if name, err = jsontext.AppendUnquote(nil, raw); err != nil {
				return err
			}
		}
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		end = d.InputOffset()
		f(name, object[end-int64(len(value)):end])
	}
	_, err := d.ReadToken()
	return err
}

// element returns the element with the given index: digits without a leading zero.
func element(array jsontext.Value, token string) (jsontext.Value, argumentState) {
	index, err := strconv.ParseUint(token, 10, 31)
	if err != nil || strconv.FormatUint(index, 10) != token {
		return nil, missing
	}
	var at jsontext.Value
	state := missing
	i := uint64(0)
	err = eachElement(array, func(value jsontext.Value) {
		if i == index {
			at, state = value, present
		}
		i++
	})
	if err != nil {
		return nil, unreadable
	}
	return at, state
}

// eachElement calls f with every element of array; value is a part of array.
func eachElement(array jsontext.Value, f func(value jsontext.Value)) error {
	d := decode(array)
	defer d.release()
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != jsontext.KindEndArray {
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		end := d.InputOffset()
		f(array[end-int64(len(value)) : end])
	}
	_, err := d.ReadToken()
	return err
}
