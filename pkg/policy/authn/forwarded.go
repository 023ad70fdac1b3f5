package authn

import (
	"context"

	"waymark.dev/waypoint/pkg/call"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/policy"
)

// Forwarded is the stage that tells a server by x-forwarded-client-cert which identity calls it, as Istio's annotation
// ambient.istio.io/xfcc-include-client-identity asks of a waypoint (contract ambient 5.2). What a caller sends under that name never
// gets this far. It comes before everything that reads headers.
type Forwarded struct {
	By func() identity.ID // whose certificate the caller saw: ours
}

// Name implements policy.Stage.
func (Forwarded) Name() string { return "forwarded" }

// Inspect implements policy.Stage. An identity has no byte that means anything in the field.
func (f Forwarded) Inspect(_ context.Context, c *call.Call) (policy.Verdict, error) {
	v := policy.Verdict{Action: policy.Pass}
	if c.Protocol != call.TCP && c.Direction != call.ToClient && !c.Principal.IsZero() {
		v.Headers = []policy.HeaderEdit{{
			Name: "X-Forwarded-Client-Cert", Remove: true, Value: "By=" + f.By().String() + ";URI=" + c.Principal.String(),
		}}
	}
	return v, nil
}
