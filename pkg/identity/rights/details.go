package rights

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

const (
	maxDetails = 64
	maxType    = 256 // bytes
	maxBounds  = 64
)

// Details are authorization details.
type Details []Detail

// Detail is one of them. Lists that are nil bound nothing; empty ones allow nothing.
type Detail struct {
	Type   string
	Tools  []string
	Bounds map[string]Bound // by JSON pointer into the arguments
	others map[string]jsontext.Value
	raw    jsontext.Value
}

// Bound is what one argument may be. Every member that is there counts; an argument that is not there is not allowed.
type Bound struct {
	Const   jsontext.Value   `json:"const,omitzero"`
	Enum    []jsontext.Value `json:"enum,omitzero"`
	Minimum jsontext.Value   `json:"minimum,omitzero"`
	Maximum jsontext.Value   `json:"maximum,omitzero"`
	Prefix  *string          `json:"prefix,omitzero"`
}

// listed are the members of RFC 9396 section 2.2 that are lists of texts: fewer of them is less.
func listed(name string) bool {
	return name == "actions" || name == "locations" || name == "datatypes" || name == "privileges"
}

// ParseDetails reads the claim or parameter authorization_details. nil is none.
func ParseDetails(v jsontext.Value) (Details, error) {
	if v == nil {
		return nil, nil
	}
	var list []jsontext.Value
	if err := json.Unmarshal(v, &list); err != nil || v.Kind() != jsontext.KindBeginArray {
		return nil, errors.New("authorization_details: is no list")
	}
	if len(list) > maxDetails {
		return nil, fmt.Errorf("authorization_details: more than %d", maxDetails)
	}
	out := make(Details, len(list))
	for i, raw := range list {
		if err := out[i].parse(raw); err != nil {
			return nil, fmt.Errorf("authorization_details[%d]: %w", i, err)
		}
	}
	return out, nil
}

func (d *Detail) parse(raw jsontext.Value) error {
	if raw.Kind() != jsontext.KindBeginObject || json.Unmarshal(raw, &d.others) != nil {
		return errors.New("is no object, or has a name twice")
	}
	for name := range d.others {
		for _, known := range []string{"type", "tools", "arguments", "actions", "locations", "datatypes", "privileges", "identifier"} {
			if name != known && strings.EqualFold(name, known) {
				return fmt.Errorf("has %s in another spelling", known)
			}
		}
	}
	if json.Unmarshal(d.others["type"], &d.Type) != nil || d.Type == "" || len(d.Type) > maxType {
		return errors.New("has no type")
	}
	if v := d.others["tools"]; v != nil {
		if v.Kind() != jsontext.KindBeginArray || json.Unmarshal(v, &d.Tools) != nil {
			return errors.New("tools: is no list of texts")
		}
	}
	if v := d.others["arguments"]; v != nil {
		if v.Kind() != jsontext.KindBeginObject || json.Unmarshal(v, &d.Bounds, json.RejectUnknownMembers(true)) != nil || len(d.Bounds) > maxBounds {
			return errors.New("arguments: is no object of bounds (const, enum, minimum, maximum, prefix)")
		}
		for pointer, b := range d.Bounds {
			if pointer != "" && pointer[0] != '/' || !b.valid() {
				return errors.New("arguments: has a name that is no JSON pointer, or a bound that is none")
			}
		}
	}
	for name, v := range d.others {
		var texts []string
		if listed(name) && (v.Kind() != jsontext.KindBeginArray || json.Unmarshal(v, &texts) != nil) {
			return fmt.Errorf("%s: is no list of texts", name)
		}
	}
	delete(d.others, "type")
	delete(d.others, "tools")
	delete(d.others, "arguments")
	d.raw = raw.Clone()
	return nil
}

func (b *Bound) valid() bool {
	for _, n := range []jsontext.Value{b.Minimum, b.Maximum} {
		if n != nil && number(n) == nil {
			return false
		}
	}
	return b.Const != nil || b.Enum != nil || b.Minimum != nil || b.Maximum != nil || b.Prefix != nil
}

// Marshal writes them as they came.
func (d Details) Marshal() jsontext.Value {
	if d == nil {
		return nil
	}
	out := jsontext.Value{'['}
	for i := range d {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, d[i].raw...)
	}
	return append(out, ']')
}

// Permit reports whether a detail of that type covers a call of a tool with these arguments.
func (d Details) Permit(typ, tool string, arguments jsontext.Value) bool {
	return slices.ContainsFunc(d, func(one Detail) bool { return one.tool(typ, tool) && one.bounded(arguments) })
}

// Could reports whether a detail of that type covers some call of a tool.
func (d Details) Could(typ, tool string) bool {
	return slices.ContainsFunc(d, func(one Detail) bool { return one.tool(typ, tool) })
}

func (d *Detail) tool(typ, tool string) bool {
	return d.Type == typ && (d.Tools == nil || slices.Contains(d.Tools, tool))
}

