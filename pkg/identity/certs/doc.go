// Package certs supplies workload certificates to TLS: who we are, whom we trust, and the two TLS configurations of an
// HBONE endpoint.
//
// A [Source] yields the newest [Material]: a leaf with its key, the identity it carries, and the trusted roots. Every
// handshake asks the source again, so a rotation takes effect on the next handshake and never disturbs an open
// connection.
//
//	files, err := certs.NewDirectory("/var/run/secrets/workload-spiffe-credentials")
//	go files.Run(ctx) // polls the files' content
//	server := certs.ServerConfig(files, identity.MatchTrustDomains(td))
//	client := certs.ClientConfig(files, identity.MatchID(backend))
//
// What it refuses: anything but TLS 1.3 with ALPN "h2"; a peer without a certificate, with a chain that does not lead
// to the current roots, or with anything but exactly one well-formed SPIFFE URI name; a peer whose chain has a certificate
// that was revoked; session resumption of every kind (a resumed session would outlive a removed root, CVE-2025-68121);
// certificates built to be expensive. A source whose files are missing, empty or corrupt has no material, and without
// material no handshake succeeds: an endpoint is then not ready, and never unauthenticated.
//
// Further sources are in the packages istioca (a certificate from istiod) and spire (from a SPIFFE Workload API).
//
// # Trust domains
//
// Whose identities are accepted is the caller's matter, an [identity.Matcher]. Who may vouch for them is the material's:
// the roots of a federated trust domain vouch for its own identities only, so that a friend's CA cannot issue ours. All
// other identities, those of trust domain aliases among them, are vouched for by our own roots.
//
// # Revocation
//
// [NewRevoked] adds what a file of revocation lists says, one list per issuer, to any source. It is written so that a mistake
// refuses somebody and never lets somebody in:
//
//   - What is not on a list is not revoked, and an issuer may have no list, as for ztunnel: there may be no file at all.
//   - A file that was good and is now broken, empty or gone changes nothing: what was revoked stays revoked, the reason is
//     logged and is in [CRLFile.Err]. A file that is broken when the process starts makes it not ready, because nobody knows
//     any more what was revoked.
//   - One broken list in the file makes the whole file broken. Delta lists and indirect lists count as broken.
//   - An expired list still revokes what is on it, and is logged.
//   - The signature of a list is checked if its issuer is among our roots or in our own chain, and a wrong one makes the
//     file broken. The issuer of a list may be unknown, as another cluster's intermediate is. Such a list counts all the
//     same and is logged: the file is mounted by whoever mounts the roots, so what is on it without a signature can refuse
//     a peer and be noticed, whereas a list that was passed over would let in a peer and not be noticed.
//   - Certificates are judged as they are in the chain that the peer sent. A root is never on trial: it is removed from the
//     roots instead. Where an intermediate is itself trusted as a root, and peers do not send it, the same holds.
package certs
