package authz

import (
	"context"
	"net/netip"
	"sync"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
)

// mode says which parts of a rule can be decided for the call at hand.
type mode uint8

const (
	using     mode = iota // everything is known
	lifecycle             // a List or Plumbing call: what it leads to is open
	showing               // an entry of a list: the arguments are open
)

// maxNotes bounds what one call can add to the audit record.
const maxNotes = 32

// judgment is the state of judging one call. It caches what several rules ask for, and it is used by one goroutine.
type judgment struct {
	ctx     context.Context
	c       *call.Call
	mode    mode
	against bool // the rule at hand speaks against the caller: everything but ALLOW
	err     error
	twin    string // JSON pointer of an argument that is there in two spellings, as the rule at hand found
	notes   []policy.Note
	quiet   bool // no notes: entries of a list would repeat them
	step    stepUp

	name    string // the principal without its scheme
	lookup  []found
	facts   facts
	details details
}

// found is the cached answer for one JSON pointer.
type found struct {
	pointer string
	value   argumentValue
}

var judgments = sync.Pool{New: func() any { return new(judgment) }}

func newJudgment(ctx context.Context, c *call.Call) *judgment {
	j := judgments.Get().(*judgment)
	j.ctx, j.c, j.mode = ctx, c, modeOf(c)
	j.facts.j = j
	return j
}

// release gives j back. Nothing of the call stays behind in it.
func (j *judgment) release() {
	clear(j.lookup)
	j.facts.forget()
	*j = judgment{lookup: j.lookup[:0], step: stepUp{needed: j.step.needed[:0]}, facts: facts{language: j.facts.language, boxed: j.facts.boxed}}
	judgments.Put(j)
}

func modeOf(c *call.Call) mode {
	agent := c.Protocol == call.MCP || c.Protocol == call.A2A
	if agent && (c.Intent == call.List || c.Intent == call.Plumbing) {
		return lifecycle
	}
	return using
}

// blind reports whether the call is a raw connection, of which nothing above TCP is known.
func (j *judgment) blind() bool { return j.c.Protocol == call.TCP }

// unseen is the answer of a part that asks what a raw connection does not show: Istio drops such a part from a DENY rule
// and such a rule from an ALLOW policy (contract ambient 6.3), both against the caller.
func (j *judgment) unseen() truth { return truthOf(j.against) }

// undecided is the answer of a part that cannot be decided although the call is complete.
func (j *judgment) undecided() truth { return truthOf(j.against) }

// unsaid is the answer of a part about what a lifecycle call leads to. In a rule against the caller it is no: such a rule
// is applied when the tool is called, and cuts the list until then.
func (j *judgment) unsaid() truth {
	if j.against || j.c.Protocol != call.MCP {
		return no
	}
	return open
}

// principal returns the caller's identity as Istio writes it, without the scheme; "" for nobody.
func (j *judgment) principal() string {
	if j.name == "" && !j.c.Principal.IsZero() {
		j.name = j.c.Principal.String()[len(spiffeScheme):]
	}
	return j.name
}

// kind returns the kind of target for which rules speak of the call's: a skill is a resource to them, because it is read by
// its URI like one (contract mcp-a2a section 5).
func (j *judgment) kind() call.Kind {
	if j.c.Target.Kind == call.Skill {
		return call.Resource
	}
	return j.c.Target.Kind
}

// address returns the caller's address; the zero Addr is in no block.
func (j *judgment) address() netip.Addr { return j.c.Source.Addr().Unmap().WithZone("") }

func (j *judgment) note(kind string, p *Policy, rule, text string) {
	if j.quiet || len(j.notes) >= maxNotes {
		return
	}
	j.notes = append(j.notes, policy.Note{Kind: kind, Policy: p.name, Rule: rule, Text: text})
}
