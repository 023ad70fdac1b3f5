package identity_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json/v2"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v4/jwk"
	"github.com/lestrrat-go/jwx/v4/jws"

	"waymark.dev/waypoint/e2e/peers"
	"waymark.dev/waypoint/internal/testmesh"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/certs/certstest"
	"waymark.dev/waypoint/pkg/oauth"
	"waymark.dev/waypoint/pkg/sts"
)

// Who is in the mesh of these tests.
const (
	planner  = "spiffe://cluster.local/ns/agents/sa/planner"    // calls company-mcp for alice
	helper   = "spiffe://cluster.local/ns/agents/sa/helper"     // so does this one
	lonely   = "spiffe://cluster.local/ns/agents/sa/lonely"     // has a grant for itself: no waypoint may speak for it
	stranger = "spiffe://cluster.local/ns/agents/sa/stranger"   // has no grant
	server   = "spiffe://cluster.local/ns/tools/sa/company-mcp" // calls the ledger and the archive in turn
	waypoint = "spiffe://cluster.local/ns/tools/sa/agents"

	ledger     = "http://ledger.tools:3000" // what both, ledger and archive, take tokens for
	ownSecret  = "not a secret / of: the waypoint"
	ownMTLS    = "type: MutualTLS"
	ownKey     = "type: PrivateKeyJWT, clientID: waypoint-key, secretRef: {name: sts, key: key}"
	ownBasic   = "type: ClientSecretBasic, clientID: waypoint-secret, secretRef: {name: sts, key: secret}"
	ownPost    = "type: ClientSecretPost, clientID: waypoint-secret, secretRef: {name: sts, key: secret}"
	ownPlaces  = `[{header: {name: x-user-token}}, {cookie: user}, {header: {name: Authorization, prefix: "Bearer "}}]`
	noLocation = `[{header: {name: Authorization, prefix: "Bearer "}}]`
)

// ownSTS is `waypoint sts`, a process of its own, and the mesh around it: an agent's server, the ledger and the archive.
type ownSTS struct {
	w       *world
	program string
	process *peers.Process
	issuer  string                 // https, at a port that outlives the process
	at      atomic.Pointer[string] // where the process listens with TLS
	idp     *issuer
	keys    jwk.Set         // what its tokens are proven with
	key     []byte          // of the client waypoint-key, in PEM
	roots   []byte          // of the mesh, in PEM
	audit   string          // a file
	grants  string          // a file
	tls     *http.Transport // with no certificate of ours

	tools, ledger, archive *watched
}

// watched is a server of MCP, and every byte that came to it.
type watched struct {
	backend
	bytes wire
}

// wire keeps what is read from the connections of a listener.
type wire struct {
	net.Listener
	mu  sync.Mutex
	got bytes.Buffer
}

type tapped struct {
	net.Conn
	w *wire
}

func (w *wire) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tapped{c, w}, nil
}

func (c *tapped) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.got.Write(b[:n])
	return n, err
}

// all is everything that came since the test began.
func (w *wire) all() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got.String()
}

func newOwnSTS(t *testing.T, program string) *ownSTS {
	t.Helper()
	w := newWorld(t)
	s := &ownSTS{w: w, program: program, idp: newIssuer(t, "https://idp.example.com"), tls: &http.Transport{}}
	t.Cleanup(s.tls.CloseIdleConnections)
	at := peers.Forward(t, func(ctx context.Context) (peers.Duplex, error) {
		to := s.at.Load()
		if to == nil {
			return nil, errors.New("it does not run yet")
		}
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", *to)
		if err != nil {
			return nil, err
		}
		return c.(*net.TCPConn), nil
	})
	s.issuer = "https://" + at.String()
	s.start(t)
	plain := netip.MustParseAddrPort(s.process.Await(t, `msg="serving what the mesh carries" address=(\S+)`, 30*time.Second))
	in, err := w.mesh.Inbound(testmesh.InboundConfig{Workload: w.mesh.ID("identity", "sts"), App: plain})
	if err != nil {
		t.Fatal(err)
	}
	w.at["sts"] = testmesh.Placement{App: plain, Tunnel: in.Addr()}
	s.tls.TLSClientConfig = &tls.Config{RootCAs: w.mesh.CA().Roots(), MinVersion: tls.VersionTLS13}
	s.publishes(t)
	s.tools, s.ledger, s.archive = s.place("company-mcp"), s.place("ledger"), s.place("archive")
	return s
}

// publishes fetches the keys that the service signs with.
func (s *ownSTS) publishes(t *testing.T) {
	t.Helper()
	resp, err := (&http.Client{Transport: s.tls, Timeout: 10 * time.Second}).Get(s.issuer + "/jwks")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if s.keys, err = jwk.Parse(b); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
}

