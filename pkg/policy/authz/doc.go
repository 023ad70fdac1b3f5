// Package authz judges calls by AgentAuthorizationPolicy: who (from) may do what (to) under which conditions (when).
//
//	p, problems := authz.Compile(object) // every problem at once, each with the path of its field
//	stage := authz.New([]*authz.Policy{p}) // the policies attached to one service
//	v, err := stage.Inspect(ctx, c)
//
// The order is fixed. A DENY rule that matches refuses the call. Then REQUIRE_APPROVAL: there are no approvals yet, so a
// match refuses as well. Then, if any ALLOW policy is attached, a call that no ALLOW rule matches is refused. Without an
// ALLOW policy the rest passes. AUDIT policies and dry runs leave notes in the verdict and decide nothing.
//
// Wherever a rule cannot be decided, it is decided against the caller: an error in a CEL expression is no match in an ALLOW
// rule and a denial in a DENY rule, and what a DENY rule says of things we cannot see on a raw connection counts as
// said of that connection.
//
// Judgment has three values, because some questions have no answer yet. A client that says "initialize" has not said
// which tool it will call; what rules say of tools is then open. An open ALLOW rule counts for the caller, an open DENY
// rule does not count against it, and the list of tools it gets is cut to what it may call
// (docs/decisions/0003-lifecycle-methods.md). The same three values decide what a list shows: there the arguments are
// open.
package authz
