package mcp

import (
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
)

// lists are the arrays by which a list result is known, and where an entry is named.
var lists = [...]struct {
	member string
	kind   call.Kind
	name   string
}{
	{"tools", call.Tool, "name"},
	{"prompts", call.Prompt, "name"},
	{"resources", call.Resource, "uri"},
	{"resourceTemplates", call.Resource, "uriTemplate"},
	{"skills", call.Skill, "uri"},
}

// items returns the entries of a list result, nil for any other. A result is a list if the request asked for one, or, where
// the answer cannot be mapped to a request (a resumed stream), if it has the shape of one: a list must not slip past because
// nobody remembers who asked.
func (m *Message) items(o jsonrpc.Object) (items []call.Item, err error) {
	for _, l := range lists {
		if m.answered() && m.method.list != l.member {
			continue
		}
		if o.Twin(l.member) != "" {
			return nil, faulty("a result member differs from %s by case only", l.member)
		}
		list := o.Find(l.member)
		if list == nil {
			continue
		}
		elements, ok := jsonrpc.Elements(list.Value)
		switch {
		case items != nil:
			return nil, faulty("a result with two lists")
		case !ok && m.answered():
			return nil, faulty("%s is not an array", l.member)
		case !ok: // some other result; no client reads a list out of it
			continue
		}
		items = entries(elements, list.Start, l.kind, l.name)
	}
	return items, nil
}

// entries names the elements of a list that begins at offset base. Two may have one name: it gets one verdict, so that a client
// sees both or neither (contract 13.113).
func entries(elements []jsonrpc.Member, base int, kind call.Kind, member string) []call.Item {
	items := make([]call.Item, len(elements))
	for i, e := range elements {
		it := &items[i]
		it.Start, it.End = base+e.Start, base+e.End
		it.Target.Kind = kind
		o, _ := jsonrpc.Members(e.Value)
		name, ok := o.String(member)
		if !ok || o.Twin(member) != "" || strings.ContainsRune(name, 0) { // where some readers stop
			it.Faulty = true
			continue
		}
		it.Target.Name = name
	}
	return items
}