// start runs the program with a certificate of the mesh that is good for the address of its issuer too.
func (s *ownSTS) start(t *testing.T) {
	t.Helper()
	dir, ca := t.TempDir(), s.w.mesh.CA()
	for _, sub := range []string{"certs", "config"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	addressed := certstest.WithTemplate(func(c *x509.Certificate) { c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)} })
	if err := ca.WriteFiles(filepath.Join(dir, "certs"), s.w.mesh.ID("identity", "sts"), addressed); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.roots, err = os.ReadFile(filepath.Join(dir, "certs", "root-cert.pem")); err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err1 := x509.MarshalPKCS8PrivateKey(key)
	public, err2 := x509.MarshalPKIXPublicKey(&key.PublicKey)
	s.key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	clients, err3 := json.Marshal(map[string]map[string]string{
		"waypoint-key":    {"publicKey": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))},
		"waypoint-secret": {"secretSHA256": fmt.Sprintf("%x", sha256.Sum256([]byte(ownSecret)))},
	})
	s.audit, s.grants = filepath.Join(dir, "audit"), filepath.Join(dir, "config", "grants.yaml")
	if err := errors.Join(err1, err2, err3,
		os.WriteFile(filepath.Join(dir, "clients.json"), clients, 0o600),
		os.WriteFile(filepath.Join(dir, "config", "users.yaml"), fmt.Appendf(nil, ownUsers, s.idp.keys()), 0o600),
		os.WriteFile(s.grants, []byte(ownGrants), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	s.process = peers.Start(t, exec.CommandContext(t.Context(), s.program, "sts", "--config", filepath.Join(dir, "config"),
		"--certs", filepath.Join(dir, "certs"), "--issuer", s.issuer, "--subjects", "identity/users", "--clients", filepath.Join(dir, "clients.json"),
		"--listen", "127.0.0.1:0", "--listen-plain", "127.0.0.1:0", "--audit", s.audit))
	at := s.process.Await(t, `msg=serving issuer=\S+ address=(\S+)`, 30*time.Second)
	s.at.Store(&at)
}

// place runs a server with a ztunnel beside it.
func (s *ownSTS) place(name string) *watched {
	s.w.t.Helper()
	a := &watched{}
	h := httptest.NewUnstartedServer(a)
	a.bytes.Listener = h.Listener
	h.Listener = &a.bytes
	h.Start()
	s.w.t.Cleanup(h.Close)
	app := h.Listener.Addr().(*net.TCPAddr).AddrPort()
	in, err := s.w.mesh.Inbound(testmesh.InboundConfig{Workload: s.w.mesh.ID("tools", name), App: app})
	if err != nil {
		s.w.t.Fatal(err)
	}
	s.w.at[name] = testmesh.Placement{App: app, Tunnel: in.Addr()}
	return a
}

// hop is how a waypoint asks for tokens.
type hop struct {
	service string // whose calls it trades for; "" is company-mcp
	mesh    bool   // through the mesh in plain HTTP, and not at the https URL
	client  string // clientAuthentication; "" is the default
	more    string // of exchange
	places  string // where the user's token can be
	chain   string // of the AgentAuthentication
}

// configure writes the configuration of a waypoint in front of the same services.
func (s *ownSTS) configure(t *testing.T, h hop) (dir string) {
	t.Helper()
	dir = t.TempDir()
	staged := t.TempDir()
	for _, name := range []string{"gateway.yaml", "services.yaml"} {
		b, err := os.ReadFile(filepath.Join("../../examples/obo-chain", name))
		if err := errors.Join(err, os.WriteFile(filepath.Join(staged, name), b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	endpoint := fmt.Sprintf("{url: %q, caCertificates: [{name: roots, key: pem}]}", s.issuer+"/token")
	if h.mesh {
		endpoint = "{backendRef: {name: sts, namespace: identity, port: 8080}, path: /token}"
	}
	asked := "endpoint: " + endpoint + ", " + h.more
	if h.client != "" {
		asked += ", clientAuthentication: {" + h.client + "}"
	}
	service, places := h.service, h.places
	if service == "" {
		service = "company-mcp"
	}
	if places == "" {
		places = noLocation
	}
	own := ""
	if h.chain != "" {
		own = "\n  chain: " + h.chain
	}
	policies := fmt.Sprintf(ownServices, "ledger", 3) + fmt.Sprintf(ownServices, "archive", 4) +
		fmt.Sprintf(ownPolicies, service, asked, ownSecret, s.key, s.roots, places, s.idp.keys(), s.issuer, s.issuer) + own + "\n"
	if err := errors.Join(os.WriteFile(filepath.Join(staged, "policies.yaml"), []byte(policies), 0o600), testmesh.CopyConfig(staged, dir, s.w.at)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// waypoint is a new one.
func (s *ownSTS) waypoint(t *testing.T, h hop) *world {
	t.Helper()
	w := &world{t: t, mesh: s.w.mesh, dir: s.configure(t, h), at: s.w.at}
	w.run()
	return w
}

// as is the HTTP client of a workload, through its ztunnel, for one of the services.
func (s *ownSTS) as(w *world, id, service string) *http.Client {
	w.t.Helper()
	vip := map[string]string{"company-mcp": "10.96.2.1:3000", "ledger": "10.96.2.3:3000", "archive": "10.96.2.4:3000"}[service]
	out, err := w.mesh.Outbound(testmesh.OutboundConfig{
		Caller: identity.RequireID(id), Waypoint: w.waypoint.Addr(), Expect: []identity.ID{w.waypoint.ID()}, Authority: vip,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	c := out.HTTPClient()
	w.t.Cleanup(c.CloseIdleConnections)
	return c
}

// call calls a service, and returns the token that came there. No part of the caller's may be in the bytes that it read, and neither
// is one in what the token service writes down.
func (s *ownSTS) call(w *world, id, service, token string, more ...string) (got result, new string) {
	w.t.Helper()
	to := map[string]*watched{"company-mcp": s.tools, "ledger": s.ledger, "archive": s.archive}[service]
	_, before := to.seen()
	mark := len(to.bytes.all())
	got = w.call(s.as(w, id, service), service+":3000", "plan_training", token, more...)
	header, after := to.seen()
	read := to.bytes.all()[mark:]
	if service != "archive" { // which takes tokens as they are
		absent(w.t, read, token)
	}
	absent(w.t, s.said(w.t), token)
	if got.code != "" {
		if after != before {
			w.t.Error("a refused call reached the server")
		}
		return got, ""
	}
	if after != before+1 {
		w.t.Fatalf("%d calls reached the server", after-before)
	}
	lines := header["Authorization"]
	if len(lines) == 0 {
		return got, ""
	}
	new, ok := strings.CutPrefix(lines[0], "Bearer ")
	if len(lines) != 1 || !ok {
		w.t.Fatalf("the server got %q in Authorization", lines)
	}
	if !strings.Contains(read, new) {
		w.t.Fatal("what the server got is not among the bytes that it read")
	}
	if strings.Contains(s.said(w.t), new) {
		w.t.Error("the service has written its token down")
	}
	for _, r := range w.waypoint.Audit().Records(0) {
		if strings.Contains(r.Line, new) {
			w.t.Error("the new token is in the record")
		}
	}
	return got, new
}

// absent asks that no part of a token is in what a server read. The first part of a JWS says nothing of anybody.
func absent(t *testing.T, read, token string) {
	t.Helper()
	for i, part := range append(strings.Split(token, ".")[1:], token) {
		if part != "" && strings.Contains(read, part) {
			t.Errorf("part %d of the caller's token reached the server", i+1)
		}
	}
}

// act is who acts, and inside it for whom.
type act struct {
	Subject string `json:"sub"`
	Act     *act   `json:"act"`
}

// told is what a token of ours says.
type told struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Audience string `json:"aud"`
	Scope    string `json:"scope"`
	Act      *act   `json:"act"`
	MayAct   *act   `json:"may_act"`
}

// by is who acts, outermost first.
func (c told) by() []string {
	var names []string
	for a := c.Act; a != nil; a = a.Act {
		names = append(names, a.Subject)
	}
	return names
}

// read returns what a token of ours says, which its keys prove.
func (s *ownSTS) read(t *testing.T, token string) (c told) {
	t.Helper()
	payload, err := jws.Verify([]byte(token), jws.WithKeySet(s.keys))
	if err != nil {
		t.Fatalf("the keys of the service do not prove %q: %v", token, err)
	}
	if err := json.Unmarshal(payload, &c); err != nil || c.Issuer != s.issuer {
		t.Fatalf("%v: the token says %s", err, payload)
	}
	return c
}

// said is all that the service has written.
func (s *ownSTS) said(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(s.audit)
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + s.process.String()
}

// records are the exchanges from the given one on.
func (s *ownSTS) records(t *testing.T, from int) []sts.Record {
	t.Helper()
	b, err := os.ReadFile(s.audit)
	if err != nil {
		t.Fatal(err)
	}
	var all []sts.Record
	for line := range strings.Lines(string(b)) {
		var r sts.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, r)
	}
	return all[from:]
}

// user is a token of alice for an agent, and for nobody else.
func (s *ownSTS) user(t *testing.T, agent string, more map[string]any) string {
	t.Helper()
	claims := map[string]any{"aud": agent, "may_act": map[string]string{"sub": agent}, "scope": "training mail"}
	for k, v := range more {
		if claims[k] = v; v == nil {
			delete(claims, k)
		}
	}
	return s.idp.token(t, claims)
}

// trade asks for a token as a workload, without any waypoint.
func (s *ownSTS) trade(t *testing.T, id, subject, audience string) string {
	t.Helper()
	m, err := s.w.mesh.Certificates(identity.RequireID(id)).Current()
	if err != nil {
		t.Fatal(err)
	}
	own := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: m.Roots, Certificates: []tls.Certificate{m.Certificate}, MinVersion: tls.VersionTLS13}}
	defer own.CloseIdleConnections()
	resp, err := (&http.Client{Transport: own, Timeout: 10 * time.Second}).PostForm(s.issuer+"/token", url.Values{
		"grant_type": {oauth.GrantExchange}, "subject_token": {subject}, "subject_token_type": {oauth.TypeJWT}, "audience": {audience},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var a struct {
		Token string `json:"access_token"`
		Error string `json:"error"`
	}
	if err := json.UnmarshalRead(resp.Body, &a); err != nil || a.Error != "" {
		t.Fatalf("%v: %s", err, a.Error)
	}
	return a.Token
}

const (
	forTools  = `audiences: ["` + server + `"]`
	forLedger = `audiences: ["` + ledger + `"]`
)

// A waypoint trades the caller's token at `waypoint sts`: both are the product, and so is all that is between them.
func TestOwnSTS(t *testing.T) {
	program := filepath.Join(t.TempDir(), "waypoint")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/waypoint")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := newOwnSTS(t, program)
	t.Run("clients", s.clients)
	t.Run("refused", s.refused)
	t.Run("rights", s.rights)
	t.Run("chain", s.chain)
	t.Run("settings", s.settings)
	t.Run("a grant that changes", s.changes)
	t.Run("away", func(t *testing.T) { ownAway(t, program) })
}

// clients: however the waypoint says who it is, the new token names who called it.
func (s *ownSTS) clients(t *testing.T) {
	key := ownKey + ", audience: '" + s.issuer + "'"
	tests := []struct {
		name   string
		hop    hop
		agent  string // for whom the user's token is
		by     string // outermost
		client string // for the record of the service
		method string
		sent   []string // instead of Authorization; % is the token
	}{
		{"MutualTLS", hop{client: ownMTLS, more: forTools}, planner, planner, waypoint, "certificate", nil},
		{"the default", hop{more: forTools + ", actor: Caller"}, planner, planner, waypoint, "certificate", nil},
		{"MutualTLS, with its name", hop{client: ownMTLS + ", clientID: '" + waypoint + "'", more: forTools}, planner, planner, waypoint, "certificate", nil},
		{"MutualTLS, a JWT", hop{client: ownMTLS, more: forTools + ", requestedTokenType: JWT"}, planner, planner, waypoint, "certificate", nil},
		{"MutualTLS, an access token", hop{client: ownMTLS, more: forTools + ", subjectTokenType: AccessToken"}, planner, planner, waypoint, "certificate", nil},
		{"MutualTLS, from a header of its own", hop{client: ownMTLS, more: forTools, places: ownPlaces}, planner, planner, waypoint, "certificate", []string{"X-User-Token", "%"}},
		{"MutualTLS, from a cookie", hop{client: ownMTLS, more: forTools, places: ownPlaces}, planner, planner, waypoint, "certificate", []string{"Cookie", "a=b; user=%; c=d"}},
		{"PrivateKeyJWT through the mesh", hop{mesh: true, client: key, more: forTools}, planner, planner, "waypoint-key", "private_key_jwt", nil},
		{"PrivateKeyJWT", hop{client: ownKey, more: forTools}, planner, planner, "waypoint-key", "private_key_jwt", nil},
		{"ClientSecretBasic through the mesh", hop{mesh: true, client: ownBasic, more: forTools + ", actor: None"}, "waypoint-secret", "waypoint-secret", "waypoint-secret", "secret", nil},
		{"ClientSecretBasic", hop{client: ownBasic, more: forTools + ", actor: None"}, "waypoint-secret", "waypoint-secret", "waypoint-secret", "secret", nil},
		{"ClientSecretPost", hop{client: ownPost, more: forTools + ", actor: None"}, "waypoint-secret", "waypoint-secret", "waypoint-secret", "secret", nil},
	}
	for _, tt := range tests {
		for _, earlier := range []string{"", "assistant"} {
			t.Run(tt.name+map[bool]string{true: ", an earlier actor"}[earlier != ""], func(t *testing.T) {
				w := s.waypoint(t, tt.hop)
				claims, by, chain := map[string]any{}, []string{tt.by}, []string{"alice", tt.by}
				if earlier != "" {
					claims["act"] = map[string]string{"sub": earlier}
					by, chain = []string{tt.by, earlier}, []string{"alice", earlier, tt.by}
				}
				token := s.user(t, tt.agent, claims)
				from := len(s.records(t, 0))
				inHeader, sent := token, slices.Clone(tt.sent)
				if sent != nil {
					inHeader, sent[1] = "", strings.ReplaceAll(sent[1], "%", token)
				}
				got, new := s.call(w, planner, "company-mcp", inHeader, sent...)
				records := s.records(t, from)
				if got.code != "" {
					t.Fatalf("got %+v; %+v", got, records)
				}
				absent(t, s.tools.bytes.all(), token)
				c := s.read(t, new)
				if c.Subject != "alice" || c.Audience != server || !slices.Equal(c.by(), by) || c.Scope != "training" || c.MayAct == nil || c.MayAct.Subject != server {
					t.Errorf("the token says %+v, by %q", c, c.by())
				}
				if len(records) != 1 {
					t.Fatalf("%d records: %+v", len(records), records)
				}
				r := records[0]
				actor := tt.by
				if actor == tt.client {
					actor = ""
				}
				if r.Outcome != "issued" || r.Client != tt.client || r.Method != tt.method || r.Actor != actor || !slices.Equal(r.Chain, chain) ||
					!slices.Equal(r.Audiences, []string{server}) || r.Subject != "alice" || r.Issuer != s.idp.name {
					t.Errorf("record %+v", r)
				}
			})
		}
	}
}

// refused: what no grant says, and what the tokens do not say. The record of the service says why, and the caller gets no further.
func (s *ownSTS) refused(t *testing.T) {
	mtls, key := hop{client: ownMTLS, more: forTools}, hop{mesh: true, client: ownKey + ", audience: '" + s.issuer + "'", more: forTools}
	basic := hop{mesh: true, client: ownBasic, more: forTools + ", actor: None"}
	tests := []struct {
		name   string
		hop    hop
		caller string
		token  string
		error  string // for the waypoint
		cause  string // for who runs the service
		actor  string // of the record
		code   string // for the caller: what is amiss with the waypoint itself is not the caller's fault
	}{
		{"the waypoint is no forwarder, by certificate", mtls, lonely, s.user(t, lonely, nil), "unauthorized_client", "no grant lets this client speak for the actor", lonely, "upstream_unavailable"},
		{"the waypoint is no forwarder, by key", key, lonely, s.user(t, lonely, nil), "unauthorized_client", "no grant lets this client speak for the actor", lonely, "upstream_unavailable"},
		{"the caller has no grant", mtls, stranger, s.user(t, stranger, nil), "invalid_grant", "no grant names the actor", stranger, "entitlement_denied"},
		{"another's token", mtls, helper, s.user(t, planner, nil), "invalid_grant", "the subject token is not meant for the actor", helper, "entitlement_denied"},
		{"somebody else may act", mtls, planner, s.user(t, planner, map[string]any{"may_act": map[string]string{"sub": helper}}), "invalid_grant", "the subject token says that somebody else may act", planner, "entitlement_denied"},
		{"the waypoint itself may act", mtls, planner, s.user(t, planner, map[string]any{"may_act": map[string]string{"sub": waypoint}}), "invalid_grant", "the subject token says that somebody else may act", planner, "entitlement_denied"},
		{"nobody may act", mtls, planner, s.user(t, planner, map[string]any{"may_act": nil}), "invalid_grant", "the subject token does not say that anybody may act", planner, "entitlement_denied"},
		{"by a secret, for the caller", basic, planner, s.user(t, planner, nil), "invalid_grant", "the subject token is not meant for the actor", "", "entitlement_denied"},
		{"an audience of nobody's grant", hop{client: ownMTLS, more: "audiences: ['http://elsewhere']"}, planner, s.user(t, planner, nil), "invalid_target", "no grant of this client has all of these audiences", planner, "entitlement_denied"},
		{"an audience of another's grant", hop{client: ownMTLS, more: forLedger}, planner, s.user(t, planner, nil), "invalid_target", "no grant of this client has all of these audiences", planner, "entitlement_denied"},
		{"one audience too many", hop{client: ownMTLS, more: `audiences: ["` + server + `", "` + ledger + `"]`}, planner, s.user(t, planner, nil), "invalid_target", "no grant of this client has all of these audiences", planner, "entitlement_denied"},
		{"an assertion for another place", hop{mesh: true, client: ownKey, more: forTools}, planner, s.user(t, planner, nil), "invalid_client", "the assertion is no good: it is for somebody else", "", "upstream_unavailable"},
		{"not its secret", hop{client: strings.Replace(ownBasic, "key: secret", "key: wrong", 1), more: forTools + ", actor: None"}, planner, s.user(t, planner, nil), "invalid_client", "no client with that id and secret", "", "upstream_unavailable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := s.waypoint(t, tt.hop)
			from := len(s.records(t, 0))
			got, _ := s.call(w, tt.caller, "company-mcp", tt.token)
			if got.code == "" {
				t.Fatal("it was let through")
			}
			records := s.records(t, from)
			if len(records) != 1 {
				t.Fatalf("%d records: %+v", len(records), records)
			}
			if r := records[0]; r.Outcome != "refused" || r.Error != tt.error || r.Cause != tt.cause || r.Actor != tt.actor {
				t.Errorf("record %+v", r)
			}
			if strings.Contains(got.body, tt.cause) || strings.Contains(got.body, tt.error) {
				t.Errorf("the caller is told %s", got.body)
			}
			if got.code != tt.code {
				t.Errorf("got %s (%s), want %s", got.code, got.reason, tt.code)
			}
		})
	}
}

// rights: what is asked for has to be in the token and in the grant; if nothing is asked for it is what both have.
func (s *ownSTS) rights(t *testing.T) {
	tests := []struct {
		name  string
		has   any    // the scope of the user's token
		asked string // more of exchange
		scope string // of the new token
		error string
		code  string
	}{
		{"narrowed", "training mail", "", "training", "", ""},
		{"asked for", "training mail", ", scopes: [training]", "training", "", ""},
		{"narrowed to two", "mail reports training", "", "reports training", "", ""},
		{"nothing in common", "mail", "", "", "", ""},
		{"a token without scope", nil, "", "", "", ""},
		{"outside the grant", "training mail", ", scopes: [mail]", "", "invalid_scope", "entitlement_denied"},
		{"one of two outside the grant", "training mail", ", scopes: [training, mail]", "", "invalid_scope", "entitlement_denied"},
		{"outside the token", "training", ", scopes: [reports]", "", "invalid_scope", "entitlement_denied"},
		{"outside both", "training", ", scopes: [admin]", "", "invalid_scope", "entitlement_denied"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := s.waypoint(t, hop{client: ownMTLS, more: forTools + tt.asked})
			from := len(s.records(t, 0))
			got, new := s.call(w, planner, "company-mcp", s.user(t, planner, map[string]any{"scope": tt.has}))
			records := s.records(t, from)
			if len(records) != 1 || records[0].Error != tt.error || got.code != tt.code {
				t.Fatalf("got %+v, records %+v", got, records)
			}
			if tt.code != "" {
				return
			}
			if c := s.read(t, new); c.Scope != tt.scope || !slices.Equal(c.by(), []string{planner}) {
				t.Errorf("the token says %+v", c)
			}
		})
	}
}

// chain: the planner calls company-mcp, which calls on with what it was given.
func (s *ownSTS) chain(t *testing.T) {
	first := s.waypoint(t, hop{client: ownMTLS, more: forTools})
	second := s.waypoint(t, hop{service: "ledger", client: ownMTLS, more: forLedger})
	alice := s.user(t, planner, nil)
	got, one := s.call(first, planner, "company-mcp", alice)
	if got.code != "" {
		t.Fatalf("the first hop: %+v", got)
	}
	if c := s.read(t, one); c.Audience != server || !slices.Equal(c.by(), []string{planner}) {
		t.Fatalf("after the first hop: %+v", c)
	}
	from := len(s.records(t, 0))
	got, two := s.call(second, server, "ledger", one)
	if got.code != "" {
		t.Fatalf("the second hop: %+v; %+v", got, s.records(t, from))
	}
	absent(t, s.ledger.bytes.all(), alice)
	if c := s.read(t, two); c.Subject != "alice" || c.Audience != ledger || !slices.Equal(c.by(), []string{server, planner}) || c.Scope != "training" {
		t.Errorf("after the second hop: %+v, by %q", c, c.by())
	}
	if r := s.records(t, from); len(r) != 1 || !slices.Equal(r[0].Chain, []string{"alice", planner, server}) || r[0].Client != waypoint || r[0].Actor != server {
		t.Errorf("records %+v", r)
	}
	its := s.trade(t, server, one, ledger) // what it gets for itself
	if c := s.read(t, its); !slices.Equal(c.by(), []string{server, planner}) {
		t.Errorf("traded without a waypoint: %+v", c)
	}
	skipped := s.trade(t, server, s.user(t, server, nil), ledger) // alice asked company-mcp herself

	const keeper = "spiffe://cluster.local/ns/tools/sa/ledger"
	unbound := func(id string) string {
		return fmt.Sprintf("the last actor %q is not the caller %s (binding SPIFFEID)", server, id)
	}
	tests := []struct {
		name    string
		caller  string
		service string
		token   string
		code    string
		reason  string
	}{
		{"the whole chain, from the hop", server, "archive", two, "", ""},
		{"the whole chain, its own", server, "archive", its, "", ""},
		{"stolen", stranger, "archive", two, "chain_unbound", unbound(stranger)},
		{"its own, stolen", stranger, "archive", its, "chain_unbound", unbound(stranger)},
		{"by who called first", planner, "archive", two, "chain_unbound", unbound(planner)},
		{"by who was called last", keeper, "archive", two, "chain_unbound", unbound(keeper)},
		{"by the waypoint", waypoint, "archive", two, "chain_unbound", unbound(waypoint)},
		{"the planner skipped", server, "archive", skipped, "chain_invalid", "the chain has 1 actors, and 2 are required"},
		{"one hop earlier", server, "archive", one, "token_invalid", "not for this audience: aud of 1 entries"},
		{"one hop too late", server, "ledger", two, "token_invalid", "not for this audience: aud of 1 entries"},
		{"on the hop, by who called first", planner, "ledger", one, "entitlement_denied", "no token for the destination: oauth: the server refuses: invalid_target (status 400)"},
	}
	for _, tt := range tests {
		got, new := s.call(second, tt.caller, tt.service, tt.token)
		if got.code != tt.code || got.reason != tt.reason {
			t.Errorf("%s: got %s %q, want %s %q", tt.name, got.code, got.reason, tt.code, tt.reason)
		}
		if tt.code == "" && new != tt.token {
			t.Errorf("%s: the archive got %q", tt.name, new)
		}
	}

	// Where a token is traded, the chain is judged before that: its last actor is not yet who calls.
	for _, tt := range []struct{ name, chain, code string }{
		{"the chain with the caller", "{actors: [{anyOf: ['" + planner + "']}, {anyOf: ['" + server + "']}]}", "chain_invalid"},
		{"the chain before the caller", "{actors: [{anyOf: ['" + planner + "']}]}", "chain_unbound"},
		{"the chain before the caller, not bound", "{actors: [{anyOf: ['" + planner + "']}], binding: {type: None, waiver: {reason: the token is traded for its audience alone}}}", ""},
	} {
		w := s.waypoint(t, hop{service: "ledger", client: ownMTLS, more: forLedger, chain: tt.chain})
		got, new := s.call(w, server, "ledger", one)
		if got.code != tt.code {
			t.Errorf("%s: got %+v, want %s", tt.name, got, tt.code)
		}
		if got.code == "" {
			if c := s.read(t, new); !slices.Equal(c.by(), []string{server, planner}) {
				t.Errorf("%s: %+v", tt.name, c)
			}
		}
	}
}

// changes: once the grant names the waypoint, it may speak for the caller.
func (s *ownSTS) changes(t *testing.T) {
	w := s.waypoint(t, hop{client: ownMTLS, more: forTools})
	token := s.user(t, lonely, nil)
	if got, _ := s.call(w, lonely, "company-mcp", token); got.code != "upstream_unavailable" {
		t.Fatalf("before: %+v", got)
	}
	grants := strings.Replace(ownGrants, "cluster.local/ns/elsewhere/sa/agents", "cluster.local/ns/tools/sa/agents", 1)
	if err := os.WriteFile(s.grants, []byte(grants), 0o600); err != nil {
		t.Fatal(err)
	}
	s.process.Await(t, `msg="grants in force"`, 30*time.Second)
	got, new := s.call(w, lonely, "company-mcp", token)
	if got.code != "" {
		t.Fatalf("after: %+v", got)
	}
	if c := s.read(t, new); !slices.Equal(c.by(), []string{lonely}) {
		t.Errorf("the token says %+v", c)
	}
}

// settings: what cannot work is refused before there is a call.
func (s *ownSTS) settings(t *testing.T) {
	const why = "Caller needs a key to vouch for the caller with: clientAuthentication has to be MutualTLS or PrivateKeyJWT"
	const mesh = "clientAuthentication: must be another than MutualTLS with a backendRef"
	for _, tt := range []struct{ name, client, more, why string }{
		{"MutualTLS through the mesh", ownMTLS, forTools, mesh},
		{"the default through the mesh", "", forTools, mesh},
		{"ClientSecretBasic for the caller", ownBasic, forTools, why},
		{"ClientSecretPost for the caller", ownPost, forTools, why},
		{"ClientSecretBasic for itself", ownBasic, forTools + ", actor: None", ": valid: "},
		{"PrivateKeyJWT for the caller", ownKey, forTools, ": valid: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := s.configure(t, hop{mesh: true, client: tt.client, more: tt.more})
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			out, err := exec.CommandContext(ctx, s.program, "check", dir).CombinedOutput()
			if (err == nil) != (tt.why == ": valid: ") || !strings.Contains(string(out), tt.why) {
				t.Errorf("%v: %s, want %s", err, out, tt.why)
			}
		})
	}
}

// ownAway: what was traded goes on while the service is gone, for whom it was traded; nothing else does.
func ownAway(t *testing.T, program string) {
	s := newOwnSTS(t, program)
	key := ownKey + ", audience: '" + s.issuer + "'"
	hops := map[string]hop{
		"MutualTLS":     {client: ownMTLS, more: forTools},
		"PrivateKeyJWT": {mesh: true, client: key, more: forTools},
		"without one":   {client: ownMTLS, more: forTools + ", onFailure: ForwardWithoutToken"},
	}
	worlds, kept := map[string]*world{}, map[string]string{}
	known := s.user(t, planner, nil)
	for name, h := range hops {
		worlds[name] = s.waypoint(t, h)
		got, new := s.call(worlds[name], planner, "company-mcp", known)
		if got.code != "" {
			t.Fatalf("%s: %+v", name, got)
		}
		kept[name] = new
	}
	from := len(s.records(t, 0))
	s.process.Stop()
	both := s.user(t, planner, map[string]any{"aud": []string{planner, helper}})
	for _, tt := range []struct{ name, caller, token, code string }{
		{"the same", planner, known, ""},
		{"another caller", helper, s.user(t, helper, nil), "upstream_unavailable"},
		{"another caller, with the token that was traded", helper, known, "upstream_unavailable"},
		{"another token", planner, both, "upstream_unavailable"},
		{"the same again", planner, known, ""},
	} {
		for name, w := range worlds {
			want, code := "", tt.code
			if tt.code == "" {
				want = kept[name]
			} else if name == "without one" {
				code = ""
			}
			got, new := s.call(w, tt.caller, "company-mcp", tt.token)
			if got.code != code || new != want {
				t.Errorf("%s, %s: got %s (%s), the kept token %t", name, tt.name, got.code, got.reason, new == kept[name])
			}
		}
	}
	if r := s.records(t, from); len(r) != 0 {
		t.Errorf("records %+v", r)
	}

	s.start(t) // it has forgotten its keys, and has others
	s.publishes(t)
	got, new := s.call(worlds["MutualTLS"], planner, "company-mcp", both)
	if got.code != "" {
		t.Fatalf("it is back: %+v", got)
	}
	if c := s.read(t, new); !slices.Equal(c.by(), []string{planner}) {
		t.Errorf("the token says %+v", c)
	}
}

const ownUsers = `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthentication
metadata: {name: users, namespace: identity}
spec:
  targetRefs: [{kind: Service, name: sts}]
  issuers:
    - issuer: https://idp.example.com
      anyAudience: {reason: the token service itself asks whether a token is for the client that shows it}
      algorithms: [ES256]
      jwks: {inline: '%s'}
`

const ownGrants = `apiVersion: waymark.dev/v1alpha1
kind: TokenExchange
metadata: {name: story, namespace: identity}
spec:
  grants:
    - name: agents
      clients: [cluster.local/ns/agents/sa/planner, cluster.local/ns/agents/sa/helper]
      forwarders: [cluster.local/ns/tools/sa/agents, waypoint-key]
      audiences: ["` + server + `"]
      scopes: [training, reports]
      nextActor: ` + server + `
    - name: secret
      clients: [waypoint-secret]
      audiences: ["` + server + `"]
      scopes: [training]
      nextActor: ` + server + `
    - name: lonely
      clients: [cluster.local/ns/agents/sa/lonely]
      forwarders: [cluster.local/ns/elsewhere/sa/agents]
      audiences: ["` + server + `"]
      scopes: [training]
    - name: server
      clients: [cluster.local/ns/tools/sa/company-mcp]
      forwarders: [cluster.local/ns/tools/sa/agents]
      audiences: ["` + ledger + `"]
      scopes: [training]
`

const ownServices = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: %[1]s
  namespace: tools
  labels: {istio.io/use-waypoint: agents}
  annotations: {waymark.dev/protocol: mcp}
spec:
  hosts: [%[1]s.tools.svc.cluster.local]
  addresses: [10.96.2.%[2]d]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 3000, name: mcp, protocol: HTTP}]
  workloadSelector: {labels: {app: %[1]s}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: %[1]s, namespace: tools, labels: {app: %[1]s, networking.istio.io/tunnel: http}}
spec:
  address: 10.244.2.%[2]d
  serviceAccount: %[1]s
  ports: {mcp: 3000}
---
`

const ownPolicies = `apiVersion: waymark.dev/v1alpha1
kind: TokenExchange
metadata: {name: hop, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: %s}]
  exchange: {%s}
