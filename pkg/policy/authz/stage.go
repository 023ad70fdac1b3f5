package authz

import (
	"context"
	"fmt"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
)

// Stage judges calls by the policies attached to one service. It is immutable and safe for concurrent use.
type Stage struct {
	deny, approve, allow *phase
	noted                []*Policy // AUDIT and dry runs
	uris                 bool      // some enforced policy compares beginnings or ends of resource URIs
}

var _ policy.ReplyStage = (*Stage)(nil)

// New returns a stage of the policies attached to one service. A call that is not allowed only because its token lacks scopes which
// are askable is refused with scope_missing and those scopes; without any, it is refused like every other.
func New(policies []*Policy, askable ...string) *Stage {
	by := make(map[v1alpha1.Action][]*Policy) // those with CUSTOM are asked for what they concern by another stage
	s := &Stage{}
	for _, p := range policies {
		if p.dryRun || p.action == v1alpha1.Audit {
			s.noted = append(s.noted, p)
			continue
		}
		by[p.action] = append(by[p.action], p)
		s.uris = s.uris || p.uris
	}
	s.deny, s.approve, s.allow = newPhase(by[v1alpha1.Deny]), newPhase(by[v1alpha1.RequireApproval]), newPhase(by[v1alpha1.Allow])
	s.allow.askable = askable
	return s
}

// Name implements policy.Stage.
func (s *Stage) Name() string { return "authz" }

// Inspect implements policy.Stage. It never returns an error: whatever cannot be decided is a denial that names its rule.
func (s *Stage) Inspect(ctx context.Context, c *call.Call) (policy.Verdict, error) {
	j := newJudgment(ctx, c)
	defer j.release()
	s.note(j)
	v := s.judge(j)
	v.Notes = j.notes
	return v, nil
}

// judge asks the phases in their fixed order.
func (s *Stage) judge(j *judgment) policy.Verdict {
	if j.c.Direction == call.ToClient {
		return s.judgeAsked(j)
	}
	if v := s.judgeURI(j); v.Action == policy.Deny {
		return v
	}
	if v := s.deny.refuse(j, call.EntitlementDenied, false); v.Action == policy.Deny {
		return v
	}
	if v := s.approve.refuse(j, call.ApprovalRequired, false); v.Action == policy.Deny {
		return v
	}
	return s.allow.permit(j)
}

// judgeAsked judges what the server asks of the client (sampling, elicitation, roots). ALLOW policies say who may use the
// server; they do not say what it may ask, so that only a rule which names the method counts.
func (s *Stage) judgeAsked(j *judgment) policy.Verdict {
	if v := s.deny.refuse(j, call.EntitlementDenied, true); v.Action == policy.Deny {
		return v
	}
	if v := s.approve.refuse(j, call.ApprovalRequired, true); v.Action == policy.Deny {
		return v
	}
	return policy.Verdict{Action: policy.Pass, Reason: "the server asks, and no DENY rule names the method"}
}

// judgeURI refuses a resource whose URI can be read in two ways while any policy compares parts of URIs.
func (s *Stage) judgeURI(j *judgment) policy.Verdict {
	if !s.uris || j.mode == lifecycle || j.kind() != call.Resource {
		return policy.Verdict{}
	}
	if why := ambiguousURI(j.c.Target.Name); why != "" {
		return policy.Verdict{Action: policy.Deny, Code: call.Ambiguous,
			Reason: "the resource URI can be read in two ways while a policy compares a prefix or suffix of URIs: " + why}
	}
	return policy.Verdict{}
}

// refuse returns a denial if any rule matches; asked restricts it to rules that name the method.
func (p *phase) refuse(j *judgment, code call.Code, asked bool) policy.Verdict {
	j.against = true
	for w := p.walk(j); ; {
		at, ok := w.step()
		if !ok {
			return policy.Verdict{}
		}
		e := p.entries[at]
		if asked && !e.rule.namesMethod || e.rule.match(j) != yes {
			continue
		}
		v := policy.Verdict{Action: policy.Deny, Code: code, Policy: e.policy.name, Rule: e.rule.name}
		switch {
		case j.err != nil:
			v.Code = call.PolicyError
			v.Reason = fmt.Sprintf("a %s rule could not be evaluated, which counts as a match: %v", e.policy.action, j.err)
		case j.twin != "":
			v.Code = call.Ambiguous
			v.Reason = fmt.Sprintf("the argument %q that a %s rule asks for is there in another case", j.twin, e.policy.action)
		default:
			v.Reason = fmt.Sprintf("a %s rule matches %s", e.policy.action, describe(j))
		}
		if code == call.ApprovalRequired && v.Code == code {
			v.Reason += "; there is no way to approve yet, so it is refused"
		}
		return v
	}
}

