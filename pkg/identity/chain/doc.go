// Package chain reads who acts for whom from a token (RFC 8693 section 4), and judges it.
//
// The user is the subject of the token. The claim act names who acts now, the act inside it whom that one acts for, and so on:
// the outermost actor is the last one of the chain and has to be the workload that holds the connection. No gateway but one that
// sees the certificate of that workload can check that.
//
//	err := chain.Read(claims)                     // fills claims.Delegation, or says why the claims have two readings
//	rule, problems := chain.New(chain.Options{Spec: spec, TrustDomains: domains})
//	refusal := rule.Check(chain.Presenter{ID: peer}, claims, now)
//
// What cannot be read in exactly one way is refused, and so is whatever a rule does not allow. The signature of a token is none
// of this package's business: what is read here was verified before.
package chain
