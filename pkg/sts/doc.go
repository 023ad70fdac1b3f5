// Package sts is a token service: it trades a token that a workload was sent for one that it may send on (RFC 8693).
//
// A workload that acts for a user shows the user's token and says for whom it wants a new one. It gets one if a grant says that it
// may, if the old token was meant for it, if the user's token lets it act, and then with no more rights than every token that it
// showed: fewer scopes, tighter authorization details, an earlier end. The new token names the workload as the actor, and keeps
// whoever acted before it: an actor is added, never replaced.
//
//	server, err := sts.New(sts.Options{Issuer: "https://sts.example.com", Keys: keys, Grants: grants, Subjects: verifier, …})
//	http.Handle("/", server)
//
// What no grant allows is refused. Every exchange, refused or not, is one record; no token is ever in one. The service keeps
// nothing that a replica would have to know, but the signing keys, which are files.
package sts
