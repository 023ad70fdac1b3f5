package policy

import (
	"bytes"
	"context"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"time"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
)

// Stage inspects one decoded call. Implementations are safe for concurrent use and must not modify c.
type Stage interface {
	Name() string
	Inspect(ctx context.Context, c *call.Call) (Verdict, error)
}

// ReplyStage also wants to see what flows back. It may answer Pass, Rewrite (Body replaces the Reply's Body) or Deny.
type ReplyStage interface {
	Stage
	InspectReply(ctx context.Context, c *call.Call, r *call.Reply) (Verdict, error)
}

// Observer is called once per entered stage, last entered first, after everything is over.
type Observer interface {
	Stage
	Observe(ctx context.Context, o *Outcome)
}

// Action is what a verdict says. The zero value is not a verdict and denies.
type Action int

// The actions, in rising severity.
const (
	_ Action = iota
	Pass
	Rewrite
	Hold
	Deny
)

func (a Action) String() string {
	switch a {
	case Pass:
		return "pass"
	case Rewrite:
		return "rewrite"
	case Hold:
		return "hold"
	case Deny:
		return "deny"
	}
	return "none"
}

// Verdict is one stage's answer.
type Verdict struct {
	Action Action
	Code   call.Code      // stable; the only part a peer sees
	Policy string         // namespace/name of the policy that spoke, for the operator
	Rule   string         // which of its rules, for example "rules[2]"
	Reason string         // one sentence for the operator
	Ticket string         // for Hold
	Retry  time.Duration  // for Deny: when asking again may help
	Body   jsontext.Value // for Rewrite: replaces Arguments, or a Reply's Body
	Hidden int            // for Rewrite of a list: how many entries were cut
	Notes  []Note         // what else was seen and not applied: dry runs, AUDIT rules, evaluation errors

	Caller    *Caller      // for Pass and Rewrite: what a token proves; the stages that follow find it in the call
	Headers   []HeaderEdit // for Pass and Rewrite: changes to the request's header, in order; the stages that follow see them
	Challenge string       // for Deny: the value of WWW-Authenticate (RFC 9110 section 11.6.1); the peer gets status 401 or 403 with it
	Scopes    []string     // for Deny with scope_missing: all that the call needs; a Challenger makes the challenge of them
}

// Caller is what a verified token says: who is asking, and for whom.
type Caller struct {
	Claims *identity.Claims
	Chain  []identity.Hop // user first
}

// HeaderEdit is one change to the header of a request on its way to the destination.
type HeaderEdit struct {
	Name   string // in any spelling
	Remove bool   // takes away every field of that name, whatever its case and with "_" for "-"; it comes before Value
	Value  string // is added as a field if it is not empty
	Cookie string // with Remove: not the whole field Name goes, but the cookie of this name in it
}

// Note records a rule that matched without deciding.
type Note struct {
	Kind   string // "dry-run", "audit" or "error"
	Policy string
	Rule   string
	Text   string // for the operator
}

// Entry is a stage and how it is applied.
type Entry struct {
	Stage    Stage
	Shadow   bool // evaluate and record, do not apply
	Standing bool // re-check live streams when the rules change
}

// Step is what one stage said of one call.
type Step struct {
	Stage   string
	Shadow  bool
	Verdict Verdict
	Took    time.Duration
}

// maxSteps bounds the steps of one call: a stream may be re-checked and its replies shadow-judged for days.
const maxSteps = 64

// Outcome is everything that happened to one call: the audit record, the metrics, the trace and `waypoint explain` are
// renderings of it.
type Outcome struct {
	Call       *call.Call // as forwarded: a Rewrite replaced its Arguments, a stage its caller and its header
	Verdict    Verdict    // the deciding one; Pass if nobody objected
	Stage      string     // who decided; "" when everybody passed
	Steps      []Step
	Generation string // of the rules that judged
	Judged     time.Duration
	Took       time.Duration // from Received to Observe
	Rewritten  bool
	Replies    int    // reply items relayed
	Hidden     int    // list entries removed
	Backend    string // address of the endpoint that answered, "" if none did
	Status     int    // HTTP status sent to the caller; 0 for raw TCP
	Err        error  // why forwarding or relaying ended early, nil if it did not

	original *call.Call // as it came; nil means Call
	entered  []Observer
}

