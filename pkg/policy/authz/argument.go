package authz

import (
	"encoding/json/jsontext"
	"fmt"
	"strings"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
)

// argument is one compiled condition on a value inside the arguments.
type argument struct {
	pointer           string
	tokens            []string
	values, notValues *patterns
	min, max          *decimal
	present           *bool
}

// argumentValue is what the arguments hold at a pointer.
type argumentValue struct {
	state argumentState
	kind  jsontext.Kind
	text  string   // of a string
	num   *decimal // of a number; nil if it has more digits than we compare
}

type argumentState uint8

const (
	missing argumentState = iota
	present
	twofold    // a member on the way is there, or could be, in another case: servers disagree on which one they read
	unreadable // not JSON as we read it
)

// match answers open while it is not yet known which arguments a call will have. It remembers in j.twin that the value
// cannot be trusted to be what the server reads.
func (a *argument) match(j *judgment) truth {
	if j.mode == showing {
		return open
	}
	if j.mode == lifecycle {
		return j.unsaid()
	}
	v := j.argument(a)
	switch v.state {
	case twofold:
		j.twin = a.pointer
		return j.undecided()
	case unreadable:
		return j.undecided()
	}
	t := yes
	if a.present != nil {
		t = truthOf((v.state == present) == *a.present)
	}
	if a.values != nil || a.notValues != nil {
		t = min(t, a.matchText(j, v))
	}
	if a.min != nil || a.max != nil {
		t = min(t, a.matchNumber(j, v))
	}
	return t
}

func (a *argument) matchText(j *judgment, v argumentValue) truth {
	switch {
	case v.state == missing && a.values != nil:
		return no
	case v.state == missing || v.kind != jsontext.KindString:
		return j.undecided()
	}
	return truthOf(within(v.text, a.values, a.notValues))
}

func (a *argument) matchNumber(j *judgment, v argumentValue) truth {
	switch {
	case v.state == missing:
		return no
	case v.num == nil:
		return j.undecided()
	}
	return truthOf((a.min == nil || v.num.cmp(a.min) >= 0) && (a.max == nil || v.num.cmp(a.max) <= 0))
}

// argument looks a pointer up, once per call.
func (j *judgment) argument(a *argument) argumentValue {
	for i := range j.lookup {
		if j.lookup[i].pointer == a.pointer {
			return j.lookup[i].value
		}
	}
	v := readArgument(j.c.Arguments, a.tokens)
	j.lookup = append(j.lookup, found{a.pointer, v})
	return v
}

// readArgument follows tokens into args.
func readArgument(args jsontext.Value, tokens []string) argumentValue {
	value := args
	for _, token := range tokens {
		if len(value) == 0 {
			return argumentValue{}
		}
		next, state := child(value, token)
		if state != present {
			return argumentValue{state: state}
		}
		value = next
	}
	return scalar(value)
}

func scalar(value jsontext.Value) argumentValue {
	v := argumentValue{state: present, kind: value.Kind()}
	switch v.kind {
	case jsontext.KindString:
		text, err := jsontext.AppendUnquote(nil, value)
		if err != nil {
			return argumentValue{state: unreadable}
		}
		v.text = string(text)
	case jsontext.KindNumber:
		v.num = parseDecimal(string(value))
	}
	return v
}

func (k *compiler) arguments(field string, list []v1alpha1.Argument) []argument {
	k.count(field, list != nil, len(list), maxArguments)
	out := make([]argument, 0, len(list))
	for i := range list {
		out = append(out, k.argument(fmt.Sprintf("%s[%d]", field, i), &list[i]))
	}
	if list == nil {
		return nil
	}
	return out
}

func (k *compiler) argument(field string, a *v1alpha1.Argument) argument {
	tokens, why := parsePointer(a.Pointer)
	if why != "" {
		k.add(field+".pointer", "%s, got %q", why, a.Pointer)
	}
	if a.Values == nil && a.NotValues == nil && a.Min == nil && a.Max == nil && a.Present == nil {
		k.add(field, "must have one of values, notValues, min, max and present")
	}
	if a.Present != nil && !*a.Present && (a.Values != nil || a.NotValues != nil || a.Min != nil || a.Max != nil) {
		k.add(field+".present", "a value that is absent cannot have other conditions")
	}
	lo, hi := k.decimal(field+".min", a.Min), k.decimal(field+".max", a.Max)
	if lo != nil && hi != nil && lo.cmp(hi) > 0 {
		k.add(field+".max", "is less than min, so this never matches")
	}
	return argument{
		pointer: a.Pointer, tokens: tokens,
		values: k.argumentValues(field+".values", a.Values), notValues: k.argumentValues(field+".notValues", a.NotValues),
		min: lo, max: hi, present: a.Present,
	}
}

// argumentValues allows the empty string, which is a value like others inside arguments.
func (k *compiler) argumentValues(field string, values []string) *patterns {
	return newPatterns(k.list(field, values, maxEntries, func(v string) string {
		if v == "" {
			return ""
		}
		return checkPattern(v)
	}))
}

func (k *compiler) decimal(field string, d *v1alpha1.Decimal) *decimal {
	if d == nil {
		return nil
	}
	if !plainDecimal(string(*d)) {
		k.add(field, "must be a decimal number such as 500 or \"0.25\", got %q", string(*d))
		return nil
	}
	n := parseDecimal(string(*d))
	if n == nil {
		k.add(field, "has more than %d digits", maxNumber)
	}
	return n
}

// parsePointer splits an RFC 6901 JSON pointer into its decoded tokens, or says why it is none.
func parsePointer(s string) ([]string, string) {
	if s == "" || s[0] != '/' {
		return nil, `must be a JSON pointer that begins with "/"`
	}
	tokens := strings.Split(s[1:], "/")
	for i, t := range tokens {
		rest := strings.NewReplacer("~0", "", "~1", "").Replace(t)
		if strings.Contains(rest, "~") {
			return nil, `"~" must be written ~0 and "/" inside a name ~1`
		}
		tokens[i] = strings.NewReplacer("~0", "~", "~1", "/").Replace(t)
	}
	return tokens, ""
}
