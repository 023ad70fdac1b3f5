package identity_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json/v2"
	"encoding/pem"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v4/jwk"
	"github.com/lestrrat-go/jwx/v4/jws"

	"waymark.dev/waypoint/e2e/peers"
	"waymark.dev/waypoint/internal/testmesh"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/oauth"
)

const (
	zitadelIssuer = "https://idp.example.com"
	zitadelSecret = "not a secret / of: the waypoint" // with characters that RFC 6749 section 2.3.1 wants encoded
)

// zitadel is an OpenID provider that trades tokens, and that nobody here wrote: github.com/zitadel/oidc, in ./zitadel.
type zitadel struct {
	process     *peers.Process
	at          netip.AddrPort
	token, keys string  // paths
	asked       string  // the URL of introspection
	set         jwk.Set // what its tokens are proven with
	key         []byte  // of the client waypoint-key, in PEM
	web         *http.Transport
}

func newZitadel(t *testing.T, file string, args ...string) *zitadel {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	private, err1 := x509.MarshalPKCS8PrivateKey(key)
	public, err2 := x509.MarshalPKIXPublicKey(&key.PublicKey)
	name := filepath.Join(t.TempDir(), "public.pem")
	if err := errors.Join(err1, err2, os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), 0o600)); err != nil {
		t.Fatal(err)
	}
	z := &zitadel{key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), web: &http.Transport{}}
	t.Cleanup(z.web.CloseIdleConnections)
	z.process = peers.Start(t, exec.CommandContext(t.Context(), file, append(args, "-issuer", zitadelIssuer, "-key", name, "-secret", zitadelSecret)...))
	z.at, err = netip.ParseAddrPort(z.process.Await(t, `serves at (\S+);`, 30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	var about struct {
		Issuer string `json:"issuer"`
		Token  string `json:"token_endpoint"`
		Keys   string `json:"jwks_uri"`
		Asked  string `json:"introspection_endpoint"`
	}
	page, _ := read(t, z.browser(nil), zitadelIssuer+"/.well-known/openid-configuration", nil)
	if err := json.Unmarshal([]byte(page), &about); err != nil || about.Issuer != zitadelIssuer {
		t.Fatalf("%v: the provider says of itself %s", err, page)
	}
	z.token, z.keys, z.asked = strings.TrimPrefix(about.Token, zitadelIssuer), strings.TrimPrefix(about.Keys, zitadelIssuer), about.Asked
	page, _ = read(t, z.browser(nil), about.Keys, nil)
	if z.set, err = jwk.Parse([]byte(page)); err != nil {
		t.Fatal(err)
	}
	return z
}

// RoundTrip leads every request for the provider to where it listens: it is https to itself and plain HTTP on loopback.
func (z *zitadel) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme+"://"+r.URL.Host != zitadelIssuer {
		return nil, fmt.Errorf("%s is not the provider", r.URL.Host)
	}
	there := r.Clone(r.Context())
	there.URL.Scheme, there.URL.Host = "http", z.at.String()
	resp, err := z.web.RoundTrip(there)
	if err == nil {
		resp.Request = r
	}
	return resp, err
}

func (z *zitadel) browser(moved func(*http.Request, []*http.Request) error) *http.Client {
	return &http.Client{Transport: z, Timeout: 10 * time.Second, CheckRedirect: moved}
}

var hidden = regexp.MustCompile(`name="id" value="([^"]+)"`)