// Allowed reports whether the call may be forwarded.
func (o *Outcome) Allowed() bool { return o.Verdict.Action == Pass || o.Verdict.Action == Rewrite }

// Pipeline is an ordered list of stages. It is immutable and safe for concurrent use.
type Pipeline struct {
	entries    []Entry
	answerers  []Answerer
	challenges []Challenger
	generation string
	now        func() time.Time
}

// NewPipeline builds a pipeline of entries in order, for the rules of the given generation.
func NewPipeline(generation string, now func() time.Time, entries ...Entry) *Pipeline {
	p := &Pipeline{entries: entries, generation: generation, now: now}
	for _, e := range entries {
		if e.Shadow {
			continue
		}
		if a, ok := e.Stage.(Answerer); ok {
			p.answerers = append(p.answerers, a)
		}
		if a, ok := e.Stage.(Challenger); ok {
			p.challenges = append(p.challenges, a)
		}
	}
	return p
}

// Stages names the stages in order.
func (p *Pipeline) Stages() []string {
	names := make([]string, len(p.entries))
	for i, e := range p.entries {
		names[i] = e.Stage.Name()
	}
	return names
}

// Generation names the rules this pipeline was built from.
func (p *Pipeline) Generation() string { return p.generation }

// Inspect asks each stage in turn and stops at the first Hold or Deny. Every Outcome it returns must be given to Observe.
func (p *Pipeline) Inspect(ctx context.Context, c *call.Call) *Outcome {
	o := &Outcome{Call: c, original: c, Generation: p.generation, Verdict: Verdict{Action: Pass}, Steps: make([]Step, 0, len(p.entries))}
	start := p.now()
	defer func() { o.Judged = p.now().Sub(start) }()
	for i := range p.entries {
		if !p.step(ctx, o, &p.entries[i], &o.Call, true) {
			return o
		}
	}
	if o.Rewritten { // a rewrite may have made the arguments unacceptable to a rule that saw the old ones
		p.recheck(ctx, o)
	}
	return o
}

// Recheck asks the standing stages again about a call that is already under way, typically with a newer pipeline than
// the one that let it pass. It reports whether the call may go on and, if not, records why in o.
func (p *Pipeline) Recheck(ctx context.Context, o *Outcome) bool {
	o.Generation = p.generation
	return p.recheck(ctx, o)
}

// recheck begins with the call as it came, because what a stage made of its header is not for the stages that come before it.
// What the stages make of it now is for one another only: what was forwarded stays in o.
func (p *Pipeline) recheck(ctx context.Context, o *Outcome) bool {
	c := o.Call
	if o.original != nil && o.original != o.Call {
		again := *o.original
		again.Arguments = o.Call.Arguments
		c = &again
	}
	for i := range p.entries {
		if p.entries[i].Standing && !p.step(ctx, o, &p.entries[i], &c, false) {
			return false
		}
	}
	return true
}

// step shows *c to one stage, records what it says, applies that to o and *c, and reports whether to go on.
func (p *Pipeline) step(ctx context.Context, o *Outcome, e *Entry, c **call.Call, first bool) bool {
	if obs, ok := e.Stage.(Observer); ok && first {
		o.entered = append(o.entered, obs)
	}
	start := p.now()
	v := closed(inspect(ctx, e.Stage, *c))
	if !first && !e.Shadow && v.Action == Rewrite && !bytes.Equal(v.Body, (*c).Arguments) {
		v = Verdict{Action: Deny, Code: call.PolicyError, Policy: v.Policy, Rule: v.Rule, Notes: v.Notes,
			Reason: "the stage wants to rewrite a call that is already judged"}
	}
	o.record(Step{e.Stage.Name(), e.Shadow, v, p.now().Sub(start)})
	if e.Shadow {
		return true
	}
	switch v.Action {
	case Rewrite:
		next := *(*c)
		next.Arguments = v.Body
		*c = &next
		o.Rewritten = true
	case Hold, Deny:
		p.challenge(*c, &v)
		o.Verdict, o.Stage = v, e.Stage.Name()
		return false
	}
	*c = v.applied(*c)
	return true
}

