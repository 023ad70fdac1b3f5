// Package istioca is a source of certificates that asks an istiod, or whoever speaks its protocol
// (istio.v1.auth.IstioCertificateService), to sign one.
//
//	source, err := istioca.New(istioca.Options{
//		Address:  "istiod.istio-system.svc:15012",
//		RootFile: "/var/run/secrets/istio/root-cert.pem",
//		Token:    readToken, // asked at each call
//		Headers:  map[string]string{"clusterid": "Kubernetes"},
//	})
//	go source.Run(ctx)
//	material, err := source.Current() // not ready before the first certificate
//
// The key is made here, anew for each certificate, and leaves the process neither in a request nor in a file. A certificate
// is renewed at half its life; while that fails, the one in use serves until it expires. The roots are those that came with
// the certificate together with those in the root file. A root file that changes counts at once, and makes the source ask
// anew: what istiod took out of its own bundle is then out of ours too, and does not stay in until the half-life.
//
// What it refuses: a CA that it cannot verify; an answer of fewer than two elements; a certificate for another key, without
// exactly one SPIFFE ID, with another one than was expected, or that does not lead to the roots in both roles. It never
// serves a root. Neither the key nor the token is logged, also when the CA sends the token back in an error.
package istioca
