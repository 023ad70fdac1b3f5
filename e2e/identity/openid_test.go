package identity_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json/v2"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/e2e/peers"
)

// provider is an OpenID provider that nobody here wrote: npm's oidc-provider.
type provider struct {
	process *peers.Process
	base    *url.URL
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	n, dir := modules(t)
	p := &provider{process: peers.Start(t, n.Script(t.Context(), filepath.Join(dir, "provider.mjs")))}
	p.base = &url.URL{Scheme: "http", Host: p.process.Await(t, `serves at (\S+);`, 30*time.Second)}
	return p
}

// granted is what a user's agent gets.
type granted struct {
	Access string `json:"access_token"`
	ID     string `json:"id_token"`
	Error  string `json:"error"`
}

var (
	// callback is where the provider sends a browser at the end: nobody is there.
	callback = "https://agent.example.com/callback"
	errThere = errors.New("the browser is where it was sent")
	form     = regexp.MustCompile(`action="([^"]+/interaction/[^"]+|/interaction/[^"]+)"`)
	prompt   = regexp.MustCompile(`name="prompt" value="([a-z]+)"`)
)

// signIn does what a user does in a browser: signs in, consents, and hands the code to the agent, which gets tokens for it.
func (p *provider) signIn(t *testing.T, user, scope, resource string) granted {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	var code string
	browser := &http.Client{Jar: jar, Transport: transport, Timeout: 10 * time.Second, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), callback) {
			if code = r.URL.Query().Get("code"); code == "" {
				t.Errorf("the provider says %s", r.URL.Query())
			}
			return errThere
		}
		return nil
	}}
	verifier := strings.Repeat("verifier", 8)
	challenge := sha256.Sum256([]byte(verifier))
	page, at := read(t, browser, p.base.JoinPath("auth").String()+"?"+url.Values{
		"client_id": {"agent"}, "response_type": {"code"}, "redirect_uri": {callback}, "scope": {strings.TrimSpace("openid " + scope)}, "resource": {resource},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}.Encode(), nil)
	for range 3 {
		if code != "" {
			break
		}
		to, asks := form.FindStringSubmatch(page), prompt.FindStringSubmatch(page)
		if to == nil || asks == nil {
			t.Fatalf("the provider shows no form: %s", page)
		}
		next, err := at.Parse(to[1])
		if err != nil {
			t.Fatal(err)
		}
		page, at = read(t, browser, next.String(), url.Values{"prompt": {asks[1]}, "login": {user}, "password": {"any"}})
	}
	out := granted{}
	p.ask(t, "token", url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {callback}, "code_verifier": {verifier}, "resource": {resource},
	}, &out)
	if out.Error != "" || out.Access == "" || out.ID == "" {
		t.Fatalf("the provider gave no tokens: %s", out.Error)
	}
	return out
}

// read opens a page, or posts a form, and returns what is shown, and where.
func read(t *testing.T, browser *http.Client, at string, fields url.Values) (page string, where *url.URL) {
	t.Helper()
	var resp *http.Response
	var err error
	if fields == nil {
		resp, err = browser.Get(at)
	} else {
		resp, err = browser.PostForm(at, fields)
	}
	if errors.Is(err, errThere) {
		return "", nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), resp.Request.URL
}

