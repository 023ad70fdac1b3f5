package mcpmatrix

import (
	"slices"
	"strings"
)

// place is where a member stands: it decides what a twin of it means.
type place int

const (
	envelope  place = iota + 1 // jsonrpc, id, method, …
	parameter                  // of params
	metadata                   // a member of _meta that everybody needs
	reference                  // of params.ref
	wanted                     // of params.notifications of a listener
	fault                      // of error
	outcome                    // of result, and judged
	entry                      // of an entry of a list: what names it
	anyOf                      // a name that its peer chose, of something that is judged
	free                       // data that some tool or peer defines; its names are its own
)

// meaning is what a member's string is to us.
type meaning int

const (
	opaque   meaning = iota // nothing: it is carried
	marker                  // jsonrpc
	identity                // id
	method
	target // what a policy judges by name
	kind   // which of several things the target is
	revision
)

// node is one member of a message, and what it holds.
type node struct {
	name  string
	raw   string  // the text of a value that is no object
	kids  []*node // of an object or array; nil if raw
	array bool
	place place
	means meaning
	nests bool // may nest as deep as free data may
}

func leaf(p place, name, raw string) *node { return &node{name: name, raw: raw, place: p} }

func (n *node) mean(m meaning) *node {
	n.means = m
	return n
}

// nesting marks all that n holds as data that may nest.
func (n *node) nesting() *node {
	n.all(func(k *node) { k.nests = true })
	return n
}

func object(p place, name string, kids ...*node) *node {
	return &node{name: name, kids: slices.DeleteFunc(kids, func(k *node) bool { return k == nil }), place: p}
}

func array(p place, name string, elements ...*node) *node {
	return &node{name: name, kids: elements, array: true, place: p}
}

// text is the member's value, with the member at spelled as given.
func (n *node) text(at *node, spelled string) string {
	if n.raw != "" {
		return n.raw
	}
	parts := make([]string, len(n.kids))
	for i, k := range n.kids {
		parts[i] = k.member(at, spelled)
		if n.array {
			parts[i] = k.text(at, spelled)
		}
	}
	if n.array {
		return "[" + strings.Join(parts, ",") + "]"
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func (n *node) member(at *node, spelled string) string {
	if n == at {
		return spelled
	}
	return pair(n.name, n.text(at, spelled))
}

func pair(name, value string) string { return `"` + name + `":` + value }

// all yields every member below n. Elements of arrays are no members.
func (n *node) all(yield func(*node)) {
	for _, k := range n.kids {
		if !n.array {
			yield(k)
		}
		k.all(yield)
	}
}

// isString reports whether the member's value is a string.
func (n *node) isString() bool { return strings.HasPrefix(n.raw, `"`) }

// other is another value of the same type: what a server must not run in place of the one that was judged.
func (n *node) other() string {
	switch {
	case n.array:
		return `[{"name":"smuggled","uri":"smuggled:","uriTemplate":"smuggled:"}]`
	case n.kids != nil:
		return `{"smuggled":1}`
	case n.isString():
		return `"smuggled"`
	case strings.HasPrefix(n.raw, "["):
		return `["smuggled"]`
	}
	return "666"
}

// within puts text behind the first byte of a string's content.
func (n *node) within(text string) string { return n.raw[:len(n.raw)-1] + text + `"` }
