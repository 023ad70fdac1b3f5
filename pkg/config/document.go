package config

import (
	"bytes"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// document is one YAML document: a tree of maps, lists and scalars, each with one reading.
type document struct {
	file string
	root *yaml.Node
	json map[*yaml.Node]jsontext.Value // of the scalars
}

// documents reads every document of a file. Empty ones (only comments) are left out. A syntax error ends the file: what
// follows it cannot be told apart.
func documents(f file) ([]*document, Problems) {
	if problems := checkText(f); len(problems) > 0 {
		return nil, problems
	}
	var docs []*document
	var problems Problems
	dec := yaml.NewDecoder(bytes.NewReader(f.text))
	for {
		var n yaml.Node
		err := dec.Decode(&n)
		if errors.Is(err, io.EOF) {
			return docs, problems
		}
		if err != nil {
			return docs, append(problems, syntaxProblem(f.name, err))
		}
		if len(n.Content) == 0 || empty(n.Content[0]) {
			continue
		}
		d := &document{file: f.name, root: n.Content[0], json: map[*yaml.Node]jsontext.Value{}}
		if faults := d.check(); len(faults) > 0 {
			problems = append(problems, faults...)
			continue
		}
		docs = append(docs, d)
	}
}

// lineBreaks are what YAML 1.1 takes for the end of a line, and YAML 1.2 and most editors do not: what looks like a comment
// could be a field.
const lineBreaks = "\u0085\u2028\u2029"

// checkText looks at a file before it is parsed.
func checkText(f file) Problems {
	if !utf8.Valid(f.text) || bytes.Contains(f.text, []byte("\ufeff")) {
		return Problems{{File: f.name, Text: "is not UTF-8 without byte order mark"}}
	}
	if i := bytes.IndexAny(f.text, lineBreaks); i >= 0 {
		r, _ := utf8.DecodeRune(f.text[i:])
		before := f.text[:i]
		return Problems{{
			File: f.name, Line: bytes.Count(before, []byte("\n")) + 1, Column: i - bytes.LastIndexByte(before, '\n'),
			Text: fmt.Sprintf("%U ends a line for YAML 1.1 and not for YAML 1.2: write it as an escape in double quotes", r),
		}}
	}
	return nil
}

func empty(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Style == 0 && n.Value == "" && n.Anchor == ""
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?(.*)$`)

// syntaxProblem takes the line out of the parser's message, which has no other form.
func syntaxProblem(name string, err error) Problem {
	p := Problem{File: name, Text: "YAML: " + err.Error()}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		p.Text = "YAML: " + m[2]
	}
	if p.Line > 0 {
		p.Column = 1
	}
	return p
}

// check walks the tree once, and refuses what two readers could understand differently.
func (d *document) check() Problems {
	c := checker{d: d}
	c.value(d.root, "", 0)
	return c.problems
}

// title names the object of a document as far as that can be seen, whatever else is wrong with it.
func (d *document) title() string {
	kind, namespace, name := d.text("kind"), d.text("metadata.namespace"), d.text("metadata.name")
	switch {
	case kind == "":
		return ""
	case namespace == "" || name == "":
		return clip(kind)
	}
	return clip(kind) + " " + clip(namespace) + "/" + clip(name)
}

// text returns the scalar at a path, or "".
func (d *document) text(path string) string {
	n := d.root
	for name := range steps(path) {
		if _, n = child(n, name); n == nil {
			return ""
		}
	}
	if n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

type checker struct {
	d        *document
	problems Problems
}

func (c *checker) add(n *yaml.Node, field, format string, args ...any) {
	c.problems = append(c.problems, Problem{
		File: c.d.file, Line: n.Line, Column: n.Column, Object: c.d.title(), Field: bounded(field), Text: fmt.Sprintf(format, args...),
	})
}

func (c *checker) value(n *yaml.Node, field string, depth int) {
	switch {
	case n.Kind == yaml.AliasNode:
		c.add(n, field, "aliases are not allowed: write the value out")
		return
	case n.Anchor != "":
		c.add(n, field, "anchors are not allowed")
	case n.Style&yaml.TaggedStyle != 0:
		c.add(n, field, "tags are not allowed: %s", clip(n.Tag))
		return
	case depth > maxDepth:
		c.add(n, field, "more than %d maps and lists inside one another", maxDepth)
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		c.mapping(n, field, depth)
	case yaml.SequenceNode:
		for i, e := range n.Content {
			c.value(e, fmt.Sprintf("%s[%d]", field, i), depth+1)
		}
	case yaml.ScalarNode:
		v, fault := scalar(n)
		if fault != "" {
			c.add(n, field, "%s", fault)
		}
		c.d.json[n] = v
	}
}

func (c *checker) mapping(n *yaml.Node, field string, depth int) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if fault := keyFault(k); fault != "" {
			c.add(k, field, "%s", fault)
			continue
		}
		at := join(field, k.Value)
		if line, twice := seen[k.Value]; twice {
			c.add(k, at, "is given twice, first in line %d", line)
			continue
		}
		seen[k.Value] = k.Line
		c.value(v, at, depth+1)
	}
}

// keyFault says why a node cannot be the key of a map.
func keyFault(k *yaml.Node) string {
	switch {
	case k.Kind != yaml.ScalarNode:
		return "a key has to be text"
	case k.Anchor != "":
		return "anchors are not allowed"
	case k.Style&yaml.TaggedStyle != 0:
		return "tags are not allowed: " + clip(k.Tag)
	}
	if k.Value == "<<" && k.Style&styleQuoted == 0 {
		return "merge keys are not allowed: write the values out"
	}
	v, fault := scalar(k)
	switch {
	case fault != "":
		return "the key " + fault
	case v.Kind() != '"':
		return fmt.Sprintf("the key %s is no text: write it in quotes", k.Value)
	}
	return ""
}

// encode renders a value as JSON with the members of each map sorted, so that equal objects have equal bytes. The members
// and elements in skip are left out.
func (d *document) encode(n *yaml.Node, skip map[*yaml.Node]bool) jsontext.Value {
	return d.append(nil, n, skip)
}

func (d *document) append(b jsontext.Value, n *yaml.Node, skip map[*yaml.Node]bool) jsontext.Value {
	switch n.Kind {
	case yaml.MappingNode:
		members := map[string]*yaml.Node{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !skip[n.Content[i+1]] {
				members[string(d.key(n.Content[i]))] = n.Content[i+1]
			}
		}
		b = append(b, '{')
		for i, k := range slices.Sorted(maps.Keys(members)) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, k...), ':')
			b = d.append(b, members[k], skip)
		}
		return append(b, '}')
	case yaml.SequenceNode:
		b = append(b, '[')
		first := true
		for _, e := range n.Content {
			if skip[e] {
				continue
			}
			if !first {
				b = append(b, ',')
			}
			first = false
			b = d.append(b, e, skip)
		}
		return append(b, ']')
	}
	return append(b, d.json[n]...)
}

func (d *document) key(k *yaml.Node) jsontext.Value {
	v, _ := quote(k.Value)
	return v
}
