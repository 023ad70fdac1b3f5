package config

import (
	"encoding/json/jsontext"
	"fmt"
	"iter"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

var identifier = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// join appends the name of a member to a path: a.b for plain names, a[b/c.d] for all others.
func join(path, name string) string {
	switch {
	case !identifier.MatchString(name):
		return path + "[" + clip(name) + "]"
	case path == "":
		return name
	}
	return path + "." + name
}

// maxField bounds a path inside a message, in bytes.
const maxField = 300

func bounded(field string) string {
	return cut(field, maxField)
}

// maxWord bounds one word of a file inside a message, in bytes.
const maxWord = 200

// clip bounds a word and quotes it if it holds what a terminal should not see.
func clip(s string) string {
	s = cut(s, maxWord)
	if strconv.Quote(s) != `"`+s+`"` {
		return strconv.Quote(s)
	}
	return s
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// locate finds the line and column of a path, or of the nearest thing above it that exists.
func (d *document) locate(path string) (line, column int) {
	n := d.root
	line, column = n.Line, n.Column
	for name := range steps(path) {
		at, next := child(n, name)
		if next == nil {
			break
		}
		line, column, n = at.Line, at.Column, next
	}
	return line, column
}

// steps takes a path such as spec.rules[0].when[1] apart.
func steps(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for rest := path; rest != ""; {
			var name string
			if inner, ok := strings.CutPrefix(rest, "["); ok {
				name, rest, _ = strings.Cut(inner, "]")
			} else if i := strings.IndexAny(rest, ".["); i >= 0 {
				name, rest = rest[:i], rest[i:]
			} else {
				name, rest = rest, ""
			}
			rest = strings.TrimPrefix(rest, ".")
			if !yield(name) {
				return
			}
		}
	}
}

// child finds a member by its name, or an element by its index. at is where a reader would look for it: the key of a
// member.
func child(n *yaml.Node, name string) (at, value *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == name {
				return n.Content[i], n.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i], n.Content[i]
		}
	}
	return nil, nil
}

// pointed follows a JSON pointer into the tree from n, whose encoding left out the nodes in skip, and returns the path and
// the node of what it points to, as far as that exists.
func pointed(n *yaml.Node, path string, p jsontext.Pointer, skip map[*yaml.Node]bool) (string, *yaml.Node) {
	for token := range p.Tokens() {
		var next *yaml.Node
		if n.Kind == yaml.SequenceNode {
			i, _ := strconv.Atoi(token)
			i = unskipped(n.Content, i, skip)
			path += fmt.Sprintf("[%d]", i)
			_, next = child(n, strconv.Itoa(i))
		} else {
			path = join(path, token)
			_, next = child(n, token)
		}
		if next == nil {
			break
		}
		n = next
	}
	return path, n
}

// unskipped returns the index that the i-th element had before others were left out.
func unskipped(elements []*yaml.Node, i int, skip map[*yaml.Node]bool) int {
	for at, e := range elements {
		if skip[e] {
			continue
		}
		if i == 0 {
			return at
		}
		i--
	}
	return len(elements)
}
