package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/policy"
)

// answer is what explain says, as text or as JSON.
type answer struct {
	Allowed    bool      `json:"allowed"`
	Code       call.Code `json:"code,omitempty"`   // why not
	Stage      string    `json:"stage,omitempty"`  // who refused
	Policy     string    `json:"policy,omitempty"` // namespace/name of the policy that decided
	Rule       string    `json:"rule,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Caller     string    `json:"caller"`
	Service    string    `json:"service,omitempty"`
	Port       uint16    `json:"port,omitzero"`
	Protocol   string    `json:"protocol,omitempty"` // as the port declares it
	Mode       string    `json:"mode,omitempty"`
	Call       string    `json:"call,omitempty"`
	Generation string    `json:"generation"`
	Steps      []step    `json:"steps"`
	Answer     string    `json:"answer,omitempty"` // what the caller gets, if that is an MCP refusal
	Note       string    `json:"note,omitempty"`
}

// step is one stage's verdict.
type step struct {
	Stage   string    `json:"stage"`
	Verdict string    `json:"verdict"`
	Code    call.Code `json:"code,omitempty"`
	Policy  string    `json:"policy,omitempty"`
	Rule    string    `json:"rule,omitempty"`
	Reason  string    `json:"reason,omitempty"`
	Shadow  bool      `json:"shadow,omitzero"`
	Notes   []string  `json:"notes,omitempty"`
}

// judge runs the pipeline over a call that could be read, as the proxy does.
func (a *answer) judge(ctx context.Context, p *policy.Pipeline, dest *mesh.Destination, b *built) {
	a.Call = b.describe()
	if b.refusal != nil {
		a.refusedAt("decode", policy.Verdict{Code: b.refusal.Code, Reason: b.refusal.Reason})
		a.Answer = rendered(b.refusal)
		p.Observe(ctx, p.Refused(b.call, policy.Verdict{Code: b.refusal.Code, Reason: b.refusal.Reason}))
		return
	}
	o := p.Inspect(ctx, b.call)
	p.Observe(ctx, o)
	for _, s := range o.Steps {
		a.Steps = append(a.Steps, stepOf(s))
	}
	a.Allowed, a.Stage = o.Allowed(), o.Stage
	a.Code, a.Policy, a.Rule, a.Reason = o.Verdict.Code, o.Verdict.Policy, o.Verdict.Rule, o.Verdict.Reason
	switch {
	case a.Allowed:
		a.allowedBy(o)
	case dest.Mode == mesh.Observe && b.call.Protocol != call.TCP:
		a.Allowed = true
		a.Note = "the port only observes: what the stages refuse is recorded and passes"
	case b.message != nil:
		a.Answer = rendered(b.message.Deny(mcp.Denial{Code: o.Verdict.Code, Retry: o.Verdict.Retry, Ticket: o.Verdict.Ticket}))
	}
}

// allowedBy names the rule that let the call pass: the last stage that named one.
func (a *answer) allowedBy(o *policy.Outcome) {
	for _, s := range o.Steps {
		if s.Verdict.Reason != "" && !s.Shadow {
			a.Policy, a.Rule, a.Reason = s.Verdict.Policy, s.Verdict.Rule, s.Verdict.Reason
		}
	}
	if o.Call.Intent == call.List && o.Call.Protocol == call.MCP {
		a.Note = "the answer will show only what this caller may use"
	}
}

func (a *answer) refusedAt(stage string, v policy.Verdict) {
	a.Stage, a.Code, a.Reason = stage, v.Code, v.Reason
	a.Steps = append(a.Steps, step{Stage: stage, Verdict: policy.Deny.String(), Code: v.Code, Reason: v.Reason})
}

// unresolved says what becomes of a tunnel that leads nowhere; every other error is a mistake in the question.
func (a *answer) unresolved(err error) error {
	for _, refused := range []error{mesh.ErrAuthority, mesh.ErrNotAttached, mesh.ErrUnknownPort, mesh.ErrOwnPort} {
		if errors.Is(err, refused) {
			a.refusedAt("tunnel", policy.Verdict{Reason: err.Error()})
			return nil
		}
	}
	return err
}

func stepOf(s policy.Step) step {
	v := s.Verdict
	out := step{Stage: s.Stage, Verdict: v.Action.String(), Code: v.Code, Policy: v.Policy, Rule: v.Rule, Reason: v.Reason, Shadow: s.Shadow}
	for _, n := range v.Notes {
		out.Notes = append(out.Notes, n.Kind+": "+decider(n.Policy, n.Rule)+": "+n.Text)
	}
	return out
}

func decider(policy, rule string) string { return strings.TrimSpace(policy + " " + rule) }

func rendered(r *mcp.Response) string {
	return strings.TrimSpace(fmt.Sprintf("HTTP %d %s", r.Status, r.Body))
}

// describe names a call in one line.
func (b *built) describe() string {
	c := b.call
	text := string(c.Protocol) + " " + c.Method
	if c.Method == "" {
		text = string(c.Protocol) + " " + b.asked
	}
	if c.Target.Kind != call.None {
		text += fmt.Sprintf(" %s %q", c.Target.Kind, c.Target.Name)
	}
	if c.Protocol == call.HTTP {
		text += fmt.Sprintf(" %q", c.HTTP.Path)
	}
	return strings.TrimSpace(text)
}

func (a *answer) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "caller\t%s\n", a.Caller)
	if a.Service != "" {
		fmt.Fprintf(t, "service\t%s port %d (%s, %s)\n", a.Service, a.Port, a.Protocol, a.Mode)
		fmt.Fprintf(t, "call\t%s\n", a.Call)
	}
	fmt.Fprintf(t, "rules\tgeneration %s\n", a.Generation)
	for _, s := range a.Steps {
		fmt.Fprintf(t, "%s\t%s\n", s.Stage, s.text())
		for _, n := range s.Notes {
			fmt.Fprintf(t, "\tnote: %q\n", n)
		}
	}
	if a.Answer != "" {
		fmt.Fprintf(t, "answer\t%s\n", a.Answer)
	}
	if a.Note != "" {
		fmt.Fprintf(t, "note\t%s\n", a.Note)
	}
	_ = t.Flush()
	fmt.Fprintln(w, a.verdict())
}

func (s step) text() string {
	text := s.Verdict
	if s.Shadow {
		text += " (shadow)"
	}
	if s.Code != "" {
		text += " " + string(s.Code)
	}
	if by := decider(s.Policy, s.Rule); by != "" {
		text += " by " + by
	}
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	return text
}

// verdict is the last line: the answer in short.
func (a *answer) verdict() string {
	text := "allowed"
	if !a.Allowed {
		text = "refused"
		if a.Code != "" {
			text += ": " + string(a.Code)
		}
	}
	if by := decider(a.Policy, a.Rule); by != "" && !(a.Allowed && a.Code != "") {
		text += " by " + by
	}
	return text
}
