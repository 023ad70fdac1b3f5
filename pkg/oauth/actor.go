package oauth

import (
	"crypto"
	"crypto/rand"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"time"

	"github.com/lestrrat-go/jwx/v4/jws"

	"waymark.dev/waypoint/pkg/identity"
)

// ActorAssertionType is the header typ of an actor assertion.
const ActorAssertionType = "actor+jwt"

// ActorAssertion is an actor token (RFC 8693 section 2.1) by which a client says whose call it carries: the workload that it has
// authenticated by its certificate. issuer is what the client calls itself; key is the one that the token service knows it by,
// the key of its certificate if it authenticates itself by that.
func ActorAssertion(issuer, audience string, actor identity.ID, key crypto.PrivateKey, now time.Time) (string, error) {
	alg, err := algorithm(key, "")
	if err != nil {
		return "", err
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	claims, err := json.Marshal(map[string]any{
		"iss": issuer, "sub": actor.String(), "aud": audience, "jti": base64.RawURLEncoding.EncodeToString(id[:]),
		"iat": now.Unix(), "exp": now.Add(assertionLifetime).Unix(),
	}, json.Deterministic(true))
	if err != nil {
		return "", err
	}
	h := jws.NewHeaders()
	if err := h.Set(jws.TypeKey, ActorAssertionType); err != nil {
		return "", err
	}
	signed, err := jws.Sign(claims, jws.WithKey(alg, key, jws.WithProtectedHeaders(h)))
	if err != nil {
		return "", errors.New("the actor assertion cannot be signed")
	}
	return string(signed), nil
}
