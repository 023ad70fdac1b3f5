package policy

import "waymark.dev/waypoint/pkg/call"

// Challenger is a stage that knows where a caller gets the scopes that it needs (RFC 6750 section 3.1, insufficient_scope).
type Challenger interface {
	Stage
	// Challenge returns a value for WWW-Authenticate, or "" if it knows of no place.
	Challenge(c *call.Call, scopes []string) string
}

// challenge completes the denial of a call that more scope would let pass.
func (p *Pipeline) challenge(c *call.Call, v *Verdict) {
	if v.Action != Deny || v.Code != call.ScopeMissing || v.Challenge != "" || len(v.Scopes) == 0 {
		return
	}
	for _, by := range p.challenges {
		if v.Challenge = challenge(by, c, v.Scopes); v.Challenge != "" {
			return
		}
	}
}

// challenge keeps a panic in one stage from ending the process: the call is refused all the same.
func challenge(by Challenger, c *call.Call, scopes []string) (value string) {
	defer func() {
		if recover() != nil {
			value = ""
		}
	}()
	return by.Challenge(c, scopes)
}
