package authz

import (
	"fmt"
	"slices"
	"strings"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
)

// stepUp is the question which scopes would make an ALLOW rule match (contract mcp-a2a 9.1). While it is asked, the token counts
// as having every scope that callers may ask for.
type stepUp struct {
	askable []string // nil: the question is not asked
	needed  []string // by the rule at hand, those that the token has included
	missing bool     // one of them
}

// wants notes that the rule at hand asks for a scope, and reports whether that is to count as there.
func (j *judgment) wants(scope string, has bool) bool {
	if j.step.askable == nil || !has && !slices.Contains(j.step.askable, scope) {
		return false
	}
	if !slices.Contains(j.step.needed, scope) {
		j.step.needed = append(j.step.needed, scope)
	}
	j.step.missing = j.step.missing || !has
	return true
}

// stepUp is the refusal of a call that an ALLOW rule would let pass if its token had more scope, or nothing. The first such rule is
// the one that speaks.
func (p *phase) stepUp(j *judgment) policy.Verdict {
	if len(p.askable) == 0 || j.c.Claims == nil || j.blind() {
		return policy.Verdict{}
	}
	j.step.askable = p.askable
	defer func() { j.step.askable = nil }()
	for w := p.walk(j); ; {
		at, ok := w.step()
		if !ok {
			return policy.Verdict{}
		}
		e := p.entries[at]
		j.step.needed, j.step.missing = j.step.needed[:0], false
		if e.rule.match(j) == no || !j.step.missing {
			continue
		}
		v := policy.Verdict{Action: policy.Deny, Code: call.ScopeMissing, Policy: e.policy.name, Rule: e.rule.name}
		if !j.quiet {
			v.Scopes = slices.Clone(j.step.needed)
			v.Reason = fmt.Sprintf("an ALLOW rule would match %s if the token had the scopes %s", describe(j), strings.Join(v.Scopes, " "))
		}
		return v
	}
}