// applied returns c with what the verdict says of its caller and its header. c itself stays as it is.
func (v *Verdict) applied(c *call.Call) *call.Call {
	if v.Caller == nil && len(v.Headers) == 0 {
		return c
	}
	next := *c
	if v.Caller != nil {
		next.Claims, next.Chain = v.Caller.Claims, v.Caller.Chain
	}
	if len(v.Headers) > 0 {
		next.HTTP.Header = edited(c.HTTP.Header, v.Headers)
	}
	return &next
}

// record keeps the first steps of a call; what decides is in o.Verdict anyway.
func (o *Outcome) record(s Step) {
	if len(o.Steps) < maxSteps {
		o.Steps = append(o.Steps, s)
	}
}

// InspectReply shows one reply to each ReplyStage in order and returns what to do with it: Pass, Rewrite with the final
// Body, or Deny. The reply's Body and Items are those of the first stage's input; a stage after a Rewrite sees the new
// Body without Items. What was not a Pass is a step of the outcome, a shadow's included.
func (p *Pipeline) InspectReply(ctx context.Context, o *Outcome, r *call.Reply) Verdict {
	o.Replies++
	out := Verdict{Action: Pass}
	for i := range p.entries {
		s, ok := p.entries[i].Stage.(ReplyStage)
		if !ok {
			continue
		}
		start := p.now()
		v := closed(inspectReply(ctx, s, o.Call, r))
		if v.Action != Pass {
			o.record(Step{s.Name(), p.entries[i].Shadow, v, p.now().Sub(start)})
		}
		if p.entries[i].Shadow {
			continue
		}
		switch v.Action {
		case Rewrite:
			next := *r
			next.Body, next.Items = v.Body, nil
			r, out = &next, v
			o.Hidden += v.Hidden
		case Hold, Deny:
			v.Action = Deny
			o.Verdict, o.Stage = v, s.Name()
			return v
		}
	}
	return out
}

// Observe tells every entered stage, last entered first, that the call is over. Call it exactly once per Outcome.
func (p *Pipeline) Observe(ctx context.Context, o *Outcome) {
	o.Took = p.now().Sub(o.Call.Received)
	entered := o.entered
	o.entered = nil
	for i := len(entered) - 1; i >= 0; i-- {
		observe(ctx, entered[i], o)
	}
}

// observe keeps a panic in one observer from those that have yet to see the outcome; they find it in o.Err.
func observe(ctx context.Context, s Observer, o *Outcome) {
	defer func() {
		if r := recover(); r != nil {
			o.Err = errors.Join(o.Err, fmt.Errorf("policy: stage %s panicked in Observe: %v", s.Name(), r))
		}
	}()
	s.Observe(ctx, o)
}

// closed turns whatever is not a verdict into a denial.
func closed(v Verdict, err error) Verdict {
	if err != nil {
		return Verdict{Action: Deny, Code: call.PolicyError, Reason: err.Error(), Policy: v.Policy, Rule: v.Rule, Notes: v.Notes}
	}
	switch v.Action {
	case Pass:
		return v
	case Rewrite:
		if v.Body == nil {
			return Verdict{Action: Deny, Code: call.PolicyError, Reason: "the stage rewrote without a body", Notes: v.Notes}
		}
		return v
	case Hold, Deny:
		if v.Code == "" {
			v.Code = call.PolicyError
		}
		return v
	}
	return Verdict{Action: Deny, Code: call.PolicyError, Reason: "the stage gave no verdict", Notes: v.Notes}
}

func inspect(ctx context.Context, s Stage, c *call.Call) (v Verdict, err error) {
	defer recovered(&v, &err)
	return s.Inspect(ctx, c)
}

func inspectReply(ctx context.Context, s ReplyStage, c *call.Call, r *call.Reply) (v Verdict, err error) {
	defer recovered(&v, &err)
	return s.InspectReply(ctx, c, r)
}

// recovered keeps a panic in one stage from ending the process: it is that stage's denial.
func recovered(v *Verdict, err *error) {
	if r := recover(); r != nil {
		*v, *err = Verdict{}, fmt.Errorf("policy: stage panicked: %v", r)
	}
}