// ask is a request of the agent itself, which authenticates by its secret.
func (p *provider) ask(t *testing.T, path string, fields url.Values, into any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.base.JoinPath(path).String(), strings.NewReader(fields.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("agent", url.QueryEscape("not a secret of the agent"))
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if into == nil {
		return
	}
	if err := json.UnmarshalRead(resp.Body, into); err != nil {
		t.Fatal(err)
	}
}

// operators runs examples/operators with the provider as the company's issuer, behind the Service that has its keys.
func (p *provider) operators(t *testing.T, more string, change ...string) (*world, *http.Client) {
	t.Helper()
	w := newWorld(t)
	for _, name := range []string{"github-mcp", "advisors-mcp", "company-mcp"} {
		w.place("tools", name, &backend{})
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	w.place("identity", "keys", &httputil.ReverseProxy{
		Transport: transport,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(p.base) },
		ErrorHandler: func(rw http.ResponseWriter, _ *http.Request, _ error) {
			rw.WriteHeader(http.StatusBadGateway)
		},
	})
	w.startWith("operators", more, change...)
	return w, w.client("agent", "10.96.1.1:3000")
}

const (
	jwtRS256 = "https://tools.example.com/rs256"
	jwtES256 = "https://tools.example.com/es256"
	opaque   = "https://tools.example.com/opaque"
)

// Tokens that a real OpenID provider gives to users who sign in satisfy the operators' rules, and those that it gives for
// something else do not.
func TestOpenIDProvider(t *testing.T) {
	p := newProvider(t)
	w, c := p.operators(t, "")
	advisors := w.client("agent", "10.96.1.2:3000")
	alice, again := p.signIn(t, "alice", "", jwtRS256), p.signIn(t, "alice", "", jwtES256)
	bob, ann := p.signIn(t, "bob", "github-readonly", jwtES256), p.signIn(t, "ann", "bank-agents", jwtRS256)
	parts := strings.Split(alice.Access, ".")
	tests := []struct {
		name        string
		client      *http.Client
		tool, token string
		code        string
	}{
		{"alice asks who she is", c, "get_me", alice.Access, ""},
		{"by another algorithm", c, "get_me", again.Access, ""},
		{"alice has no scope", c, "get_issue", alice.Access, "entitlement_denied"},
		{"bob is not alice", c, "get_me", bob.Access, "entitlement_denied"},
		{"bob reads", c, "get_issue", bob.Access, ""},
		{"ann is an advisor", advisors, "analyze_portfolio", ann.Access, ""},
		{"bob is none", advisors, "analyze_portfolio", bob.Access, "entitlement_denied"},
		{"an ID token is for the agent", c, "get_me", alice.ID, "token_invalid"},
		{"for another audience", c, "get_me", p.signIn(t, "alice", "", "https://other.example.com/rs256").Access, "token_invalid"},
		{"bob's claims under alice's signature", c, "get_issue", parts[0] + "." + strings.Split(bob.Access, ".")[1] + "." + parts[2], "token_invalid"},
	}
	for _, tt := range tests {
		if got := w.call(tt.client, "tools:3000", tt.tool, tt.token); got.code != tt.code {
			t.Errorf("%s: got %q (%s), want %q", tt.name, got.code, got.reason, tt.code)
		}
	}
	p.process.Stop()
	if got := w.call(c, "tools:3000", "get_me", alice.Access); got.code != "" {
		t.Errorf("the provider is gone, and its keys are known: %+v", got)
	}
}

// The provider is asked about opaque tokens (RFC 7662): also whether they were revoked.
func TestIntrospectionAtOpenIDProvider(t *testing.T) {
	p := newProvider(t)
	w, c := p.operators(t, introspectionSecret, "policies.yaml", "  mode: Strict\n", "  mode: Strict\n"+introspection)
	alice, bob := p.signIn(t, "alice", "", opaque), p.signIn(t, "bob", "github-readonly", opaque)
	if strings.Contains(alice.Access, ".") {
		t.Fatal("the token is not opaque")
	}
	signed := p.signIn(t, "alice", "", jwtES256)
	tests := []struct{ name, tool, token, code string }{
		{"alice asks who she is", "get_me", alice.Access, ""},
		{"bob is not alice", "get_me", bob.Access, "entitlement_denied"},
		{"bob reads", "get_issue", bob.Access, ""},
		{"a JWT is verified by keys", "get_me", signed.Access, ""},
		{"for another audience", "get_me", p.signIn(t, "alice", "", "https://other.example.com/opaque").Access, "token_invalid"},
		{"a token that nobody gave", "get_me", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "token_invalid"},
	}
	for _, tt := range tests {
		if got := w.call(c, "tools:3000", tt.tool, tt.token); got.code != tt.code {
			t.Errorf("%s: got %q (%s), want %q", tt.name, got.code, got.reason, tt.code)
		}
	}
	p.ask(t, "token/revocation", url.Values{"token": {alice.Access}}, nil)
	if got := w.call(c, "tools:3000", "get_me", alice.Access); got.code != "token_invalid" {
		t.Errorf("a revoked token: %+v", got)
	}
	p.process.Stop()
	if got := w.call(c, "tools:3000", "get_issue", bob.Access); got.code != "upstream_unavailable" {
		t.Errorf("nobody is there to ask: %+v", got)
	}
}

// The secret has characters that RFC 6749 section 2.3.1 wants encoded.
const introspection = `  introspection:
    endpoint:
      backendRef: {name: keys, namespace: identity, port: 8080}
      path: /token/introspection
    clientAuthentication:
      type: ClientSecretBasic
      clientID: waypoint
      secretRef: {name: introspection, key: secret}
    cacheFor: 0s
`

const introspectionSecret = `apiVersion: v1
kind: Secret
metadata: {name: introspection, namespace: tools}
stringData: {secret: "not a secret / of: the waypoint"}
`
