package authz

import (
	"net/http"
	"net/textproto"
	"reflect"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// faultError says why a value cannot be read. Its text is ours: nothing of the payload is in it.
type faultError string

func (e faultError) Error() string { return string(e) }

func fault(text string) ref.Val { return types.WrapErr(faultError(text)) }

// keys is what a lookup reads from.
type keys interface {
	find(key string) (ref.Val, bool) // an error value is an answer too
	all() traits.Mapper
}

// lookup is a CEL map that is read key by key. The whole map is built only for an expression that wants all of it.
type lookup struct {
	keys
	made traits.Mapper
}

var _ traits.Mapper = (*lookup)(nil)

func (m *lookup) whole() traits.Mapper {
	if m.made == nil {
		m.made = m.all()
	}
	return m.made
}

// Find implements traits.Mapper.
func (m *lookup) Find(key ref.Val) (ref.Val, bool) {
	name, ok := key.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(key), false
	}
	v, ok := m.find(string(name))
	if types.IsError(v) {
		return v, false
	}
	return v, ok
}

// Get implements traits.Indexer.
func (m *lookup) Get(key ref.Val) ref.Val {
	v, ok := m.Find(key)
	switch {
	case ok:
		return v
	case v != nil:
		return v
	}
	return types.NewErr("no such key: %v", key)
}

// Contains implements traits.Container.
func (m *lookup) Contains(key ref.Val) ref.Val {
	v, ok := m.Find(key)
	if !ok && v != nil {
		return v
	}
	return types.Bool(ok)
}

// The rest asks for the whole map.
func (m *lookup) Iterator() traits.Iterator   { return m.whole().Iterator() }
func (m *lookup) Size() ref.Val               { return m.whole().Size() }
func (m *lookup) Equal(other ref.Val) ref.Val { return m.whole().Equal(other) }
func (m *lookup) ConvertToNative(typ reflect.Type) (any, error) {
	return m.whole().ConvertToNative(typ)
}
func (m *lookup) ConvertToType(typ ref.Type) ref.Val { return m.whole().ConvertToType(typ) }
func (m *lookup) Type() ref.Type                     { return types.MapType }
func (m *lookup) Value() any                         { return m.whole().Value() }

// headers are request headers, in any case of their names.
type headers http.Header

func (h headers) find(name string) (ref.Val, bool) {
	lines := h[textproto.CanonicalMIMEHeaderKey(name)]
	if len(lines) == 0 {
		return nil, false
	}
	return onlyLine(lines), true
}

func (h headers) all() traits.Mapper {
	m := make(map[ref.Val]ref.Val, len(h))
	for name, lines := range h {
		if len(lines) > 0 {
			m[types.String(strings.ToLower(name))] = onlyLine(lines)
		}
	}
	return types.NewRefValMap(types.DefaultTypeAdapter, m)
}

// onlyLine answers with an error for a header of several lines: the server may read the first, the last or all.
func onlyLine(lines []string) ref.Val {
	if len(lines) != 1 {
		return fault("a header has several lines, so that two servers could read it differently")
	}
	return text(lines[0])
}
