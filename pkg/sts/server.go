package sts

import (
	"context"
	"crypto/x509"
	"encoding/json/v2"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/oauth"
)

// DefaultLifetime is how long a token lives at most if its grant does not say.
const DefaultLifetime = 5 * time.Minute

// Verifier says whether a token is good; *jwks.Verifier is one.
type Verifier interface {
	Verify(ctx context.Context, token string) (*identity.Claims, error)
}

// Options say for whom tokens are given out.
type Options struct {
	Issuer   string          // of the new tokens: an https URL, or http on loopback
	Keys     *Keys           // required
	Grants   func() []*Grant // in force; required
	Subjects Verifier        // of subject tokens that others have issued; nil: only our own are taken
	Actors   Verifier        // of actor tokens: JWT-SVIDs, whose sub is a SPIFFE identity; nil: none are taken
	Clients  map[string]RegisteredClient
	Reviewer Reviewer // nil: no service accounts
	Replay   Replay   // nil: in memory
	Peer     func(*http.Request) *x509.Certificate

	ByAccount bool     // act.sub is the name of the service account, not the SPIFFE identity
	Copy      []string // claims of the subject token that the new one has too, as they are
	Skew      time.Duration
	Audit     func(Record) // required
	Now       func() time.Time
}

// reserved are the claims that only the token service says.
func reserved() []string {
	return []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "act", "may_act", "scope", "txn", "cnf", "client_id", "authorization_details", "chain_sha256"}
}

// Server is the token service. It is safe for use by many.
type Server struct {
	o     Options
	mux   *http.ServeMux
	rates rates
}

// New returns a server, or says what is wrong with its options.
func New(o Options) (*Server, error) {
	u, err := url.Parse(o.Issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || strings.Contains(o.Issuer, "#") || strings.HasSuffix(o.Issuer, "/"):
		return nil, errors.New("sts: the issuer must be a URL without query, fragment and a slash at its end")
	case u.Scheme != "https" && (u.Scheme != "http" || u.Hostname() != "127.0.0.1" && u.Hostname() != "localhost" && !strings.Contains(u.Hostname(), ".svc")):
		return nil, errors.New("sts: the issuer must be https, or http in the mesh or on loopback")
	case o.Keys == nil || o.Grants == nil || o.Audit == nil:
		return nil, errors.New("sts: keys, grants and an audit are required")
	}
	for id := range o.Clients {
		if id == "" || strings.Contains(id, "/") {
			return nil, fmt.Errorf("sts: %q cannot be a client id: it looks like an identity", id)
		}
	}
	for _, name := range o.Copy {
		if slices.ContainsFunc(reserved(), func(r string) bool { return strings.EqualFold(r, name) }) {
			return nil, fmt.Errorf("sts: the claim %s cannot be copied", name)
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Replay == nil {
		o.Replay = &ReplayInMemory{Now: o.Now}
	}
	if o.Peer == nil {
		o.Peer = PeerCertificate
	}
	if o.Skew == 0 {
		o.Skew = 10 * time.Second
	}
	s := &Server{o: o, mux: http.NewServeMux()}
	path := strings.TrimSuffix(u.Path, "/")
	s.mux.HandleFunc("POST "+path+"/token", s.serveToken)
	s.mux.HandleFunc("GET "+path+"/jwks", s.serveKeys)
	s.mux.HandleFunc("GET /.well-known/oauth-authorization-server"+path, s.serveMetadata) // RFC 8414 section 3
	return s, nil
}

func (s *Server) endpoint() string { return s.o.Issuer + "/token" }

// ServeHTTP implements http.Handler. A panic ends one request and is recorded.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			s.o.Audit(Record{Time: s.o.Now(), Outcome: "refused", Error: unavailable, Cause: "the service panicked"})
			http.Error(w, "", http.StatusInternalServerError)
		}
	}()
	s.mux.ServeHTTP(w, r)
}

func (s *Server) serveKeys(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=60")
	_, _ = w.Write(s.o.Keys.JWKS())
}

// serveMetadata answers discovery (RFC 8414 section 2).
func (s *Server) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	methods := []string{"tls_client_auth"}
	if len(s.o.Clients) > 0 {
		methods = append(methods, "client_secret_basic", "client_secret_post", "private_key_jwt")
	}
	b, _ := json.Marshal(map[string]any{ // nothing in it can fail
		"issuer": s.o.Issuer, "token_endpoint": s.endpoint(), "jwks_uri": s.o.Issuer + "/jwks",
		"grant_types_supported": []string{oauth.GrantExchange}, "response_types_supported": []string{},
		"token_endpoint_auth_methods_supported":            methods,
		"token_endpoint_auth_signing_alg_values_supported": []string{"ES256", "EdDSA", "RS256", "PS256"},
	}, json.Deterministic(true))
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(b)
}

// answer is a token as a client gets it (RFC 8693 section 2.2.1).
type answer struct {
	Token   string `json:"access_token"`
	Issued  string `json:"issued_token_type"`
	Type    string `json:"token_type"`
	Expires int64  `json:"expires_in"`
	Scope   string `json:"scope,omitempty"`
}

func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	record := Record{Time: s.o.Now()}
	a, f := s.exchange(r, &record)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	record.Outcome = "issued"
	if f != nil {
		record.Outcome, record.Error, record.Cause = "refused", f.code, f.cause
	}
	s.o.Audit(record)
	if f != nil {
		if f.code == invalidClient {
			w.Header().Set("WWW-Authenticate", `Basic realm="token service"`)
		}
		w.WriteHeader(f.status())
		b, _ := json.Marshal(map[string]string{"error": f.code})
		_, _ = w.Write(b)
		return
	}
	b, _ := json.Marshal(a) // nothing in it can fail
	_, _ = w.Write(b)
}
