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
// to the current roots, or with anything but exactly one well-formed SPIFFE URI name; session resumption of every kind
// (a resumed session would outlive a removed root, CVE-2025-68121); certificates built to be expensive. A source whose
// files are missing, empty or corrupt has no material, and without material no handshake succeeds: an endpoint is then
// not ready, and never unauthenticated.
package certs
