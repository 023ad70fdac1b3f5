package ruleset

import (
	"context"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/policy"
	"waymark.dev/waypoint/pkg/policy/authn"
)

// assume makes policies take any bearer token for one that speaks of caller. What they ask of its chain they still ask.
func assume(asked []authn.Policy, caller *policy.Caller) {
	for i := range asked {
		asked[i].Locations = []authn.Location{authn.Bearer()}
		asked[i].Verify = func(context.Context, *call.Call, string) (*policy.Caller, error) { return caller, nil }
	}
}

// unasked stands where somebody would be asked.
type unasked struct{ name string }

// Name implements policy.Stage.
func (u unasked) Name() string { return u.name }

// Inspect implements policy.Stage.
func (u unasked) Inspect(context.Context, *call.Call) (policy.Verdict, error) {
	return policy.Verdict{Action: policy.Pass, Reason: "a service decides that, which is not asked here"}, nil
}
