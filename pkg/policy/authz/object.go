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
	parsed  bool
	members []memberValue
	index   *memberIndex // of an object with many members
	err     ref.Val      // why it could not be parsed
}

type memberValue struct {
	name  []byte // a part of the object, or its own
	raw   jsontext.Value
	value ref.Val // nil until asked for
}

// manyMembers is where an index is quicker than looking at each. Without one, whoever writes the arguments could make every
// step of an expression as slow as they are long.
const manyMembers = 32

// memberIndex finds members by name.
type memberIndex struct {
	at     map[string]int
	folded map[string]int // how many names are equal but for case
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
	if o.parsed {
		return
	}
	o.parsed = true
	o.members = make([]memberValue, 0, manyMembers/2)
	err := eachMember(o.value, func(name []byte, value jsontext.Value) {
		o.members = append(o.members, memberValue{name: name, raw: value})
	})
	if err != nil {
		o.members, o.err = nil, fault("not readable as JSON")
	}
	if len(o.members) <= manyMembers {
		return
	}
	o.index = &memberIndex{make(map[string]int, len(o.members)), make(map[string]int, len(o.members))}
	for i := range o.members {
		name := string(o.members[i].name)
		o.index.at[name] = i
		o.index.folded[fold(name)]++
	}
}

// find answers with an error for a member that is there in another case too, or only in another case (see child).
func (o *object) find(name string) (ref.Val, bool) {
	o.parse()
	if o.err != nil {
		return o.err, false
	}
	at, alike := o.lookUp(name)
	switch {
	case alike > 1 || alike == 1 && at < 0:
		return fault("a member is there in another case, so that two servers could read it differently"), false
	case at < 0:
		return nil, false
	}
	m := &o.members[at]
	if m.value == nil {
		m.value = newValue(m.raw)
	}
	return m.value, true
}

// lookUp returns where the member of exactly this name is, or -1, and how many have it in any case.
func (o *object) lookUp(name string) (at, alike int) {
	at = -1
	if o.index != nil {
		if i, ok := o.index.at[name]; ok {
			at = i
		}
		return at, o.index.folded[fold(name)]
	}
	for i := range o.members {
		if string(o.members[i].name) == name {
			at = i
			alike++
		} else if equalFold(o.members[i].name, name) {
			alike++
		}
	}
	return at, alike
}

// equalFold reports whether two names are equal but for case. Nearly all differ in their first letters.
func equalFold(a []byte, b string) bool {
	if len(a) > 0 && len(b) > 0 && a[0]|b[0] < 0x80 && a[0]|0x20 != b[0]|0x20 {
		return false
	}
	return strings.EqualFold(string(a), b)
}

// all cannot tell of an error, other than by a member that is one.
func (o *object) all() traits.Mapper {
	o.parse()
	all := make(map[ref.Val]ref.Val, len(o.members))
	for i := range o.members {
		all[types.String(o.members[i].name)] = newValue(o.members[i].raw)
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
