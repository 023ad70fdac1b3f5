package oauth

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json/v2"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/lestrrat-go/jwx/v4/jwa"
	"github.com/lestrrat-go/jwx/v4/jws"
)

// Auth is how a client says who it is.
type Auth interface {
	sign(ctx context.Context, endpoint string, now time.Time, form url.Values, header http.Header) error
}

type auth func(ctx context.Context, endpoint string, now time.Time, form url.Values, header http.Header) error

func (a auth) sign(ctx context.Context, endpoint string, now time.Time, form url.Values, header http.Header) error {
	return a(ctx, endpoint, now, form, header)
}

// MutualTLS leaves it to the certificate of the connection (RFC 8705 section 2). The id may be empty.
func MutualTLS(id string) Auth {
	return auth(func(_ context.Context, _ string, _ time.Time, form url.Values, _ http.Header) error {
		if id != "" {
			form.Set("client_id", id)
		}
		return nil
	})
}

// SecretBasic sends a secret in the Authorization header (RFC 6749 section 2.3.1).
func SecretBasic(id, secret string) Auth {
	return auth(func(_ context.Context, _ string, _ time.Time, _ url.Values, h http.Header) error {
		pair := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
		return nil
	})
}

// SecretPost sends a secret in the form (RFC 6749 section 2.3.1).
func SecretPost(id, secret string) Auth {
	return auth(func(_ context.Context, _ string, _ time.Time, form url.Values, _ http.Header) error {
		form.Set("client_id", id)
		form.Set("client_secret", secret)
		return nil
	})
}

// assertionJWT is the type of an assertion that is a JWT (RFC 7523 section 2.2).
const assertionJWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// ServiceAccountToken sends a token of our Kubernetes service account as the assertion. token gets the audience to ask for.
func ServiceAccountToken(id, audience string, token func(ctx context.Context, audience string) (string, error)) Auth {
	return auth(func(ctx context.Context, endpoint string, _ time.Time, form url.Values, _ http.Header) error {
		if token == nil {
			return errors.New("there is no service account here")
		}
		t, err := token(ctx, or(audience, endpoint))
		if err != nil {
			return errors.New("there is no token of the service account")
		}
		if id != "" {
			form.Set("client_id", id)
		}
		form.Set("client_assertion_type", assertionJWT)
		form.Set("client_assertion", t)
		return nil
	})
}

// assertionLifetime is how long an assertion of ours is good.
const assertionLifetime = time.Minute

// KeyOptions say how assertions are made.
type KeyOptions struct {
	ClientID  string
	PEM       []byte // the private key, PKCS #8
	Algorithm string // "" is what suits the key
	KeyID     string
	Audience  string // "" is the URL of the endpoint
}

// PrivateKeyJWT signs an assertion for each request (RFC 7523 section 2.2, OpenID Connect Core section 9).
func PrivateKeyJWT(o KeyOptions) (Auth, error) {
	key, err := ParseKey(o.PEM)
	if err != nil {
		return nil, err
	}
	alg, err := algorithm(key, o.Algorithm)
	if err != nil {
		return nil, err
	}
	return auth(func(_ context.Context, endpoint string, now time.Time, form url.Values, _ http.Header) error {
		assertion, err := assert(o, endpoint, now, key, alg)
		if err != nil {
			return err
		}
		form.Set("client_id", o.ClientID)
		form.Set("client_assertion_type", assertionJWT)
		form.Set("client_assertion", assertion)
		return nil
	}), nil
}

// ParseKey reads one private key in PEM (PKCS #8). Errors hold nothing of it.
func ParseKey(b []byte) (crypto.PrivateKey, error) {
	block, rest := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("the key is not one private key in PEM (PKCS #8)")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the key is no PKCS #8")
	}
	return key, nil
}

func assert(o KeyOptions, endpoint string, now time.Time, key any, alg jwa.SignatureAlgorithm) (string, error) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	claims, err := json.Marshal(map[string]any{
		"iss": o.ClientID, "sub": o.ClientID, "aud": or(o.Audience, endpoint), "jti": base64.RawURLEncoding.EncodeToString(id[:]),
		"iat": now.Unix(), "exp": now.Add(assertionLifetime).Unix(),
	}, json.Deterministic(true))
	if err != nil {
		return "", err
	}
	h := jws.NewHeaders()
	if o.KeyID != "" {
		if err := h.Set(jws.KeyIDKey, o.KeyID); err != nil {
			return "", errors.New("the key id cannot be used")
		}
	}
	signed, err := jws.Sign(claims, jws.WithKey(alg, key, jws.WithProtectedHeaders(h)))
	if err != nil {
		return "", errors.New("the assertion cannot be signed")
	}
	return string(signed), nil
}

// algorithm is the one that was asked for if the key has it, and what suits the key if none was.
func algorithm(key any, asked string) (jwa.SignatureAlgorithm, error) {
	signer, ok := key.(crypto.Signer)
	if !ok {
		return jwa.SignatureAlgorithm{}, errors.New("a key of a kind that does not sign here")
	}
	return algorithmOf(signer.Public(), asked)
}

// AlgorithmOf is the algorithm by which a client's key signs its assertions: the one that was agreed on, or what suits the key.
func AlgorithmOf(key crypto.PublicKey, agreed string) (jwa.SignatureAlgorithm, bool) {
	alg, err := algorithmOf(key, agreed)
	return alg, err == nil
}

func algorithmOf(key crypto.PublicKey, asked string) (jwa.SignatureAlgorithm, error) {
	var fit []jwa.SignatureAlgorithm
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			return jwa.SignatureAlgorithm{}, errors.New("an RSA key of less than 2048 bits")
		}
		fit = []jwa.SignatureAlgorithm{jwa.RS256(), jwa.RS384(), jwa.RS512(), jwa.PS256(), jwa.PS384(), jwa.PS512()}
	case *ecdsa.PublicKey:
		switch k.Curve.Params().BitSize {
		case 256:
			fit = []jwa.SignatureAlgorithm{jwa.ES256()}
		case 384:
			fit = []jwa.SignatureAlgorithm{jwa.ES384()}
		case 521:
			fit = []jwa.SignatureAlgorithm{jwa.ES512()}
		}
	case ed25519.PublicKey:
		fit = []jwa.SignatureAlgorithm{jwa.EdDSA()}
	}
	for _, alg := range fit {
		if asked == "" || alg.String() == asked {
			return alg, nil
		}
	}
	if len(fit) == 0 {
		return jwa.SignatureAlgorithm{}, errors.New("a key of a kind that does not sign here")
	}
	return jwa.SignatureAlgorithm{}, fmt.Errorf("the key has no algorithm %s", asked)
}
