package mcp

import (
	"encoding/json/jsontext"
	"slices"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/jsonrpc"
)

// maxWants bounds what one listener names: each resource and each task costs a verdict and a record.
const maxWants = 1024

// wanted are the members of params.notifications that name something, and what.
var wanted = [...]struct {
	member string
	kind   call.Kind
	limit  int
}{{"resourceSubscriptions", call.Resource, maxURI}, {"taskIds", call.Task, maxName}}

// listenTargets reads what a listener wants to hear of. Kinds of lists name nothing. One resource or one task alone is the
// target, and refused like any other; where there is more, the rest can go on without it (contract 13.68).
func listenTargets(v jsontext.Value) (named, *paramError) {
	if v == nil {
		return named{}, nil
	}
	o, ok := jsonrpc.Members(v)
	if !ok {
		return named{}, bad("notifications is not an object")
	}
	var found []call.Target
	for _, w := range wanted {
		if o.Twin(w.member) != "" {
			return named{}, &paramError{otherCase, "a notifications member differs from a known one by case only"}
		}
		targets, err := targetList(o.Get(w.member), w.kind, w.member, w.limit)
		if err != nil {
			return named{}, err
		}
		found = append(found, targets...)
	}
	switch {
	case len(found) > maxWants:
		return named{}, bad("a subscription to too many resources and tasks")
	case len(found) == 1 && !asksForKinds(o):
		return named{target: found[0]}, nil
	}
	return named{wants: found}, nil
}

func targetList(v jsontext.Value, kind call.Kind, member string, limit int) ([]call.Target, *paramError) {
	if v == nil {
		return nil, nil
	}
	elements, ok := jsonrpc.Elements(v)
	if !ok {
		return nil, bad(member + " is not an array")
	}
	var targets []call.Target
	for _, e := range elements {
		t, err := target(jsonrpc.Object{{Name: member, Value: e.Value}}, kind, member, limit)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	return targets, nil
}

// asksForKinds reports whether a listener asks for anything that it does not name.
func asksForKinds(o jsonrpc.Object) bool {
	return slices.ContainsFunc(o, func(m jsonrpc.Member) bool {
		for _, w := range wanted {
			if m.Name == w.member {
				return false
			}
		}
		return m.Value.Kind() != 'f' && m.Value.Kind() != 'n'
	})
}

// Wants returns every resource and every task that a subscription names, each of which needs a verdict of its own. It is nil
// where Fill says it all: for a subscription to one of them and nothing else, and for every other message.
func (m *Message) Wants() []call.Target { return m.wants }

// Trim cuts what is not to be kept of Wants from what Encode returns, and reports whether the listener still asks for
// anything at all. All other bytes stay. There is one keep for each of Wants, in their order, which Trim does not change.
func (m *Message) Trim(keep []bool) (asksMore bool) {
	text := m.params.Get("notifications")
	o, _ := jsonrpc.Members(text)
	asksMore = asksForKinds(o) || slices.Contains(keep, true)
	for _, w := range wanted {
		o, _ = jsonrpc.Members(text) // the last cut moved what is behind it
		if list := o.Get(w.member); list != nil {
			var short jsontext.Value
			short, keep = keepElements(list, keep)
			text = o.Set(text, w.member, short)
		}
	}
	if len(m.wants) > 0 {
		m.text = m.rpc.WithParams(m.params.Set(m.rpc.Params, "notifications", text))
	}
	return asksMore
}

// keepElements cuts a list, and returns what is left of keep for the next one. What keep does not speak of is cut.
func keepElements(list jsontext.Value, keep []bool) (short jsontext.Value, rest []bool) {
	elements, _ := jsonrpc.Elements(list)
	var texts [][]byte
	for _, e := range elements {
		if len(keep) > 0 && keep[0] {
			texts = append(texts, e.Value)
		}
		keep = keep[min(1, len(keep)):]
	}
	if len(texts) == len(elements) {
		return list, keep
	}
	return joinArray(texts), keep
}
