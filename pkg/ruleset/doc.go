// Package ruleset turns a validated configuration and the state that outlives it into one immutable [Ruleset]: where
// authorities lead, and one pipeline of stages for each service.
//
//	rules, err := ruleset.Build(cfg, ruleset.Deps{Audit: auditStage, Now: time.Now, TrustDomains: domains})
//	dest, err := rules.View().Resolve(authority)
//	outcome := rules.Pipeline(dest.Service).Inspect(ctx, c)
//
// A Ruleset is built whole or not at all, and a new one is swapped in with one atomic store. What a Ruleset does not know
// it denies: a connection to a service that the next Ruleset has no more is cut when it is judged again.
package ruleset
