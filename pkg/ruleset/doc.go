// Package ruleset turns a validated configuration and the state that outlives it into one immutable [Ruleset]: where
// authorities lead, and one pipeline of stages for each service.
//
//	rules, err := ruleset.Build(cfg, ruleset.Deps{Audit: auditStage, Now: time.Now, TrustDomains: domains})
//	dest, err := rules.View().Resolve(authority)
//	outcome := rules.Pipeline(dest.Service).Inspect(ctx, c)
//
// A Ruleset is built whole or not at all, and a new one is swapped in with one atomic store. What a Ruleset does not know
// it denies: a connection to a service that the next Ruleset has no more is cut when it is judged again.
//
// The rules of a cluster are a [Cluster], made by [Assemble] over a view that changes by itself. It is always made: what an object
// with a mistake in it was to restrict is refused, and everything else goes on (docs/decisions/0007).
package ruleset
