// Package authn is the stage that finds out who is asking, and for whom: it looks for the token of a call, has it verified,
// checks the delegation chain that it proves against the workload that holds the connection, and hands claims and chain to the
// stages that follow.
//
// It refuses a call without a token where one is demanded, every token that its verifier refuses, a token in two places (the
// server might read the other one), and a chain that does not end at the caller. Where several policies apply to a service, a
// call has to satisfy each of them.
//
//	stage, err := authn.New(authn.Options{Policies: []authn.Policy{{
//		Name: "bank/tellers", Mode: v1alpha1.AuthenticationStrict, Verify: verifier, Chain: rule.Check,
//	}}})
//
// What it takes from the request besides: header fields by which callers say themselves who they are. What it adds: claims as
// header fields, and the metadata of RFC 9728 for services that have an authorization server.
package authn