func (d *Detail) bounded(arguments jsontext.Value) bool {
	for pointer, b := range d.Bounds {
		v := find(arguments, pointer)
		if v == nil || !b.holds(v) {
			return false
		}
	}
	return true
}

func (b *Bound) holds(v jsontext.Value) bool {
	if b.Const != nil && !equal(b.Const, v) || b.Enum != nil && !slices.ContainsFunc(b.Enum, func(e jsontext.Value) bool { return equal(e, v) }) {
		return false
	}
	if b.Minimum != nil || b.Maximum != nil {
		n := number(v)
		if n == nil || b.Minimum != nil && n.Cmp(number(b.Minimum)) < 0 || b.Maximum != nil && n.Cmp(number(b.Maximum)) > 0 {
			return false
		}
	}
	if b.Prefix != nil {
		var s string
		if v.Kind() != jsontext.KindString || json.Unmarshal(v, &s) != nil || !strings.HasPrefix(s, *b.Prefix) {
			return false
		}
	}
	return true
}

// find follows a JSON pointer (RFC 6901). A name that is there in two spellings is not found: a server might take the other one.
func find(v jsontext.Value, pointer string) jsontext.Value {
	for token := range jsontext.Pointer(pointer).Tokens() {
		switch v.Kind() {
		case jsontext.KindBeginObject:
			var members map[string]jsontext.Value
			if json.Unmarshal(v, &members) != nil {
				return nil
			}
			v = members[token]
			for name := range members {
				if name != token && strings.EqualFold(name, token) {
					return nil
				}
			}
		case jsontext.KindBeginArray:
			var list []jsontext.Value
			n, ok := new(big.Int).SetString(token, 10)
			if json.Unmarshal(v, &list) != nil || !ok || !n.IsInt64() || n.Int64() >= int64(len(list)) || n.Sign() < 0 || n.String() != token {
				return nil
			}
			v = list[n.Int64()]
		default:
			return nil
		}
	}
	return v
}

// number is a JSON number to 256 bits, or nil.
func number(v jsontext.Value) *big.Float {
	if v.Kind() != jsontext.KindNumber || len(v) > 64 {
		return nil
	}
	n, _, err := big.ParseFloat(string(v), 10, 256, big.ToNearestEven)
	if err != nil {
		return nil
	}
	return n
}

// equal compares two values as JSON does: the order of members and the spelling of numbers and texts do not count.
func equal(a, b jsontext.Value) bool {
	if bytes.Equal(a, b) {
		return true
	}
	if a.Kind() == jsontext.KindNumber && b.Kind() == jsontext.KindNumber {
		x, y := number(a), number(b)
		return x != nil && y != nil && x.Cmp(y) == 0
	}
	x, y := a.Clone(), b.Clone()
	return x.Canonicalize() == nil && y.Canonicalize() == nil && bytes.Equal(x, y)
}

// Within returns nil if each detail is covered by one of the parent's.
func (d Details) Within(parent Details) error {
	for i := range d {
		if !slices.ContainsFunc(parent, func(p Detail) bool { return d[i].within(&p) }) {
			return fmt.Errorf("%w[%d]: of type %q is more than what was shown", ErrDetails, i, d[i].Type)
		}
	}
	return nil
}

func (d *Detail) within(p *Detail) bool {
	if d.Type != p.Type || p.Tools != nil && (d.Tools == nil || !subset(d.Tools, p.Tools)) {
		return false
	}
	for pointer, b := range p.Bounds {
		mine, ok := d.Bounds[pointer]
		if !ok || !mine.within(b) {
			return false
		}
	}
	for name, v := range p.others {
		mine := d.others[name]
		switch {
		case mine == nil:
			return false
		case listed(name):
			var less, more []string
			if json.Unmarshal(mine, &less) != nil || json.Unmarshal(v, &more) != nil || !subset(less, more) {
				return false
			}
		case !equal(mine, v):
			return false
		}
	}
	for name := range d.others { // what a new member means is not known: it may be more
		if p.others[name] == nil && !listed(name) {
			return false
		}
	}
	return true
}

// within reports whether everything that b allows is allowed by p.
func (b *Bound) within(p Bound) bool {
	values := b.Enum
	if b.Const != nil {
		values = []jsontext.Value{b.Const}
	}
	if values != nil { // a list of values: each of them has to be allowed
		return !slices.ContainsFunc(values, func(v jsontext.Value) bool { return b.holds(v) && !p.holds(v) })
	}
	if p.Const != nil || p.Enum != nil {
		return false
	}
	if p.Minimum != nil && (b.Minimum == nil || number(b.Minimum).Cmp(number(p.Minimum)) < 0) {
		return false
	}
	if p.Maximum != nil && (b.Maximum == nil || number(b.Maximum).Cmp(number(p.Maximum)) > 0) {
		return false
	}
	return p.Prefix == nil || b.Prefix != nil && strings.HasPrefix(*b.Prefix, *p.Prefix)
}

func subset(less, more []string) bool {
	return !slices.ContainsFunc(less, func(s string) bool { return !slices.Contains(more, s) })
}
