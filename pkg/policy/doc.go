// Package policy is the judgment and nothing else: a [Stage] inspects one decoded call and returns a [Verdict], a
// [Pipeline] is a list of stages read top to bottom, and an [Outcome] is everything that happened.
//
//	p := policy.NewPipeline("7", time.Now, policy.Entry{Stage: audit}, policy.Entry{Stage: authz, Standing: true})
//	o := p.Inspect(ctx, c)
//	if o.Verdict.Action == policy.Deny { … }
//	p.Observe(ctx, o) // exactly once, whatever happened
//
// It fails closed: an error from a stage, a panic in one, or the zero Verdict is a denial. A stage that wants to fail
// open must return Pass and say so.
package policy
