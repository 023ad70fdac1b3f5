package identity_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json/v2"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/pkg/config"
	"waymark.dev/waypoint/pkg/identity/jwks"
	"waymark.dev/waypoint/pkg/oauth"
	"waymark.dev/waypoint/pkg/sts"
)

// service is the token service of examples/obo-chain: over mutual TLS for those who want tokens, and in plain HTTP through the mesh
// for the waypoint, which wants its keys.
type service struct {
	w       *world
	idp     *issuer
	server  *sts.Server
	tls     *httptest.Server
	records []sts.Record
}

func newService(t *testing.T, w *world, grants string) *service {
	t.Helper()
	s := &service{w: w, idp: newIssuer(t, "https://idp.example.com")}
	users, err := jwks.New(jwks.Options{Issuers: []jwks.Issuer{{
		Issuer: s.idp.name, AnyAudience: "the token service judges it", Algorithms: []string{"ES256"}, Keys: jwks.Keys{Inline: s.idp.keys()},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(users.Close)
	c, problems := config.Load(grants)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	compiled, faults := sts.CompileGrants(c.Exchanges)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	keys, err := sts.GenerateKeys(24*time.Hour, time.Minute, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	s.server, err = sts.New(sts.Options{
		Issuer: "https://sts.example.com", Keys: keys, Grants: func() []*sts.Grant { return compiled }, Subjects: users,
		ByAccount: true, Audit: func(r sts.Record) { s.records = append(s.records, r) },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.place("identity", "sts", s.server)
	s.listen(t)
	return s
}

func (s *service) listen(t *testing.T) {
	t.Helper()
	m, err := s.w.mesh.Certificates(s.w.mesh.ID("identity", "sts")).Current()
	if err != nil {
		t.Fatal(err)
	}
	s.tls = httptest.NewUnstartedServer(s.server)
	s.tls.TLS = &tls.Config{Certificates: []tls.Certificate{m.Certificate}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: m.Roots, MinVersion: tls.VersionTLS13}
	s.tls.StartTLS()
	t.Cleanup(s.tls.Close)
}

// trade asks for a token as a workload of namespace agents.
func (s *service) trade(t *testing.T, account, subject string, pairs ...string) (token, code string) {
	t.Helper()
	m, err := s.w.mesh.Certificates(s.w.mesh.ID("agents", account)).Current()
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{m.Certificate}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, //nolint:gosec // who answers is proven below
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			c, err := x509.ParseCertificate(raw[0])
			if err == nil {
				_, err = c.Verify(x509.VerifyOptions{Roots: m.Roots})
			}
			return err
		},
	}}
	defer transport.CloseIdleConnections()
	form := url.Values{"grant_type": {oauth.GrantExchange}, "subject_token": {subject}, "subject_token_type": {oauth.TypeJWT}}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	resp, err := (&http.Client{Transport: transport}).PostForm(s.tls.URL+"/token", form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var a struct {
		Token string `json:"access_token"`
		Error string `json:"error"`
	}
	if err := json.UnmarshalRead(resp.Body, &a); err != nil {
		t.Fatal(err)
	}
	return a.Token, a.Error
}

const company = "http://company-mcp.tools:3000"

// alice asks Butler, Butler asks Coach, Coach calls the company's tools: examples/obo-chain, with a token service that speaks
// mutual TLS.
func TestStory(t *testing.T) {
	w := newWorld(t)
	tools := &backend{}
	w.place("tools", "company-mcp", tools)
	s := newService(t, w, "../../examples/obo-chain")
	w.start("obo-chain")
	coach, butler, thief := w.client("agent-coach", "10.96.2.1:3000"), w.client("agent-butler", "10.96.2.1:3000"), w.client("thief", "10.96.2.1:3000")

	alice := s.idp.token(t, map[string]any{"aud": "agent-butler", "scope": "training mail", "may_act": map[string]string{"sub": "agent-butler"}})
	first, code := s.trade(t, "agent-butler", alice, "audience", "agent-coach")
	if code != "" {
		t.Fatalf("Butler got %s: %+v", code, s.records)
	}
	second, code := s.trade(t, "agent-coach", first, "audience", company)
	if code != "" {
		t.Fatalf("Coach got %s: %+v", code, s.records)
	}
	if r := s.records[1]; !slices.Equal(r.Chain, []string{"alice", "agent-butler", "agent-coach"}) || r.Grant != "tools/story/coach-to-company" {
		t.Errorf("record %+v", r)
	}

	got := w.call(coach, "company-mcp:3000", "plan_training", second, "X-On-Behalf-Of", "mallory", "x_on_behalf_of", "mallory", "X_on-Behalf_of", "mallory")
	if got.code != "" {
		t.Fatalf("Coach with the whole chain: %+v", got)
	}
	header, _ := tools.seen()
	var said []string
	for name, lines := range header {
		if strings.EqualFold(strings.ReplaceAll(name, "_", "-"), "x-on-behalf-of") {
			said = append(said, lines...)
		}
	}
	if !slices.Equal(said, []string{"alice"}) {
		t.Errorf("the server was told %q of the user", said)
	}

	// Coach trades alice's own token, which names Butler: the token service refuses. With one that names Coach it gets a token,
	// and the waypoint sees that Butler is missing.
	if _, code := s.trade(t, "agent-coach", alice, "audience", company); code != "invalid_grant" {
		t.Errorf("Coach traded Butler's token: %q", code)
	}
	direct := s.idp.token(t, map[string]any{"aud": "agent-coach", "scope": "training", "may_act": map[string]string{"sub": "agent-coach"}})
	short, code := s.trade(t, "agent-coach", direct, "audience", company)
	if code != "" {
		t.Fatalf("got %s", code)
	}
	tests := []struct {
		name   string
		client *http.Client
		token  string
		code   string
		reason string
	}{
		{"Butler skipped", coach, short, "chain_invalid", "the chain has 1 actors, and 2 are required"},
		{"stolen by a workload", thief, second, "chain_unbound", `the last actor "agent-coach" is not the caller spiffe://cluster.local/ns/agents/sa/thief (binding ServiceAccount)`},
		{"used by Butler", butler, second, "chain_unbound", `the last actor "agent-coach" is not the caller spiffe://cluster.local/ns/agents/sa/agent-butler (binding ServiceAccount)`},
		{"Coach's own, for Coach", coach, first, "token_invalid", "not for this audience: aud of 1 entries"},
		{"alice's", coach, alice, "token_invalid", `unknown issuer: "https://idp.example.com"`},
		{"none", coach, "", "unauthenticated", "the call has no token"},
	}
	_, before := tools.seen()
	for _, tt := range tests {
		got := w.call(tt.client, "company-mcp:3000", "plan_training", tt.token)
		if got.code != tt.code || got.reason != tt.reason {
			t.Errorf("%s: got %s %q, want %s %q", tt.name, got.code, got.reason, tt.code, tt.reason)
		}
	}
	if _, after := tools.seen(); after != before {
		t.Error("a refused call reached the server")
	}
	if r := w.call(coach, "company-mcp:3000", "plan_training", second, "Authorization", "Bearer "+second); r.code != "ambiguous" {
		t.Errorf("two tokens: %+v", r)
	}
}

// The waypoint trades Coach's token itself. What Coach sent never gets to the server, whatever becomes of the exchange.
func TestExchangeOnTheHop(t *testing.T) {
	w := newWorld(t)
	tools := &backend{}
	w.place("tools", "company-mcp", tools)
	s := newService(t, w, "../../examples/obo-chain")
	away := false
	honey := ""
	asked := 0
	w.place("identity", "hop", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		asked++
		_ = r.ParseForm()
		id, secret, _ := r.BasicAuth()
		secret, _ = url.QueryUnescape(secret) // RFC 6749 section 2.3.1
		switch {
		case away:
			rw.WriteHeader(http.StatusBadGateway)
		case id != "waypoint" || secret != "not a secret" || r.PostForm.Get("subject_token") != honey:
			rw.WriteHeader(http.StatusBadRequest)
			_, _ = rw.Write([]byte(`{"error":"invalid_client"}`))
		default:
			_, _ = fmt.Fprintf(rw, `{"access_token":"traded-%d","issued_token_type":%q,"token_type":"Bearer","expires_in":60}`, asked, oauth.TypeAccessToken)
		}
	}))
	w.startWith("obo-chain", exchangePolicy)
	coach := w.client("agent-coach", "10.96.2.1:3000")
	alice := s.idp.token(t, map[string]any{"aud": "agent-butler", "scope": "training", "may_act": map[string]string{"sub": "agent-butler"}})
	first, _ := s.trade(t, "agent-butler", alice, "audience", "agent-coach")
	honey, _ = s.trade(t, "agent-coach", first, "audience", company)
	for range 20 {
		if got := w.call(coach, "company-mcp:3000", "plan_training", honey); got.code != "" {
			t.Fatalf("got %+v", got)
		}
		header, _ := tools.seen()
		if got := header["Authorization"]; !slices.Equal(got, []string{"Bearer traded-1"}) {
			t.Fatalf("the server got %q", got)
		}
	}
	away = true
	second, _ := s.trade(t, "agent-coach", first, "audience", company)
	_, before := tools.seen()
	if got := w.call(coach, "company-mcp:3000", "plan_training", second); got.code != "upstream_unavailable" {
		t.Errorf("the token service is away: %+v", got)
	}
	if _, after := tools.seen(); after != before {
		t.Error("the call went on without a token")
	}
}

const exchangePolicy = `apiVersion: waymark.dev/v1alpha1
kind: TokenExchange
metadata: {name: hop, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: company-mcp}]
  exchange:
    endpoint:
      backendRef: {name: hop, namespace: identity, port: 8081}
      path: /token
    clientAuthentication:
      type: ClientSecretBasic
      clientID: waypoint
      secretRef: {name: hop, key: secret}
    audiences: ["https://backend.example.com"]
    actor: None
---
apiVersion: v1
kind: Secret
metadata: {name: hop, namespace: tools}
stringData: {secret: "not a secret"}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: hop, namespace: identity}
spec:
  hosts: [hop.identity.svc.cluster.local]
  addresses: [10.96.2.9]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 8081, name: http, protocol: HTTP}]
  workloadSelector: {labels: {app: hop}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: hop, namespace: identity, labels: {app: hop, networking.istio.io/tunnel: http}}
spec:
  address: 10.244.2.9
  serviceAccount: hop
  ports: {http: 8081}
`
