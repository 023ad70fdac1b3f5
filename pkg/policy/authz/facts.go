package authz

import (
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"waymark.dev/waypoint/pkg/call"
)

// Why a variable has no value. An expression whose result depends on such a variable has that for its result: CEL's own
// unknown values carry it through, so that false && x is still false, and x || true still true.
const (
	absent  int64 = iota + 1 // the call names no such target and never will
	unsaid                   // a lifecycle call, or an entry of a list: not yet
	obscure                  // a raw connection: we cannot see
)

// facts are the variables of one call as CEL reads them. Each is boxed at most once per call.
type facts struct {
	j        *judgment
	language *language // nil until the first expression asks
	boxed    []ref.Val // by slot
}

// slot is a variable, or the presence of several.
type slot struct {
	index   int
	present bool
	of      []variable
}

// ResolveName implements cel.Activation.
func (f *facts) ResolveName(name string) (any, bool) {
	if f.language == nil {
		f.language = languageOnce()
		f.boxed = make([]ref.Val, len(f.language.slots))
	}
	s, ok := f.language.slots[name]
	if !ok {
		return nil, false
	}
	if why := f.j.why(&s.of[0]); why != 0 {
		if s.present && why == absent {
			return types.False, true
		}
		return f.language.unknown[why], true
	}
	v := f.boxed[s.index]
	if v == nil {
		if v = s.read(f.j); v == nil {
			return nil, false
		}
		f.boxed[s.index] = v
	}
	return v, true
}

// Parent implements cel.Activation.
func (f *facts) Parent() cel.Activation { return nil }

// forget empties the boxes and keeps the room.
func (f *facts) forget() { clear(f.boxed) }

// why returns why v has no value, or 0.
func (j *judgment) why(v *variable) int64 {
	switch {
	case v.domain == tunnel:
		return 0
	case j.blind():
		return obscure
	case v.domain == layer7:
		return 0
	case j.c.Protocol != call.MCP:
		return absent
	case v.domain == method:
		if j.mode == lifecycle && !j.against {
			return unsaid
		}
		return 0
	case v.domain == session:
		return 0
	case j.mode == lifecycle:
		return unsaid
	case j.kind() != v.kind:
		return absent
	case v.domain == arguments && j.mode == showing:
		return unsaid
	}
	return 0
}

// read returns the value, or for a presence whether any of its variables has one.
func (s *slot) read(j *judgment) ref.Val {
	if !s.present {
		return s.of[0].read(j)
	}
	return types.Bool(slices.ContainsFunc(s.of, func(v variable) bool {
		if v.domain == arguments { // without any, expressions read an empty map
			return j.c.Arguments != nil
		}
		got := v.read(j)
		return got != nil && got != types.String("")
	}))
}