// permit passes what an ALLOW rule matches and, if there is no ALLOW policy at all, everything.
func (p *phase) permit(j *judgment) policy.Verdict {
	if p.policies == 0 {
		return policy.Verdict{Action: policy.Pass, Reason: "no ALLOW policy applies, and no other rule matches"}
	}
	j.against = false
	twin := ""
	for w := p.walk(j); ; {
		at, ok := w.step()
		if !ok {
			break
		}
		e := p.entries[at]
		if e.rule.match(j) != no {
			return policy.Verdict{Action: policy.Pass, Policy: e.policy.name, Rule: e.rule.name, Reason: "an ALLOW rule matches"}
		}
		if j.err != nil {
			j.note("error", e.policy, e.rule.name, "an ALLOW rule could not be evaluated, which counts as no match: "+j.err.Error())
		}
		if j.twin != "" {
			twin = j.twin
		}
	}
	if v := p.stepUp(j); v.Action == policy.Deny {
		return v
	}
	return p.refusal(j, twin)
}

// refusal explains that nothing was allowed.
func (p *phase) refusal(j *judgment, twin string) policy.Verdict {
	if j.quiet {
		return policy.Verdict{Action: policy.Deny, Code: call.EntitlementDenied}
	}
	if twin != "" {
		return policy.Verdict{Action: policy.Deny, Code: call.Ambiguous,
			Reason: fmt.Sprintf("the argument %q that an ALLOW rule asks for is there in another case", twin)}
	}
	apply := "1 ALLOW policy applies"
	if p.policies > 1 {
		apply = fmt.Sprintf("%d ALLOW policies apply", p.policies)
	}
	return policy.Verdict{Action: policy.Deny, Code: call.EntitlementDenied,
		Reason: fmt.Sprintf("no ALLOW rule matched %s; %s", describe(j), apply)}
}

// note evaluates what is recorded and not applied.
func (s *Stage) note(j *judgment) {
	for _, p := range s.noted {
		j.against = p.against()
		matched := false
		for i := range p.rules {
			r := &p.rules[i]
			if j.c.Direction == call.ToClient && !r.namesMethod {
				continue
			}
			t := r.match(j)
			if j.err != nil {
				j.note("error", p, r.name, j.err.Error())
			}
			if matched = t == yes || t == open && !j.against; matched {
				j.note(noteOf(p), p, r.name, noteText(p))
				break
			}
		}
		if !matched && p.action == v1alpha1.Allow && j.c.Direction != call.ToClient {
			j.note(noteOf(p), p, "", "as an ALLOW policy it would not let this call pass: no rule matched")
		}
	}
}

func noteOf(p *Policy) string {
	if p.dryRun {
		return "dry-run"
	}
	return "audit"
}

func noteText(p *Policy) string {
	switch p.action {
	case v1alpha1.Allow:
		return "as an ALLOW policy it would let this call pass"
	case v1alpha1.Deny:
		return "as a DENY policy it would refuse this call"
	case v1alpha1.RequireApproval:
		return "as a REQUIRE_APPROVAL policy it would hold this call"
	case v1alpha1.Custom:
		return "as a CUSTOM policy it would ask the external authorization service about this call"
	}
	return "an AUDIT rule matches"
}

// describe says which call it is, for the operator. The names are the peer's, so that they are escaped and cut.
func describe(j *judgment) string {
	c := j.c
	who := j.principal()
	if who == "" {
		who = "an unknown caller"
	}
	switch {
	case c.Protocol == call.TCP:
		return "a raw connection from " + who
	case c.Target.Kind != call.None:
		return fmt.Sprintf("%q of the %s %q by %s", clip(c.Method), c.Target.Kind, clip(c.Target.Name), who)
	}
	return fmt.Sprintf("%q by %s", clip(c.Method), who)
}

func clip(s string) string {
	if len(s) > 128 {
		return s[:128] + "…"
	}
	return s
}
