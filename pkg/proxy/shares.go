package proxy

import (
	"context"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/mcp"
	"waymark.dev/waypoint/pkg/mesh"
	"waymark.dev/waypoint/pkg/policy"
)

// share is one of several things that one message asks for, each judged and recorded as a call of its own: a call of a batch,
// or a resource that a listener wants to hear of.
type share struct {
	msg     *mcp.Message // of a batch
	call    *call.Call
	outcome *policy.Outcome
}

// sharesOf takes a message apart. It is empty for a message that is one call, which nearly all are.
func (f *flow) sharesOf(msg *mcp.Message) []*share {
	var shares []*share
	for _, part := range msg.Parts() {
		c := f.another()
		part.Fill(c)
		shares = append(shares, &share{msg: part, call: c})
	}
	for _, target := range msg.Wants() {
		c := f.another()
		c.Intent, c.Target = call.Use, target // to hear of a resource is to use it
		shares = append(shares, &share{call: c})
	}
	return shares
}

// another is a call of its own on this exchange.
func (f *flow) another() *call.Call {
	c := *f.call
	c.ID = newID()
	return &c
}

// judgeShares judges them all: each is on record, whatever became of the others. It returns which may pass, and the last
// refusal.
func (f *flow) judgeShares(ctx context.Context, began Rules) (pass []bool, refused *policy.Outcome) {
	pass = make([]bool, len(f.shares))
	for i, s := range f.shares {
		s.outcome = f.judge(ctx, began, s.call)
		if pass[i] = s.outcome.Allowed(); !pass[i] {
			refused = s.outcome
		}
	}
	return pass, refused
}

// divide applies the verdicts on the shares to the whole. A batch passes whole or not at all (contract mcp-a2a 4.4); of a
// subscription the rest passes, if there is one (contract 13.68).
func (c *mcpCodec) divide(ctx context.Context, f *flow, began Rules) {
	pass, refused := f.judgeShares(ctx, began)
	if refused != nil && f.dest.Mode != mesh.Observe && (c.msg.Parts() != nil || !c.msg.Trim(pass)) {
		f.outcome.Verdict, f.outcome.Stage = refused.Verdict, refused.Stage
		for _, s := range f.shares {
			if s.outcome.Allowed() { // and went no further
				s.outcome.Stage = "batch"
				s.outcome.Verdict = policy.Verdict{Action: policy.Deny, Code: refused.Verdict.Code, Reason: "another message of the batch is refused"}
			}
		}
		return
	}
	for _, s := range f.shares {
		if s.msg != nil && s.outcome.Rewritten {
			s.msg.Rewrite(s.outcome.Call.Arguments)
		}
	}
	f.share(ctx, began)
}

// share registers what passed with the exchange, so that a change of rules judges it again, and judges it by rules that
// changed since it was.
func (f *flow) share(ctx context.Context, began Rules) {
	var passed []*call.Call
	for _, s := range f.shares {
		if s.outcome.Allowed() {
			passed = append(passed, s.call)
		} else if f.dest.Mode != mesh.Observe {
			f.outcome.Hidden++
		}
	}
	f.p.live.divide(f.entry, passed)
	now := f.p.cfg.Rules()
	if now == began {
		return
	}
	for _, s := range f.shares {
		if s.outcome.Allowed() && !now.Pipeline(f.dest.Service).Recheck(ctx, s.outcome) {
			f.outcome.Verdict, f.outcome.Stage = s.outcome.Verdict, s.outcome.Stage
		}
	}
}

// outcomeOf returns the outcome of the call that an item answers.
func (c *mcpCodec) outcomeOf(f *flow, item *mcp.Item) *policy.Outcome {
	for _, s := range f.shares {
		if s.msg != nil && s.msg == item.Request() {
			return s.outcome
		}
	}
	return f.outcome
}
