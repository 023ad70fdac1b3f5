// Package spire is a source of certificates that follows a SPIFFE Workload API: SPIRE's agent, or whoever else serves it on
// a socket of the node.
//
//	source, err := spire.New(spire.Options{Socket: "unix:///run/spire/sockets/agent.sock"})
//	go source.Run(ctx)
//	material, err := source.Current() // not ready before the first update
//
// Of several identities the first is taken, which the API calls the default one, or the one that [Options] name. Trusted
// are the roots of our own trust domain and, each for its own identities only, those of the federated trust domains that
// [Options] list; bundles of others are left alone, however many the agent sends.
//
// Revocation lists that the API might send are not taken, since SPIRE sends none: see [certs.NewRevoked] for a file of them.
//
// While the API is away, and while it sends what cannot be used, the last good state serves until its certificate expires.
package spire
