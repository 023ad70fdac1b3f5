package config

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"reflect"

	"go.yaml.in/yaml/v3"
)

// maxFaults bounds how many problems one object can have by itself.
const maxFaults = 50

// decode reads a part of the tree into v, strictly. The decoder stops at the first thing it does not like; so what it
// dislikes is left out and it is asked again, until everything that is wrong is known.
func (o *object) decode(n *yaml.Node, path string, v any) Problems {
	var problems Problems
	skip := map[*yaml.Node]bool{}
	for range maxFaults {
		err := json.Unmarshal(o.encode(n, skip), v, json.RejectUnknownMembers(true))
		if err == nil {
			return problems
		}
		field, culprit, text := o.explain(n, path, err, skip)
		problems = append(problems, o.problem(field, "%s", text))
		if culprit == n || skip[culprit] {
			return problems
		}
		skip[culprit] = true
	}
	return problems
}

// explain turns an error of the decoder into a field, the node to leave out, and a sentence.
func (o *object) explain(n *yaml.Node, path string, err error, skip map[*yaml.Node]bool) (string, *yaml.Node, string) {
	fault, ok := errors.AsType[*json.SemanticError](err)
	if !ok {
		return path, n, err.Error()
	}
	field, culprit := pointed(n, path, fault.JSONPointer, skip)
	switch {
	case fault.Err == json.ErrUnknownName:
		return field, culprit, "unknown field"
	case fault.Err != nil:
		return field, culprit, fault.Err.Error()
	}
	return field, culprit, "must be " + wanted(fault.GoType) + ", not " + got(fault.JSONKind)
}

func got(k jsontext.Kind) string {
	switch k {
	case '"':
		return "text"
	case '0':
		return "a number"
	case 't', 'f':
		return "true or false"
	case '{':
		return "a map"
	case '[':
		return "a list"
	}
	return "nothing"
}

// wanted says in plain words what a Go type is in YAML.
func wanted(t reflect.Type) string {
	if t == nil {
		return "something else"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "a list"
	case reflect.Map, reflect.Struct:
		return "a map"
	}
	return "a number"
}
