package sts_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json/v2"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/api/v1alpha1"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/chain"
	"waymark.dev/waypoint/pkg/identity/jwks"
	"waymark.dev/waypoint/pkg/oauth"
	"waymark.dev/waypoint/pkg/sts"
)

const (
	issuer  = "https://sts.example.com"
	idp     = "https://idp.example.com"
	butler  = "spiffe://cluster.local/ns/home/sa/agent-butler"
	coach   = "spiffe://cluster.local/ns/gym/sa/agent-coach"
	thief   = "spiffe://cluster.local/ns/dark/sa/thief"
	gateway = "spiffe://cluster.local/ns/home/sa/waypoint"
	mcp     = "http://company-mcp.bank:3000"
)

// clock is a time that tests move.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// claimed verifies tokens that are the claims themselves: what a signature is worth is tested elsewhere.
type claimed struct{ now func() time.Time }

func (v claimed) Verify(_ context.Context, token string) (*identity.Claims, error) {
	parts := strings.Split(token, ".")
	raw, err := decode(parts[1])
	if err != nil {
		return nil, jwks.ErrMalformed
	}
	var c struct {
		Iss string   `json:"iss"`
		Sub string   `json:"sub"`
		Jti string   `json:"jti"`
		Aud []string `json:"aud"`
		Exp int64    `json:"exp"`
		Iat int64    `json:"iat"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("%w: %w", jwks.ErrMalformed, err)
	}
	if c.Exp <= v.now().Unix() {
		return nil, jwks.ErrExpired
	}
	claims := &identity.Claims{Issuer: c.Iss, Subject: c.Sub, ID: c.Jti, Audience: c.Aud, Expiry: time.Unix(c.Exp, 0), IssuedAt: time.Unix(c.Iat, 0), Raw: raw}
	if err := chain.Read(claims); err != nil {
		return nil, fmt.Errorf("%w: %w", jwks.ErrClaims, err)
	}
	return claims, nil
}

// world is a token service with clients that show certificates.
type world struct {
	t       testing.TB
	clock   *clock
	keys    *sts.Keys
	server  *sts.Server
	grants  []*sts.Grant
	records []sts.Record
	certs   map[string]*x509.Certificate
	private map[string]*ecdsa.PrivateKey
}

func newWorld(t testing.TB, grants []v1alpha1.ExchangeGrant, change func(*sts.Options)) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{at: time.Unix(1_800_000_000, 0)}, certs: map[string]*x509.Certificate{}, private: map[string]*ecdsa.PrivateKey{}}
	var err error
	if w.keys, err = sts.GenerateKeys(24*time.Hour, 10*time.Minute, w.clock.now); err != nil {
		t.Fatal(err)
	}
	w.grant(grants)
	o := sts.Options{
		Issuer: issuer, Keys: w.keys, Grants: func() []*sts.Grant { return w.grants }, Subjects: claimed{w.clock.now}, Actors: claimed{w.clock.now},
		Peer:  func(r *http.Request) *x509.Certificate { return w.certs[r.Header.Get("X-Test-Client")] },
		Audit: func(r sts.Record) { w.records = append(w.records, r) }, Now: w.clock.now,
	}
	if change != nil {
		change(&o)
	}
	if w.server, err = sts.New(o); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{butler, coach, thief, gateway} {
		w.certs[id], w.private[id] = certificate(t, id)
	}
	return w
}

func (w *world) grant(grants []v1alpha1.ExchangeGrant) {
	o := &v1alpha1.TokenExchange{}
	o.Namespace, o.Name, o.Spec.Grants = "home", "story", grants
	compiled, problems := sts.CompileGrants([]*v1alpha1.TokenExchange{o})
	if len(problems) > 0 {
		w.t.Fatal(problems)
	}
	w.grants = compiled
}

func certificate(t testing.TB, id string) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(id)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{}, URIs: []*url.URL{u}, NotAfter: time.Unix(1_900_000_000, 0),
	}, &x509.Certificate{}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c, key
}

// token writes claims as a JWT that only the verifier of these tests takes.
func (w *world) token(claims map[string]any) string {
	all := map[string]any{"iss": idp, "sub": "alice", "aud": []string{butler}, "iat": w.clock.now().Unix(), "exp": w.clock.now().Add(time.Hour).Unix()}
	maps.Copy(all, claims)
	for name, v := range claims {
		if v == nil {
			delete(all, name)
		}
	}
	b, err := json.Marshal(all, json.Deterministic(true))
	if err != nil {
		w.t.Fatal(err)
	}
	return "e30." + encode(b) + ".eA"
}

func form(subject string, pairs ...string) url.Values {
	f := url.Values{"grant_type": {oauth.GrantExchange}, "subject_token": {subject}, "subject_token_type": {oauth.TypeJWT}}
	for i := 0; i < len(pairs); i += 2 {
		f[pairs[i]] = append(f[pairs[i]], pairs[i+1])
	}
	return f
}

type answer struct {
	Status  int
	Token   string `json:"access_token"`
	Issued  string `json:"issued_token_type"`
	Type    string `json:"token_type"`
	Expires int64  `json:"expires_in"`
	Scope   string `json:"scope"`
	Error   string `json:"error"`
	Header  http.Header
}

func (w *world) ask(client string, f url.Values) answer { return w.send(client, f, nil) }

func (w *world) send(client string, f url.Values, h http.Header) answer {
	r := httptest.NewRequest(http.MethodPost, "/token", strings.NewReader(f.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("X-Test-Client", client)
	for name, values := range h {
		r.Header[name] = values
	}
	rec := httptest.NewRecorder()
	w.server.ServeHTTP(rec, r)
	a := answer{Status: rec.Code, Header: rec.Header()}
	if err := json.Unmarshal(bytes.TrimSpace(rec.Body.Bytes()), &a); err != nil {
		w.t.Fatalf("%s: %v", rec.Body, err)
	}
	return a
}

// verify reads a token of the service as a waypoint would.
func (w *world) verify(token string) *identity.Claims {
	w.t.Helper()
	v, err := jwks.New(jwks.Options{Now: w.clock.now, Issuers: []jwks.Issuer{{
		Issuer: issuer, AnyAudience: "a test", Algorithms: []string{"ES256"}, Keys: jwks.Keys{Inline: w.keys.JWKS()},
	}}})
	if err != nil {
		w.t.Fatal(err)
	}
	defer v.Close()
	c, err := v.Verify(context.Background(), token)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) last() sts.Record { return w.records[len(w.records)-1] }

func subjects(c *identity.Claims) []string {
	var out []string
	for _, h := range chain.Hops(c) {
		out = append(out, h.Subject)
	}
	return slices.Clip(out)
}
