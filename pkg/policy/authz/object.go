package authz

import (
	"encoding/json/jsontext"
	"strconv"
	"strings"
	"unicode"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// object is a JSON object as CEL reads it: parsed one level at a time, each level at most once and only if it is asked for.
type object struct {
	value   jsontext.Value
	members map[string]*memberValue // nil until parsed
	folded  map[string]int          // how many names are equal but for case
	err     ref.Val                 // why it could not be parsed
}

type memberValue struct {
	raw   jsontext.Value
	value ref.Val // nil until asked for
}

// newObject reads a JSON object; nothing at all is the empty one.
func newObject(value jsontext.Value) ref.Val {
	if len(value) == 0 {
		value = jsontext.Value("{}")
	}
	if value.Kind() != jsontext.KindBeginObject {
		return fault("not a JSON object")
	}
	return &lookup{keys: &object{value: value}}
}

func (o *object) parse() {
	if o.members != nil {
		return
	}
	o.members, o.folded = make(map[string]*memberValue), make(map[string]int)
	err := eachMember(o.value, func(name []byte, value jsontext.Value) {
		o.members[string(name)] = &memberValue{raw: value}
		o.folded[fold(string(name))]++
	})
	if err != nil {
		o.err = fault("not readable as JSON")
	}
}

// find answers with an error for a member that is there in another case too, or only in another case (see child).
func (o *object) find(name string) (ref.Val, bool) {
	o.parse()
	m, ok := o.members[name]
	others := o.folded[fold(name)]
	switch {
	case o.err != nil:
		return o.err, false
	case others > 1 || others == 1 && !ok:
		return fault("a member is there in another case, so that two servers could read it differently"), false
	case !ok:
		return nil, false
	case m.value == nil:
		m.value = newValue(m.raw)
	}
	return m.value, true
}

// all cannot tell of an error, other than by a member that is one.
func (o *object) all() traits.Mapper {
	o.parse()
	all := make(map[ref.Val]ref.Val, len(o.members))
	for name, m := range o.members {
		all[types.String(name)] = newValue(m.raw)
	}
	if o.err != nil {
		all[types.String("")] = o.err
	}
	return types.NewRefValMap(types.DefaultTypeAdapter, all)
}

// newValue reads any JSON value.
func newValue(value jsontext.Value) ref.Val {
	switch value.Kind() {
	case jsontext.KindNull:
		return types.NullValue
	case jsontext.KindTrue:
		return types.True
	case jsontext.KindFalse:
		return types.False
	case jsontext.KindNumber:
		return number(string(value))
	case jsontext.KindString:
		s, err := jsontext.AppendUnquote(nil, value)
		if err != nil {
			return fault("not readable as JSON")
		}
		return types.String(s) // arguments have no size to estimate with, so that every expression on them is metered
	case jsontext.KindBeginObject:
		return newObject(value)
	}
	var list []ref.Val
	if err := eachElement(value, func(value jsontext.Value) { list = append(list, newValue(value)) }); err != nil {
		return fault("not readable as JSON")
	}
	return types.NewRefValList(types.DefaultTypeAdapter, list)
}

// fold maps every spelling of a name that strings.EqualFold takes for the same to one.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, s)
}

// number reads a JSON number as an int or uint if it is whole, else as the nearest double. A whole number that fits
// neither is an error: a double would silently be another number.
func number(s string) ref.Val {
	if !strings.ContainsAny(s, ".eE") {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return types.Int(i)
		}
		if u, err := strconv.ParseUint(s, 10, 64); err == nil {
			return types.Uint(u)
		}
		return fault("a whole number has more than 64 bits")
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return fault("a number is out of range")
	}
	return types.Double(f)
}
