package sts

import (
	"context"
	"crypto"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/lestrrat-go/jwx/v4/jws"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/jwks"
	"waymark.dev/waypoint/pkg/oauth"
)

// assertionJWT is the type of a client assertion that is a JWT (RFC 7523 section 2.2).
const assertionJWT = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// maxAssertion is how long a client's assertion may live.
const maxAssertion = 5 * time.Minute

// RegisteredClient is one that has no identity of the mesh, or does not show it. Its name has no "/" in it: nobody can register
// what looks like an identity.
type RegisteredClient struct {
	ID           string
	SecretSHA256 []byte           // of its secret, if it authenticates itself by one
	Key          crypto.PublicKey // that its assertions are signed with, if it does by that
	Algorithm    string           // of its assertions
}

// ErrNotReviewed is wrapped by the error of a Reviewer that could not ask: it is not the token's fault.
var ErrNotReviewed = errors.New("nobody could be asked about the service account's token")

// Reviewer says whose service-account token that is (Kubernetes TokenReview).
type Reviewer interface {
	Review(ctx context.Context, token string) (identity.ID, error)
}

// Replay remembers the assertions that were used. Fresh reports whether one was not, and remembers it until it ends.
type Replay interface {
	Fresh(client, id string, until time.Time) bool
}

// ReplayInMemory is a Replay for one replica: with several, an assertion could be used once at each of them before it ends.
type ReplayInMemory struct {
	Now  func() time.Time
	mu   sync.Mutex
	used map[[32]byte]time.Time
}

const maxUsed = 100_000

// Fresh implements Replay. When it is full, nothing is fresh until something ends.
func (r *ReplayInMemory) Fresh(client, id string, until time.Time) bool {
	key := sha256.Sum256([]byte(client + "\x00" + id))
	now := r.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if t, ok := r.used[key]; ok && now.Before(t) {
		return false
	}
	if r.used == nil {
		r.used = map[[32]byte]time.Time{}
	}
	if len(r.used) >= maxUsed {
		for k, t := range r.used {
			if !now.Before(t) {
				delete(r.used, k)
			}
		}
		if len(r.used) >= maxUsed {
			return false
		}
	}
	r.used[key] = until
	return true
}

// client is who asks.
type client struct {
	party
	method     string
	thumbprint string           // of its certificate, base64url; "" if it showed none
	key        crypto.PublicKey // that its actor assertions are signed with; nil: it makes none
}

// authenticate finds out who asks. A client says so in one way: with two, another server could see another client.
func (s *Server) authenticate(ctx context.Context, r *http.Request, form url.Values) (*client, *fault) {
	id, secret, basic := r.BasicAuth()
	post, assertion := form.Get("client_secret") != "", form.Get("client_assertion") != ""
	n := 0
	for _, used := range []bool{basic, post, assertion} {
		if used {
			n++
		}
	}
	switch {
	case n > 1:
		return nil, refuse(invalidRequest, "the client authenticates itself in two ways")
	case !basic && r.Header.Get("Authorization") != "":
		return nil, refuse(invalidClient, "an Authorization header that is not Basic")
	case basic:
		u, err1 := url.QueryUnescape(id)
		p, err2 := url.QueryUnescape(secret)
		if err1 != nil || err2 != nil {
			return nil, refuse(invalidClient, "client id or secret is not encoded as RFC 6749 asks")
		}
		return s.bySecret(u, p)
	case post:
		return s.bySecret(form.Get("client_id"), form.Get("client_secret"))
	case assertion:
		return s.byAssertion(ctx, r, form)
	}
	return s.byCertificate(r, form)
}

func (s *Server) bySecret(id, secret string) (*client, *fault) {
	sum := sha256.Sum256([]byte(secret))
	c, ok := s.o.Clients[id]
	want := make([]byte, sha256.Size) // an unknown client costs the same time
	if ok && len(c.SecretSHA256) == sha256.Size {
		want = c.SecretSHA256
	}
	if subtle.ConstantTimeCompare(sum[:], want) != 1 || !ok {
		return nil, refuse(invalidClient, "no client with that id and secret")
	}
	return &client{party: party{name: id}, method: "secret"}, nil
}