// signIn does what a user does in a browser, and what the agent does then.
func (z *zitadel) signIn(t *testing.T, user, agent string) granted {
	t.Helper()
	code := ""
	browser := z.browser(func(r *http.Request, _ []*http.Request) error {
		if !strings.HasPrefix(r.URL.String(), callback) {
			return nil
		}
		if code = r.URL.Query().Get("code"); code == "" {
			t.Errorf("the provider says %s", r.URL.Query())
		}
		return errThere
	})
	page, at := read(t, browser, zitadelIssuer+"/auth?"+url.Values{
		"client_id": {agent}, "response_type": {"code"}, "redirect_uri": {callback}, "scope": {"openid email"},
	}.Encode(), nil)
	id := hidden.FindStringSubmatch(page)
	if id == nil {
		t.Fatalf("the provider shows no form: %s", page)
	}
	if page, _ = read(t, browser, at.String(), url.Values{"id": {html.UnescapeString(id[1])}, "username": {user}, "password": {"verysecure"}}); page != "" {
		t.Fatalf("the provider does not let %s in: %s", user, page)
	}
	return z.login(t, agent, zitadelSecret, url.Values{"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}})
}

// login is a request for tokens.
func (z *zitadel) login(t *testing.T, id, secret string, fields url.Values) granted {
	t.Helper()
	var out granted
	z.ask(t, zitadelIssuer+z.token, id, secret, fields, &out)
	if out.Access == "" {
		t.Fatalf("%s got no token: %q", id, out.Error)
	}
	return out
}

// ask is a request of a client that is not the waypoint.
func (z *zitadel) ask(t *testing.T, at, id, secret string, fields url.Values, into any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, at, strings.NewReader(fields.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	resp, err := z.browser(nil).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.UnmarshalRead(resp.Body, into); err != nil {
		t.Fatal(err)
	}
}

// heard is the provider as an endpoint of pkg/oauth, and what it answered last.
type heard struct {
	z      *zitadel
	status int
	answer []byte
}

func (h *heard) URL() string { return zitadelIssuer + h.z.token }

func (h *heard) Post(ctx context.Context, contentType string, body []byte, header http.Header) (int, []byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL(), bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header = header.Clone()
	r.Header.Set("Content-Type", contentType)
	resp, err := h.z.browser(nil).Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	h.status = resp.StatusCode
	h.answer, err = io.ReadAll(resp.Body)
	return h.status, h.answer, err
}

const (
	mayUser = "test-user@idp.example.com" // id1: tokens of this one may be traded
	notUser = "test-user2"                // id2: tokens of this one may not
)

// says is what is known of a token: what stands in it, or what the provider tells a client that it is for.
type says struct {
	Subject  string   `json:"sub"`
	Audience []string `json:"aud"`
	Client   string   `json:"client_id"`
	Expires  int64    `json:"exp"`
	Actor    struct {
		Subject string `json:"sub"`
	} `json:"act"`
	Issuer string `json:"iss"`
	Active bool   `json:"active"`
}

// verify reads a token that the provider's keys prove. One that is no JWS is opaque.
func (z *zitadel) verify(t *testing.T, token string) (s says, opaque bool) {
	t.Helper()
	if strings.Count(token, ".") != 2 {
		return says{}, true
	}
	payload, err := jws.Verify([]byte(token), jws.WithKeySet(z.set))
	if err != nil {
		t.Fatalf("the keys of the provider do not prove its token: %v", err)
	}
	if err := json.Unmarshal(payload, &s); err != nil || s.Issuer != zitadelIssuer {
		t.Fatalf("%v: the token says %s", err, payload)
	}
	return s, false
}

// sum is an answer of the token endpoint in one line, without what is different each time.
func (z *zitadel) sum(t *testing.T, answer []byte) string {
	t.Helper()
	var a struct {
		Token   string  `json:"access_token"`
		Issued  string  `json:"issued_token_type"`
		Type    string  `json:"token_type"`
		Expires *int    `json:"expires_in"`
		Scope   *string `json:"scope"`
		Refresh string  `json:"refresh_token"`
		Error   string  `json:"error"`
		Why     string  `json:"error_description"`
	}
	if err := json.Unmarshal(answer, &a, json.RejectUnknownMembers(true)); err != nil {
		t.Fatalf("%v: %s", err, answer)
	}
	if a.Error != "" {
		return strings.TrimSuffix(a.Error+": "+a.Why, ": ")
	}
	out := "opaque"
	if s, opaque := z.verify(t, a.Token); !opaque {
		out = s.Subject
		if s.Actor.Subject != "" {
			out += " by " + s.Actor.Subject
		}
		out += " for " + strings.Join(s.Audience, " ")
	}
	out += ", " + strings.TrimPrefix(a.Issued, "urn:ietf:params:oauth:token-type:") + ", " + a.Type
	if a.Expires == nil {
		out += ", no expires_in"
	}
	if a.Scope != nil {
		out += ", scope " + *a.Scope
	}
	if a.Refresh != "" {
		out += ", refresh_token"
	}
	return out
}

// A token service that nobody here wrote: what it answers to our client, tokens traded on the hop, and what becomes of calls when it
// is gone.
func TestZitadel(t *testing.T) {
	file := peers.Module(t, "zitadel")
	t.Run("Answers", func(t *testing.T) { zitadelAnswers(t, file) })
	t.Run("OnTheHop", func(t *testing.T) { zitadelOnTheHop(t, file) })
	t.Run("Away", func(t *testing.T) { zitadelAway(t, file) })
}

// Every row is what the provider answers, and what our client makes of it. It has two sets of handlers, which differ.
func zitadelAnswers(t *testing.T, file string) {
	z, other := newZitadel(t, file), newZitadel(t, file, "-provider")
	one, two, opaque := z.signIn(t, mayUser, "agent"), z.signIn(t, notUser, "agent"), z.signIn(t, mayUser, "agent-opaque")
	there := other.signIn(t, mayUser, "agent")
	machine := z.login(t, "sid1", "verysecret", url.Values{"grant_type": {"client_credentials"}})
	assertion := func(key []byte, audience string) oauth.Auth {
		a, err := oauth.PrivateKeyJWT(oauth.KeyOptions{ClientID: "waypoint-key", PEM: key, KeyID: "waypoint-1", Audience: audience})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	key, err := oauth.ParseKey(z.key)
	if err != nil {
		t.Fatal(err)
	}
	vouched, err := oauth.ActorAssertion("waypoint-key", zitadelIssuer, identity.RequireID("spiffe://cluster.local/ns/agents/sa/agent-coach"), key, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	basic, post, good := oauth.SecretBasic("waypoint-basic", zitadelSecret), oauth.SecretPost("waypoint-post", zitadelSecret), assertion(z.key, zitadelIssuer)
	out, none := oauth.SecretBasic("waypoint-opaque", zitadelSecret), oauth.SecretBasic("waypoint-none", zitadelSecret)
	type asks = oauth.Request
	const access = oauth.TypeAccessToken
	tests := []struct {
		name   string
		at     *zitadel
		auth   oauth.Auth
		asks   asks
		status int
		answer string
		err    string
	}{
		{"Basic", z, basic, asks{Subject: one.Access, RequestedType: access, Audiences: []string{"a"}}, 200, "id1 for a, access_token, Bearer", ""},
		{"Basic, the other handlers", other, basic, asks{Subject: there.Access, RequestedType: access, Audiences: []string{"a"}}, 200, "id1 for a, access_token, Bearer", ""},
		{"Post", z, post, asks{Subject: one.Access, RequestedType: access, Audiences: []string{"a"}}, 200, "id1 for a, access_token, Bearer", ""},
		{"Post, the other handlers", other, post, asks{Subject: there.Access, RequestedType: access, Audiences: []string{"a"}}, 401, "invalid_client: invalid client_id / client_secret", "oauth: the server refuses: invalid_client (status 401)"},
		{"an assertion", z, good, asks{Subject: one.Access, RequestedType: access, Audiences: []string{"a"}}, 200, "id1 for a, access_token, Bearer", ""},
		{"an assertion for the endpoint", z, assertion(z.key, ""), asks{Subject: one.Access, RequestedType: access, Audiences: []string{"a"}}, 400, `invalid_grant: audience is not valid: Audience must contain client_id "https://idp.example.com"`, "oauth: the server refuses: invalid_grant (status 400)"},
		{"an assertion by another key", z, assertion(other.key, zitadelIssuer), asks{Subject: one.Access, RequestedType: access, Audiences: []string{"a"}}, 400, "invalid_grant: invalid signature (go-jose/go-jose: error in cryptographic primitive)", "oauth: the server refuses: invalid_grant (status 400)"},
		{"an assertion, the other handlers", other, assertion(other.key, zitadelIssuer), asks{Subject: there.Access, RequestedType: access, Audiences: []string{"a"}}, 401, "invalid_client: invalid client_id / client_secret", "oauth: the server refuses: invalid_client (status 401)"},
		{"two audiences", z, basic, asks{Subject: one.Access, RequestedType: access, Audiences: []string{"a", "b"}}, 200, "id1 for a b, access_token, Bearer", ""},
		{"no audience", z, basic, asks{Subject: one.Access, RequestedType: access}, 200, "id1 for waypoint-basic, access_token, Bearer", ""},
		{"a resource", z, basic, asks{Subject: one.Access, RequestedType: access, Resources: []string{"https://x.example.com"}}, 200, "id1 for waypoint-basic, access_token, Bearer", ""},
		{"scopes", z, basic, asks{Subject: one.Access, RequestedType: access, Scopes: []string{"openid", "email"}}, 200, "id1 for waypoint-basic, access_token, Bearer, scope openid email", ""},
		{"a scope is left out", z, basic, asks{Subject: one.Access, RequestedType: access, Scopes: []string{"openid", "address"}}, 200, "id1 for waypoint-basic, access_token, Bearer, scope openid", ""},
		{"every scope is left out", z, basic, asks{Subject: one.Access, RequestedType: access, Scopes: []string{"address"}}, 200, "id1 for waypoint-basic, access_token, Bearer", ""},
		{"another subject", z, basic, asks{Subject: one.Access, RequestedType: access, Scopes: []string{"custom_scope:impersonate:id2"}}, 200, "id2 by id1 for waypoint-basic, access_token, Bearer, scope custom_scope:impersonate:id2", ""},
		{"opaque out", z, out, asks{Subject: one.Access, RequestedType: access}, 200, "opaque, access_token, Bearer", ""},
		{"opaque in", z, basic, asks{Subject: opaque.Access, RequestedType: access}, 200, "id1 for waypoint-basic, access_token, Bearer", ""},
		{"an ID token in", z, basic, asks{Subject: one.ID, SubjectType: oauth.TypeIDToken, RequestedType: access}, 200, "id1 for waypoint-basic, access_token, Bearer", ""},
		{"an ID token out", z, basic, asks{Subject: one.Access, RequestedType: oauth.TypeIDToken}, 200, " for waypoint-basic, id_token, N_A, no expires_in", ""},
		{"no type asked for", z, basic, asks{Subject: one.Access}, 200, "id1 for waypoint-basic, refresh_token, Bearer, refresh_token", ""},
		{"a JWT in", z, basic, asks{Subject: one.Access, SubjectType: oauth.TypeJWT, RequestedType: access}, 400, "invalid_request: subject_token is invalid", "oauth: the server refuses: invalid_request (status 400)"},
		{"a JWT out", z, basic, asks{Subject: one.Access, RequestedType: oauth.TypeJWT}, 400, "invalid_request: requested_token_type is invalid", "oauth: the server refuses: invalid_request (status 400)"},
		{"an actor of its own", z, basic, asks{Subject: two.Access, RequestedType: access, Actor: one.Access, ActorType: access}, 200, "id2 for waypoint-basic, access_token, Bearer", ""},
		{"our assertion of who calls", z, good, asks{Subject: one.Access, RequestedType: access, Actor: vouched}, 400, "invalid_request: actor_token is invalid", "oauth: the server refuses: invalid_request (status 400)"},
		{"the wrong secret", z, oauth.SecretBasic("waypoint-basic", "wrong"), asks{Subject: one.Access, RequestedType: access}, 400, "invalid_client: invalid client_id / client_secret", "oauth: the server refuses: invalid_client (status 400)"},
		{"an unknown client", z, oauth.SecretPost("nobody", "wrong"), asks{Subject: one.Access, RequestedType: access}, 400, "invalid_client", "oauth: the server refuses: invalid_client (status 400)"},
		{"no secret", z, oauth.MutualTLS("waypoint-basic"), asks{Subject: one.Access, RequestedType: access}, 400, "invalid_client: invalid client_id / client_secret", "oauth: the server refuses: invalid_client (status 400)"},
		{"a client that may not", z, none, asks{Subject: one.Access, RequestedType: access}, 400, `unauthorized_client: grant_type "urn:ietf:params:oauth:grant-type:token-exchange" not allowed`, "oauth: the server refuses: unauthorized_client (status 400)"},
		{"a client that may not, the other handlers", other, none, asks{Subject: there.Access, RequestedType: access}, 200, "id1 for waypoint-none, access_token, Bearer", ""},
		{"a user who may not", z, basic, asks{Subject: two.Access, RequestedType: access}, 500, "server_error: user doesn't have impersonation permission", "oauth: the server is not available: status 500"},
		{"a token of another provider", z, basic, asks{Subject: there.Access, RequestedType: access}, 400, "invalid_request: subject_token is invalid", "oauth: the server refuses: invalid_request (status 400)"},
		{"junk", z, basic, asks{Subject: "junk", RequestedType: access}, 400, "invalid_request: subject_token is invalid", "oauth: the server refuses: invalid_request (status 400)"},
		{"a user who is none: it falls over", z, basic, asks{Subject: machine.Access, RequestedType: access}, 0, "", `oauth: the server is not available: Post "https://idp.example.com/oauth/token": EOF`},
	}
	for _, tt := range tests {
		h := &heard{z: tt.at}
		c, err := oauth.New(oauth.Options{Endpoint: h, Auth: tt.auth})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Exchange(t.Context(), tt.asks)
		got, answer := "", ""
		if err != nil {
			got = err.Error()
		}
		if h.answer != nil {
			answer = tt.at.sum(t, h.answer)
		}
		if h.status != tt.status || answer != tt.answer || got != tt.err {
			t.Errorf("%s: got %d, %q, %q, want %d, %q, %q", tt.name, h.status, answer, got, tt.status, tt.answer, tt.err)
		}
	}
}

// world is a waypoint in front of company-mcp of examples/obo-chain, with the provider in the place of the token service there.
func (z *zitadel) world(t *testing.T, client, more, issuers string) (*world, *backend) {
	t.Helper()
	w, tools := newWorld(t), &backend{}
	w.place("tools", "company-mcp", tools)
	in, err := w.mesh.Inbound(testmesh.InboundConfig{Workload: w.mesh.ID("identity", "sts"), App: z.at})
	if err != nil {
		t.Fatal(err)
	}
	w.at["sts"] = testmesh.Placement{App: z.at, Tunnel: in.Addr()}
	staged := t.TempDir()
	for _, name := range []string{"gateway.yaml", "services.yaml"} {
		b, err := os.ReadFile(filepath.Join("../../examples/obo-chain", name))
		if err := errors.Join(err, os.WriteFile(filepath.Join(staged, name), b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	policies := fmt.Sprintf(zitadelPolicy, z.token, client, more, zitadelSecret, z.key) + issuers
	if err := errors.Join(os.WriteFile(filepath.Join(staged, "policies.yaml"), []byte(policies), 0o600), testmesh.CopyConfig(staged, w.dir, w.at)); err != nil {
		t.Fatal(err)
	}
	w.run()
	return w, tools
}

const zitadelPolicy = `apiVersion: waymark.dev/v1alpha1
kind: TokenExchange
metadata: {name: hop, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: company-mcp}]
  exchange: {endpoint: {backendRef: {name: sts, namespace: identity, port: 8080}, path: %s}, clientAuthentication: {%s}, %s}
---
apiVersion: v1
kind: Secret
metadata: {name: sts, namespace: tools}
stringData: {secret: %q, wrong: "not the secret", key: %q}
---
`

// zitadelIssuers has the provider's keys through the mesh, and one more issuer, of which the provider knows nothing.
const zitadelIssuers = `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthentication
metadata: {name: issuers, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: company-mcp}]
  mode: Strict
  issuers:
    - issuer: https://idp.example.com
      audiences: [agent]
      algorithms: [RS256]
      jwks: {remote: {endpoint: {backendRef: {name: sts, namespace: identity, port: 8080}, path: %s}}}
    - issuer: https://other.example.com
      audiences: [agent]
      algorithms: [ES256]
      jwks: {inline: '%s'}
`

// arrived is the token at the server, which is not the caller's, nor is any part of the caller's there.
func arrived(t *testing.T, header http.Header, name, prefix, sent string) string {
	t.Helper()
	for field, lines := range header {
		for _, line := range lines {
			for i, part := range strings.Split(sent, ".") {
				if i > 0 && strings.Contains(line, part) { // the first part of a JWS is the same in all that were signed with one key
					t.Errorf("part %d of the caller's token is in %s", i, field)
				}
			}
			if strings.Contains(line, sent) {
				t.Errorf("the caller's token is in %s", field)
			}
		}
	}
	lines := header[name]
	if len(lines) != 1 || !strings.HasPrefix(lines[0], prefix) || name != "Authorization" && header["Authorization"] != nil {
		t.Fatalf("the server got %q in %s and %q in Authorization", lines, name, header["Authorization"])
	}
	return strings.TrimPrefix(lines[0], prefix)
}

func zitadelOnTheHop(t *testing.T, file string) {
	z, other := newZitadel(t, file), newZitadel(t, file, "-provider")
	one, two, opaque := z.signIn(t, mayUser, "agent"), z.signIn(t, notUser, "agent"), z.signIn(t, mayUser, "agent-opaque")
	there := other.signIn(t, mayUser, "agent")
	machine := z.login(t, "sid1", "verysecret", url.Values{"grant_type": {"client_credentials"}})
	stranger := newIssuer(t, "https://other.example.com")
	unknown := stranger.token(t, map[string]any{"sub": "id1", "aud": "agent"})
	const (
		basic   = "type: ClientSecretBasic, clientID: waypoint-basic, secretRef: {name: sts, key: secret}"
		post    = "type: ClientSecretPost, clientID: waypoint-post, secretRef: {name: sts, key: secret}"
		key     = "type: PrivateKeyJWT, clientID: waypoint-key, keyID: waypoint-1, secretRef: {name: sts, key: key}, audience: 'https://idp.example.com'"
		access  = "audiences: [backend], actor: None, subjectTokenType: AccessToken"
		without = "audiences: [backend], actor: None, subjectTokenType: AccessToken, onFailure: ForwardWithoutToken"
	)
	tests := []struct {
		name     string
		at       *zitadel
		client   string
		more     string // of exchange
		token    string // of the caller
		open     bool   // the waypoint itself does not look at the caller's token
		header   string // where the new token is, if not after Bearer in Authorization
		audience string // "" if nothing arrives
		code     string
		reason   string
	}{
		{"Basic", z, basic, access, one.Access, false, "", "backend", "", ""},
		{"Basic, the other handlers", other, basic, access, there.Access, false, "", "backend", "", ""},
		{"Post", z, post, access, one.Access, false, "", "backend", "", ""},
		{"an assertion", z, key, access, one.Access, false, "", "backend", "", ""},
		{"an ID token in", z, basic, "audiences: [backend], actor: None, subjectTokenType: IDToken", one.ID, false, "", "backend", "", ""},
		{"opaque in", z, basic, access, opaque.Access, true, "", "backend", "", ""},
		{"opaque out", z, strings.Replace(basic, "-basic", "-opaque", 1), "audiences: [backend, tools], actor: None, subjectTokenType: AccessToken, scopes: [openid]", one.Access, false, "", "tools", "", ""},
		{"two audiences, scopes, one of them left out", z, basic, "audiences: [backend, tools], actor: None, subjectTokenType: AccessToken, scopes: [openid, address]", one.Access, false, "", "backend tools", "", ""},
		{"another header", z, basic, "audiences: [backend], actor: None, subjectTokenType: AccessToken, header: {name: x-token, prefix: ''}", one.Access, false, "X-Token", "backend", "", ""},
		{"a JWT in", z, basic, "audiences: [backend], actor: None", one.Access, false, "", "", "entitlement_denied", "no token for the destination: oauth: the server refuses: invalid_request (status 400)"},
		{"a JWT out", z, basic, "audiences: [backend], actor: None, subjectTokenType: AccessToken, requestedTokenType: JWT", one.Access, false, "", "", "entitlement_denied", "no token for the destination: oauth: the server refuses: invalid_request (status 400)"},
		{"our assertion of who calls", z, key, "audiences: [backend], subjectTokenType: AccessToken", one.Access, false, "", "", "entitlement_denied", "no token for the destination: oauth: the server refuses: invalid_request (status 400)"},
		{"a token that it did not give", z, basic, access, unknown, false, "", "", "entitlement_denied", "no token for the destination: oauth: the server refuses: invalid_request (status 400)"},
		{"junk", z, basic, access, "junk", true, "", "", "entitlement_denied", "no token for the destination: oauth: the server refuses: invalid_request (status 400)"},
		{"an assertion for the endpoint", z, strings.Replace(key, ", audience: 'https://idp.example.com'", "", 1), access, one.Access, false, "", "", "entitlement_denied", "no token for the destination: oauth: the server refuses: invalid_grant (status 400)"},
		{"a client that may not", z, strings.Replace(basic, "-basic", "-none", 1), access, one.Access, false, "", "", "upstream_unavailable", "no token for the destination: oauth: the server refuses: unauthorized_client (status 400)"},
		{"the wrong secret", z, strings.Replace(basic, "key: secret", "key: wrong", 1), access, one.Access, false, "", "", "upstream_unavailable", "no token for the destination: oauth: the server refuses: invalid_client (status 400)"},
		{"Post, the other handlers", other, post, access, there.Access, false, "", "", "upstream_unavailable", "no token for the destination: oauth: the server refuses: invalid_client (status 401)"},
		{"a user who may not", z, basic, access, two.Access, false, "", "", "upstream_unavailable", "no token for the destination: oauth: the server is not available: status 500"},
		{"a user who is none: it falls over", z, basic, access, machine.Access, true, "", "", "upstream_unavailable", "no token for the destination: oauth: the server is not available: fetch: EOF"},
		{"no token", z, basic, access, "", true, "", "", "unauthenticated", "there is no token to trade"},
		{"refused, and the policy lets it go on without a token", z, basic, without, unknown, false, "", "", "", "the exchange failed, and the call goes on without a token"},
		{"unavailable, and the policy lets it go on without a token", z, basic, without, two.Access, false, "", "", "", "the exchange failed, and the call goes on without a token"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			issuers := ""
			if !tt.open {
				issuers = fmt.Sprintf(zitadelIssuers, tt.at.keys, stranger.keys())
			}
			w, tools := tt.at.world(t, tt.client, tt.more, issuers)
			got := w.call(w.client("agent-coach", "10.96.2.1:3000"), "company-mcp:3000", "plan_training", tt.token)
			header, hits := tools.seen()
			if got.code != tt.code || got.reason != tt.reason {
				t.Fatalf("got %q (%s), want %q (%s)", got.code, got.reason, tt.code, tt.reason)
			}
			if tt.code != "" {
				if hits != 0 {
					t.Error("a refused call reached the server")
				}
				return
			}
			if tt.audience == "" {
				if hits != 1 || header["Authorization"] != nil {
					t.Errorf("%d calls came, with %q", hits, header["Authorization"])
				}
				return
			}
			name, prefix := "Authorization", "Bearer "
			if tt.header != "" {
				name, prefix = tt.header, ""
			}
			token := arrived(t, header, name, prefix, tt.token)
			s, opaque := tt.at.verify(t, token)
			if opaque {
				tt.at.ask(t, tt.at.asked, "tools", zitadelSecret, url.Values{"token": {token}}, &s)
				if !s.Active {
					t.Error("the provider does not vouch for its token to whom it is for")
				}
				s.Audience = []string{"tools"} // it vouches for it to nobody else
			}
			if s.Subject != "id1" || strings.Join(s.Audience, " ") != tt.audience || !strings.HasPrefix(s.Client, "waypoint-") {
				t.Errorf("the token says %+v, want one of id1 for %s", s, tt.audience)
			}
			for _, r := range w.waypoint.Audit().Records(0) {
				if strings.Contains(r.Line, token) || strings.Contains(r.Line, tt.token) {
					t.Error("a token is in the record")
				}
			}
		})
	}
}

// A token that was traded goes on while the provider is gone, until shortly before it ends, and only for whom it was traded.
func zitadelAway(t *testing.T, file string) {
	const more = "audiences: [backend], actor: None, subjectTokenType: AccessToken"
	client := func(id string) string {
		return "type: ClientSecretBasic, clientID: " + id + ", secretRef: {name: sts, key: secret}"
	}
	z := newZitadel(t, file)
	one, again := z.signIn(t, mayUser, "agent"), z.signIn(t, mayUser, "agent")
	issuers := fmt.Sprintf(zitadelIssuers, z.keys, newIssuer(t, "https://other.example.com").keys())

	type place struct {
		w             *world
		tools         *backend
		coach, butler *http.Client
	}
	at := func(id, more string) *place {
		w, tools := z.world(t, client(id), more, issuers)
		return &place{w, tools, w.client("agent-coach", "10.96.2.1:3000"), w.client("agent-butler", "10.96.2.1:3000")}
	}
	call := func(p *place, c *http.Client, token string) (arrives, code string) {
		t.Helper()
		_, before := p.tools.seen()
		got := p.w.call(c, "company-mcp:3000", "plan_training", token)
		header, after := p.tools.seen()
		if got.code != "" {
			if after != before {
				t.Error("a refused call reached the server")
			}
			return "", got.code
		}
		return arrived(t, header, "Authorization", "Bearer ", token), ""
	}
	long, brief, once, open := at("waypoint-basic", more), at("waypoint-brief", more), at("waypoint-once", more), at("waypoint-basic", more+", onFailure: ForwardWithoutToken")

	kept, code := call(long, long.coach, one.Access)
	if code != "" {
		t.Fatal(code)
	}
	if same, code := call(long, long.coach, one.Access); code != "" || same != kept {
		t.Errorf("the same caller, the same token: %q, the same token %t", code, same == kept)
	}
	if its, code := call(long, long.butler, one.Access); code != "" || its == kept {
		t.Errorf("another caller: %q, the same token %t", code, its == kept)
	}
	first, code1 := call(once, once.coach, one.Access)
	second, code2 := call(once, once.coach, one.Access)
	if code1 != "" || code2 != "" || first == second {
		t.Errorf("tokens that end too soon to be used again: %q, %q, the same token %t", code1, code2, first == second)
	}
	if _, code := call(open, open.coach, one.Access); code != "" {
		t.Error(code)
	}
	short, code := call(brief, brief.coach, one.Access)
	if code != "" {
		t.Fatal(code)
	}

	z.process.Stop()
	tests := []struct {
		name    string
		p       *place
		c       *http.Client
		token   string
		arrives string
		code    string
	}{
		{"the same caller", long, long.coach, one.Access, kept, ""},
		{"a new token", long, long.coach, again.Access, "", "upstream_unavailable"},
		{"a caller that never called", long, long.w.client("thief", "10.96.2.1:3000"), one.Access, "", "upstream_unavailable"},
		{"the same caller again", long, long.coach, one.Access, kept, ""},
		{"a token that ends too soon", once, once.coach, one.Access, "", "upstream_unavailable"},
	}
	for _, tt := range tests {
		if token, code := call(tt.p, tt.c, tt.token); code != tt.code || token != tt.arrives {
			t.Errorf("%s: got %q, the expected token %t, want %q", tt.name, code, token == tt.arrives, tt.code)
		}
	}
	if got := open.w.call(open.coach, "company-mcp:3000", "plan_training", again.Access); got.code != "" {
		t.Errorf("the policy lets it go on without a token: %+v", got)
	}
	if header, hits := open.tools.seen(); hits != 2 || header["Authorization"] != nil {
		t.Errorf("%d calls came, the last one with %q", hits, header["Authorization"])
	}

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ticks := time.NewTicker(100 * time.Millisecond)
	defer ticks.Stop()
	for goneOn := 0; ; goneOn++ {
		token, code := call(brief, brief.coach, one.Access)
		if code == "upstream_unavailable" {
			s, _ := z.verify(t, short)
			t.Logf("%d calls went on with the token of 14 s, which ends %v after the first that did not", goneOn, time.Until(time.Unix(s.Expires, 0)).Round(time.Second))
			break
		}
		if code != "" || token != short {
			t.Fatalf("got %q, the same token %t", code, token == short)
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			t.Fatal("a token of 14 s goes on for a minute")
		}
	}
	if _, code := call(brief, brief.coach, one.Access); code != "upstream_unavailable" {
		t.Errorf("after that: %q", code)
	}
}