---
apiVersion: v1
kind: Secret
metadata: {name: sts, namespace: tools}
stringData: {secret: %q, wrong: "not the secret", key: %q}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: roots, namespace: tools}
data: {pem: %q}
---
apiVersion: waymark.dev/v1alpha1
kind: AgentAuthentication
metadata: {name: users, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: company-mcp}]
  tokenLocations: %s
  issuers:
    - issuer: https://idp.example.com
      audiences: ["` + planner + `", "` + helper + `", "` + lonely + `", "` + stranger + `", waypoint-secret]
      algorithms: [ES256]
      jwks: {inline: '%s'}
---
apiVersion: waymark.dev/v1alpha1
kind: AgentAuthentication
metadata: {name: archive, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: archive}]
  issuers:
    - issuer: %q
      audiences: ["` + ledger + `"]
      algorithms: [ES256]
      jwks: {remote: {endpoint: {backendRef: {name: sts, namespace: identity, port: 8080}, path: /jwks}}}
  chain:
    actors: [{anyOf: ["` + planner + `"]}, {anyOf: ["` + server + `"]}]
---
apiVersion: waymark.dev/v1alpha1
kind: AgentAuthentication
metadata: {name: ledger, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: ledger}]
  issuers:
    - issuer: %q
      audiences: ["` + server + `"]
      algorithms: [ES256]
      jwks: {remote: {endpoint: {backendRef: {name: sts, namespace: identity, port: 8080}, path: /jwks}}}`