// byCertificate takes the identity that the connection proves.
func (s *Server) byCertificate(r *http.Request, form url.Values) (*client, *fault) {
	peer := s.o.Peer(r)
	if peer == nil {
		return nil, refuse(invalidClient, "the client does not authenticate itself")
	}
	id, err := identity.FromCertificate(peer)
	if err != nil {
		return nil, refuse(invalidClient, "the certificate is no workload's")
	}
	c := &client{party: party{id: id}, method: "certificate", key: peer.PublicKey}
	sum := sha256.Sum256(peer.Raw)
	c.thumbprint = base64.RawURLEncoding.EncodeToString(sum[:])
	if said := form.Get("client_id"); said != "" && said != id.String() {
		return nil, refuse(invalidClient, "client_id is not what the certificate says")
	}
	return c, nil
}

// PeerCertificate is what a TLS connection proves: the leaf of a chain that was verified.
func PeerCertificate(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0]
}

func (s *Server) byAssertion(ctx context.Context, r *http.Request, form url.Values) (*client, *fault) {
	token := form.Get("client_assertion")
	if form.Get("client_assertion_type") != assertionJWT || len(token) > maxToken {
		return nil, refuse(invalidClient, "client_assertion_type is none that is known here")
	}
	issuer, ok := jwks.Peek(token)
	if !ok {
		return nil, refuse(invalidClient, "the assertion is no JWT")
	}
	registered, ok := s.o.Clients[issuer]
	if !ok || registered.Key == nil {
		return s.byServiceAccount(ctx, token)
	}
	said, err := s.assertion(token, registered.Key, registered.Algorithm, issuer, "")
	if err != nil || said.Subject != issuer {
		return nil, refuse(invalidClient, "the assertion is no good: %v", err)
	}
	if id := form.Get("client_id"); id != "" && id != issuer {
		return nil, refuse(invalidClient, "client_id is not who signed the assertion")
	}
	if !s.o.Replay.Fresh(issuer, said.ID, time.Unix(said.Expiry, 0).Add(s.o.Skew)) {
		return nil, refuse(invalidClient, "the assertion was used before")
	}
	return &client{party: party{name: issuer}, method: "private_key_jwt", key: registered.Key}, nil
}

func (s *Server) byServiceAccount(ctx context.Context, token string) (*client, *fault) {
	if s.o.Reviewer == nil {
		return nil, refuse(invalidClient, "nobody knows who signed the assertion")
	}
	id, err := s.o.Reviewer.Review(ctx, token)
	switch {
	case errors.Is(err, ErrNotReviewed):
		return nil, refuse(unavailable, "%v", err)
	case err != nil:
		return nil, refuse(invalidClient, "the service account's token is not accepted")
	}
	return &client{party: party{id: id}, method: "service_account"}, nil
}

// statement is what an assertion says.
type statement struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	ID       string `json:"jti"`
	Issued   int64  `json:"iat"`
	Expiry   int64  `json:"exp"`
}

// assertion verifies a JWT that a client has signed with a key that we know it by.
func (s *Server) assertion(token string, key crypto.PublicKey, alg, issuer, typ string) (*statement, error) {
	fits, ok := oauth.AlgorithmOf(key, alg)
	if !ok {
		return nil, errors.New("the client's key does not sign here")
	}
	head, _, _ := strings.Cut(token, ".")
	b, err := base64.RawURLEncoding.Strict().DecodeString(head)
	var header struct {
		Typ string `json:"typ"`
		Alg string `json:"alg"`
		Kid string `json:"kid"`
	}
	if err != nil || json.Unmarshal(b, &header, json.RejectUnknownMembers(true)) != nil || header.Alg != fits.String() {
		return nil, errors.New("its header is not what was agreed on")
	}
	if typ != "" && header.Typ != typ {
		return nil, errors.New("it is of another type")
	}
	payload, err := jws.Verify([]byte(token), jws.WithKey(fits, key), jws.WithCompact())
	if err != nil {
		return nil, errors.New("its signature does not fit")
	}
	var said statement
	if json.Unmarshal(payload, &said, json.RejectUnknownMembers(true)) != nil {
		return nil, errors.New("its claims are not iss, sub, aud, jti, iat and exp")
	}
	now := s.o.Now().Unix()
	skew := int64(s.o.Skew / time.Second)
	switch {
	case said.Issuer != issuer, said.Subject == "", said.ID == "" || len(said.ID) > 256:
		return nil, errors.New("it does not say who signed it, or has no jti")
	case said.Audience != s.o.Issuer && said.Audience != s.endpoint():
		return nil, errors.New("it is for somebody else")
	case said.Expiry+skew <= now, said.Issued-skew > now, said.Expiry-said.Issued > int64(maxAssertion/time.Second):
		return nil, errors.New("its time is not now, or it lives too long")
	}
	return &said, nil
}
