// Package jwkstest signs tokens for tests and the demo. The production binary must not import it.
//
//	key := jwkstest.NewKey()
//	keys := key.Set() // for jwks.inline, a ConfigMap or an endpoint
//	token := key.Sign(map[string]any{"iss": "https://idp.example.com", "sub": "alice", "exp": time.Now().Add(time.Hour).Unix()})
package jwkstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json/v2"
	"fmt"

	"github.com/lestrrat-go/jwx/v4/jwa"
	"github.com/lestrrat-go/jwx/v4/jws"
)

// Key is an issuer's ES256 key, whose kid is "1". Its methods panic when the machine cannot make keys or the claims are no
// JSON; there is nothing a test could do about it.
type Key struct{ private *ecdsa.PrivateKey }

// NewKey makes a key.
func NewKey() *Key { return &Key{must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))} }

// Set is the JWK set (RFC 7517 section 5) with the public key.
func (k *Key) Set() []byte {
	point := must(k.private.PublicKey.Bytes()) // 4, x, y: SEC 1 section 2.3.3
	b64 := base64.RawURLEncoding.EncodeToString
	return fmt.Appendf(nil, `{"keys":[{"kty":"EC","crv":"P-256","kid":"1","alg":"ES256","use":"sig","x":%q,"y":%q}]}`, b64(point[1:33]), b64(point[33:]))
}

// Sign returns the claims, as they are, as a compact JWS.
func (k *Key) Sign(claims map[string]any) string {
	h := jws.NewHeaders()
	if err := h.Set(jws.KeyIDKey, "1"); err != nil {
		panic("jwkstest: " + err.Error())
	}
	return string(must(jws.Sign(must(json.Marshal(claims)), jws.WithKey(jwa.ES256(), k.private, jws.WithProtectedHeaders(h)))))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic("jwkstest: " + err.Error())
	}
	return v
}
