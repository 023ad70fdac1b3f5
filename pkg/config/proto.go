package config

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// decodeProto reads the spec of one of Istio's kinds. The tree is compared with the message first, because protojson stops
// at the first problem and takes spellings that the schema in a cluster does not: snake_case names, numbers in quotes,
// enumeration values by number.
func (o *object) decodeProto(m proto.Message) Problems {
	p := protoChecker{object: o}
	p.message(o.spec, "spec", m.ProtoReflect().Descriptor())
	if len(p.problems) > 0 {
		return p.problems
	}
	if err := protojson.Unmarshal(o.encode(o.spec, nil), m); err != nil {
		return Problems{o.problem("spec", "%v", err)}
	}
	return nil
}

type protoChecker struct {
	*object
	problems Problems
}

func (p *protoChecker) add(field, format string, args ...any) {
	p.problems = append(p.problems, p.problem(field, format, args...))
}

func (p *protoChecker) message(n *yaml.Node, path string, d protoreflect.MessageDescriptor) {
	if !p.is(n, path, yaml.MappingNode, "a map") {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name, value := n.Content[i].Value, n.Content[i+1]
		at := join(path, name)
		f := d.Fields().ByJSONName(name)
		if f == nil {
			p.add(at, "unknown field")
			continue
		}
		p.field(value, at, f)
	}
}

func (p *protoChecker) field(n *yaml.Node, path string, f protoreflect.FieldDescriptor) {
	switch {
	case f.IsMap():
		if !p.is(n, path, yaml.MappingNode, "a map") {
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			p.single(n.Content[i+1], join(path, n.Content[i].Value), f.MapValue())
		}
	case f.IsList():
		if !p.is(n, path, yaml.SequenceNode, "a list") {
			return
		}
		for i, e := range n.Content {
			p.single(e, fmt.Sprintf("%s[%d]", path, i), f)
		}
	default:
		p.single(n, path, f)
	}
}

// single checks one value. The kinds of Istio's that are read here have texts, whole numbers, enumerations and messages.
func (p *protoChecker) single(n *yaml.Node, path string, f protoreflect.FieldDescriptor) {
	if f.Kind() == protoreflect.MessageKind {
		p.message(n, path, f.Message())
		return
	}
	text := n.Kind == yaml.ScalarNode && p.json[n].Kind() == '"'
	switch f.Kind() {
	case protoreflect.StringKind:
		if !text {
			p.add(path, "must be text, not %s", p.kind(n))
		}
	case protoreflect.EnumKind:
		if !text || f.Enum().Values().ByName(protoreflect.Name(n.Value)) == nil {
			p.add(path, "must be one of %s", valueNames(f.Enum()))
		}
	default:
		if _, err := strconv.ParseUint(n.Value, 10, 32); err != nil || text || n.Kind != yaml.ScalarNode {
			p.add(path, "must be a whole number from 0 to 4294967295, not %s", p.kind(n))
		}
	}
}

func (p *protoChecker) is(n *yaml.Node, path string, kind yaml.Kind, want string) bool {
	if n.Kind == kind {
		return true
	}
	p.add(path, "must be %s, not %s", want, p.kind(n))
	return false
}

// kind says in plain words what a node is; a number is given as it is written.
func (p *protoChecker) kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return got('{')
	case yaml.SequenceNode:
		return got('[')
	}
	if k := p.json[n].Kind(); k != '0' {
		return got(k)
	}
	return clip(n.Value)
}

func valueNames(e protoreflect.EnumDescriptor) string {
	names := make([]string, e.Values().Len())
	for i := range names {
		names[i] = string(e.Values().Get(i).Name())
	}
	return strings.Join(names, ", ")
}
