package ruleset

import (
	"context"
	"fmt"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
)

// detached denies everything. It stands for a service that is not behind this waypoint, which a call can name only if the
// service was taken away while the call was under way.
type detached struct{}

func (detached) Name() string { return "attachment" }

func (detached) Inspect(_ context.Context, c *call.Call) (policy.Verdict, error) {
	return policy.Verdict{
		Action: policy.Deny,
		Code:   call.EntitlementDenied,
		Reason: fmt.Sprintf("%s is not behind this waypoint", described(c.Route.Service)),
	}, nil
}

// closed denies everything, because something that restricts the service cannot be carried out.
type closed struct{ policy, reason string }

func (closed) Name() string { return "configuration" }

func (c closed) Inspect(context.Context, *call.Call) (policy.Verdict, error) {
	return policy.Verdict{Action: policy.Deny, Code: call.PolicyError, Policy: c.policy, Reason: c.reason}, nil
}
