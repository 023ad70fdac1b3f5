package authz

import (
	"waymark.dev/waypoint/pkg/call"
)

// entry is one rule of one policy.
type entry struct {
	policy *Policy
	rule   *rule
}

// phase is the rules of every policy with one action, in order. A rule that can only match calls of certain tools is found
// by the tool's name, so that a hundred policies about other tools cost nothing.
type phase struct {
	policies int
	entries  []entry
	byTool   map[string][]int // positions in entries
	rest     []int
	askable  []string // scopes that a caller may be told it needs
}

func newPhase(policies []*Policy) *phase {
	p := &phase{policies: len(policies), byTool: make(map[string][]int)}
	for _, policy := range policies {
		for i := range policy.rules {
			p.add(entry{policy, &policy.rules[i]})
		}
	}
	return p
}

func (p *phase) add(e entry) {
	at := len(p.entries)
	p.entries = append(p.entries, e)
	tools, ok := e.rule.tools()
	if !ok {
		p.rest = append(p.rest, at)
		return
	}
	for tool := range tools {
		p.byTool[tool] = append(p.byTool[tool], at)
	}
}

// tools returns the only tools whose calls r can match, if each of its operations names tools exactly.
func (r *rule) tools() (map[string]struct{}, bool) {
	all := make(map[string]struct{})
	for i := range r.to {
		o := &r.to[i]
		if o.kind != call.Tool || !o.targets.finite() {
			return nil, false
		}
		for tool := range o.targets.exact {
			all[tool] = struct{}{}
		}
	}
	return all, r.to != nil
}

// candidates returns the positions of the rules that may match, in two ascending lists. A raw connection and a lifecycle
// call name no tool, and a rule about tools may still speak of them.
func (p *phase) candidates(j *judgment) (a, b []int, all bool) {
	if j.blind() || j.mode == lifecycle {
		return nil, nil, true
	}
	if j.c.Target.Kind == call.Tool {
		return p.rest, p.byTool[j.c.Target.Name], false
	}
	return p.rest, nil, false
}

// walk goes through the candidates in order.
type walk struct {
	a, b []int
	next int // position, if all are candidates
	end  int
}

func (p *phase) walk(j *judgment) walk {
	a, b, all := p.candidates(j)
	w := walk{a: a, b: b}
	if all {
		w.end = len(p.entries)
	}
	return w
}

// step returns the next position, or false at the end.
func (w *walk) step() (int, bool) {
	switch {
	case w.next < w.end:
		w.next++
		return w.next - 1, true
	case len(w.a) == 0 && len(w.b) == 0:
		return 0, false
	case len(w.b) == 0 || len(w.a) > 0 && w.a[0] < w.b[0]:
		at := w.a[0]
		w.a = w.a[1:]
		return at, true
	}
	at := w.b[0]
	w.b = w.b[1:]
	return at, true
}
