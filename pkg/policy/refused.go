package policy

import "waymark.dev/waypoint/pkg/call"

// Refused builds the Outcome of a call that never reached judgment because it could not be read or routed: v says why. No
// stage inspects it; every Observer sees it, so that what was refused before policy is on record like everything else.
func (p *Pipeline) Refused(c *call.Call, v Verdict) *Outcome {
	v.Action = Deny
	return p.unjudged(c, v, "decode")
}

func (p *Pipeline) unjudged(c *call.Call, v Verdict, stage string) *Outcome {
	o := &Outcome{Call: c, Generation: p.generation, Verdict: v, Stage: stage}
	for i := range p.entries {
		if obs, ok := p.entries[i].Stage.(Observer); ok {
			o.entered = append(o.entered, obs)
		}
	}
	return o
}
