package authz

import (
	"context"
	"fmt"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
)

// InspectReply implements policy.ReplyStage: it cuts from a list what the caller could not use, whatever the arguments. It
// asks the same rules in the same order as Inspect, so that what is shown is what may be called, at once or with a token that
// the caller is told how to get: a client that never sees a tool never asks for the scope it needs.
func (s *Stage) InspectReply(ctx context.Context, c *call.Call, r *call.Reply) (policy.Verdict, error) {
	if r.Items == nil {
		return policy.Verdict{Action: policy.Pass}, nil
	}
	shown := *c
	shown.Direction, shown.Intent, shown.Arguments = call.ToServer, call.Use, nil
	j := newJudgment(ctx, &shown)
	defer j.release()
	j.mode, j.quiet = showing, true
	body, cut := r.Without(func(it call.Item) bool {
		shown.Method, shown.Target = useOf(it.Target.Kind), it.Target
		j.facts.forget()
		v := s.judge(j)
		return v.Action != policy.Pass && v.Code != call.ScopeMissing
	})
	if cut > 0 {
		return policy.Verdict{Action: policy.Rewrite, Body: body, Hidden: cut,
			Reason: fmt.Sprintf("%d of %d entries are hidden from this caller", cut, len(r.Items))}, nil
	}
	if r.Shared && s.tellsApart() {
		return policy.Verdict{Action: policy.Rewrite, Body: body,
			Reason: "nothing is hidden, but another caller may see another list"}, nil
	}
	return policy.Verdict{Action: policy.Pass}, nil
}

// tellsApart reports whether two callers might see different lists. The pages of one listing have to agree on who may
// see them, so that a page of which nothing was cut counts too (contract mcp-a2a, section 6.1).
func (s *Stage) tellsApart() bool { return s.deny.policies+s.approve.policies+s.allow.policies > 0 }

// useOf returns the method that uses what a list shows (contract mcp-a2a section 5).
func useOf(kind call.Kind) string {
	switch kind {
	case call.Tool:
		return "tools/call"
	case call.Resource:
		return "resources/read"
	case call.Prompt:
		return "prompts/get"
	case call.Skill:
		return "skills/get"
	case call.Task:
		return "tasks/get"
	}
	return ""
}
