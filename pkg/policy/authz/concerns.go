package authz

import (
	"context"

	"waymark.dev/waypoint/pkg/call"
)

// Concerns returns the first rule of a policy that matches a call, for policies with CUSTOM, about whose calls another service is
// asked. What cannot be decided matches, as it does in a DENY rule; what the server asks of the client never does.
func (p *Policy) Concerns(ctx context.Context, c *call.Call) (rule string, ok bool) {
	if c.Direction == call.ToClient {
		return "", false
	}
	j := newJudgment(ctx, c)
	defer j.release()
	j.against = true
	for i := range p.rules {
		if p.rules[i].match(j) == yes {
			return p.rules[i].name, true
		}
	}
	return "", false
}
