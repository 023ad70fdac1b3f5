// Package jwks verifies JWTs of known issuers against their key sets, and yields the claims or a reason.
//
// It refuses before any key is touched: everything but a compact JWS of three canonical parts, every algorithm that the
// issuer is not configured for (none and symmetric ones do not exist here), headers that bring keys or ask for processing
// (crit, zip, b64, jku, x5u, jwk, x5c), JSON that two parsers could read differently, tokens without exp, for someone else,
// or outside of their time. Keys come from the issuer's configuration only: there is no default key, and an issuer whose
// keys cannot be had is an issuer whose tokens are refused.
//
//	v, err := jwks.New(jwks.Options{Issuers: []jwks.Issuer{{
//		Issuer: "https://idp.example.com", Audiences: []string{"bank"}, Algorithms: []string{"ES256"},
//		Keys: jwks.Keys{Remote: &jwks.Remote{Fetch: fetch, RefreshInterval: 5 * time.Minute, MaxStale: time.Hour}},
//	}}})
//	go v.Run(ctx)
//	claims, err := v.Verify(ctx, token)
package jwks
