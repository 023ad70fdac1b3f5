package kube_test

import (
	"crypto/tls"
	"encoding/json/v2"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/e2e/peers"
	"waymark.dev/waypoint/e2e/testbed"
	"waymark.dev/waypoint/internal/testmesh"
	"waymark.dev/waypoint/pkg/identity"
	"waymark.dev/waypoint/pkg/identity/jwks/jwkstest"
)

// tokenService runs `waypoint sts` without a directory: its grants, its issuers and their keys are objects of the cluster, and it may
// read no more than those of its namespace.
func tokenService(t *testing.T, k *testbed.Kubernetes) {
	dir := t.TempDir()
	program := filepath.Join(dir, "waypoint")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/waypoint")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	mesh := testmesh.New(identity.RequireTrustDomain("cluster.local"))
	defer mesh.Close()
	if err := mesh.WriteCertificates(dir, mesh.ID("sts", "token-service")); err != nil {
		t.Fatal(err)
	}
	idp := jwkstest.NewKey()
	k.ApplyText(t, testbed.Namespace("sts", nil), testbed.Namespace("mallory", nil), testbed.ServiceAccount("sts", "token-service"))
	for _, text := range []string{
		`{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: token-service, namespace: sts}, rules: [
			{apiGroups: [waymark.dev], resources: [agentauthentications, tokenexchanges], verbs: [get, list, watch]},
			{apiGroups: [""], resources: [configmaps], resourceNames: [keys], verbs: [get, list, watch]}]}`,
		`{apiVersion: v1, kind: ConfigMap, metadata: {name: keys, namespace: sts}, data: {jwks: '` + string(idp.Set()) + `'}}`,
		grants("sts", "story", "agents/sa/butler", "agent-coach"),
		grants("mallory", "self-service", "mallory/sa/mallory", "agent-coach"), // nobody who may write elsewhere gives tokens out
		`{apiVersion: waymark.dev/v1alpha1, kind: TokenExchange, metadata: {name: hop, namespace: sts}, spec: {exchange: {
			endpoint: {url: "https://sts.example.com/token"}, audiences: [x], clientAuthentication: {type: MutualTLS}}}}`,
	} {
		apply(t, k, strings.ReplaceAll(text, "\t", " "))
	}
	k.Kubectl(t, "-n", "sts", "create", "rolebinding", "token-service", "--role=token-service", "--serviceaccount=sts:token-service")
	p := peers.Start(t, exec.CommandContext(t.Context(), program, "sts", "--kubeconfig", k.KubeconfigOf(t, "sts", "token-service"), "--certs", dir,
		"--issuer", "https://sts.example.com", "--subjects", "sts/users", "--listen", "127.0.0.1:0", "--audit", filepath.Join(dir, "audit"), "--service-accounts"))
	p.Await(t, `(there is no AgentAuthentication sts/users)`, 30*time.Second)
	users := func(keys string) string {
		return `{apiVersion: waymark.dev/v1alpha1, kind: AgentAuthentication, metadata: {name: users, namespace: sts}, spec: {issuers: [
  {issuer: "https://idp.example.com", audiences: ["spiffe://cluster.local/ns/agents/sa/butler"], algorithms: [ES256], jwks: {configMapRef: {name: ` + keys + `, key: jwks}}}]}}`
	}
	apply(t, k, users("keys"))
	base := "https://" + p.Await(t, `msg=serving .*address=(\S+)`, 30*time.Second)
	butler, mallory := caller(t, mesh, "agents", "butler"), caller(t, mesh, "mallory", "mallory")
	token := func() string { return alices(idp, "spiffe://cluster.local/ns/agents/sa/butler") }

	want := func(what string, c *http.Client, audience, code string) {
		t.Helper()
		var got string
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) { // what was changed is known in a moment
			if got = trade(t, c, base, token(), audience); got == code {
				return
			}
		}
		t.Errorf("%s: got %q, want %q", what, got, code)
	}
	want("what a grant permits", butler, "agent-coach", "")
	want("what no grant permits", butler, "agent-driver", "invalid_target")
	want("a grant of another namespace", mallory, "agent-coach", "unauthorized_client")
	apply(t, k, grants("sts", "story", "agents/sa/butler", "agent-driver"))
	want("a grant that was changed", butler, "agent-driver", "")
	want("and what it does not permit any more", butler, "agent-coach", "invalid_target")

	next := jwkstest.NewKey()
	apply(t, k, `{apiVersion: v1, kind: ConfigMap, metadata: {name: keys, namespace: sts}, data: {jwks: '`+string(next.Set())+`'}}`)
	want("the keys are others now", butler, "agent-driver", "invalid_grant")
	idp = next
	want("and their tokens are taken", butler, "agent-driver", "")

	reviewed := tokenReview(t, k, base, token, func() string {
		b, err := os.ReadFile(filepath.Join(dir, "audit"))
		if err != nil {
			t.Error(err)
		}
		return string(b)
	})

	k.Kubectl(t, "-n", "sts", "delete", "agentauthentication", "users")
	want("nobody says whose tokens are taken", butler, "agent-driver", "temporarily_unavailable")
	apply(t, k, users("nowhere"))
	want("keys that the service may not read", butler, "agent-driver", "temporarily_unavailable")
	apply(t, k, users("keys"))
	want("whose tokens are taken is said again", butler, "agent-driver", "")

	k.Server.Kill()
	want("the API server is away", butler, "agent-driver", "")
	want("and tokens cannot be reviewed", reviewed, "agent-driver", "temporarily_unavailable")
	k.Server.Start(t)
	k.Ready(t)
	k.Kubectl(t, "-n", "sts", "delete", "tokenexchange", "story")
	want("a grant that is gone", butler, "agent-driver", "unauthorized_client")
}

// tokenReview: a client that shows a token of its service account is who the API server says it is.
func tokenReview(t *testing.T, k *testbed.Kubernetes, base string, subject, audit func() string) *http.Client {
	const issuer = "https://sts.example.com"
	k.ApplyText(t, testbed.Namespace("agents", nil), testbed.ServiceAccount("agents", "butler"), testbed.ServiceAccount("agents", "stranger"), testbed.ServiceAccount("agents", "leaver"))
	good := k.Token(t, "agents", "butler", issuer)
	ask := func(assertion string, more ...string) (string, int) {
		t.Helper()
		form := url.Values{"client_assertion": {assertion}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}
		for i := 0; i < len(more); i += 2 {
			form.Set(more[i], more[i+1])
		}
		transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}} // loopback, and no certificate of its own
		defer transport.CloseIdleConnections()
		return tradeBy(t, &http.Client{Transport: transport, Timeout: 15 * time.Second}, base, subject(), "agent-driver", form)
	}
	if code, status := ask(good); code != "temporarily_unavailable" || status != http.StatusServiceUnavailable {
		t.Errorf("the service may not review tokens: got %q, %d", code, status)
	}
	if record := audit(); !strings.Contains(record, "create on tokenreviews.authentication.k8s.io: Forbidden") || strings.Contains(record, good) {
		t.Errorf("the record: %s", record)
	}
	k.Kubectl(t, "create", "clusterrole", "token-reviewer", "--verb=create", "--resource=tokenreviews.authentication.k8s.io")
	k.Kubectl(t, "create", "clusterrolebinding", "token-reviewer", "--clusterrole=token-reviewer", "--serviceaccount=sts:token-service")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if code, _ := ask(good); code == "" {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("a good token: got %q", code)
		}
	}
	gone := k.Token(t, "agents", "leaver", issuer)
	k.Kubectl(t, "-n", "agents", "delete", "serviceaccount", "leaver")
	for _, tt := range []struct {
		name, assertion, code string
		more                  []string
	}{
		{"for the API server", k.Token(t, "agents", "butler"), "invalid_client", nil},
		{"for somebody else", k.Token(t, "agents", "butler", "https://other.example.com"), "invalid_client", nil},
		{"for two, one of them us", k.Token(t, "agents", "butler", "https://other.example.com", issuer), "", nil},
		{"of an account that no grant names", k.Token(t, "agents", "stranger", issuer), "unauthorized_client", nil},
		{"of an account that is gone", gone, "invalid_client", nil},
		{"changed", good[:len(good)-8] + "AAAAAAAA", "invalid_client", nil},
		{"no token", "x", "invalid_client", nil},
		{"as a secret", "", "invalid_client", []string{"client_id", "butler", "client_secret", good}},
		{"beside a secret", good, "invalid_request", []string{"client_secret", "x"}},
		{"of another type", good, "invalid_client", []string{"client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"}},
	} {
		if code, _ := ask(tt.assertion, tt.more...); code != tt.code {
			t.Errorf("%s: got %q, want %q", tt.name, code, tt.code)
		}
	}
	if !strings.Contains(audit(), `"method":"service_account"`) || !strings.Contains(audit(), `"client":"spiffe://cluster.local/ns/agents/sa/butler"`) {
		t.Errorf("the records do not say who it was: %s", audit())
	}
	return asserting(t, good)
}

// asserting is a client that shows a service account's token with each form.
func asserting(t *testing.T, token string) *http.Client {
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}} // loopback, and no certificate of its own
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Timeout: 15 * time.Second, Transport: with(func(r *http.Request) (*http.Response, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		next := r.Clone(r.Context())
		text := string(body) + "&client_assertion_type=" + url.QueryEscape("urn:ietf:params:oauth:client-assertion-type:jwt-bearer") + "&client_assertion=" + token
		next.Body, next.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		return transport.RoundTrip(next)
	})}
}

type with func(*http.Request) (*http.Response, error)

func (w with) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

func grants(namespace, name, client, audience string) string {
	return fmt.Sprintf(`{apiVersion: waymark.dev/v1alpha1, kind: TokenExchange, metadata: {name: %s, namespace: %s}, spec: {grants: [
		{name: story, clients: [cluster.local/ns/%s], audiences: [%s], scopes: [training]}]}}`, name, namespace, client, audience)
}

// alices is a token of hers, for an agent to act with.
func alices(k *jwkstest.Key, agent string) string {
	return k.Sign(map[string]any{
		"iss": "https://idp.example.com", "sub": "alice", "aud": agent, "scope": "training", "iat": time.Now().Unix(),
		"exp": time.Now().Add(time.Hour).Unix(), "may_act": map[string]string{"sub": agent},
	})
}

func caller(t *testing.T, mesh *testmesh.Mesh, namespace, account string) *http.Client {
	t.Helper()
	m, err := mesh.Certificates(mesh.ID(namespace, account)).Current()
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{m.Certificate}, InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}} // loopback, and the name is no DNS name
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}
}

// trade returns the error of the answer, or "" for a token.
func trade(t *testing.T, c *http.Client, base, subject, audience string) string {
	t.Helper()
	code, _ := tradeBy(t, c, base, subject, audience, url.Values{})
	return code
}

func tradeBy(t *testing.T, c *http.Client, base, subject, audience string, form url.Values) (code string, status int) {
	t.Helper()
	maps.Copy(form, url.Values{
		"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {subject},
		"subject_token_type": {"urn:ietf:params:oauth:token-type:jwt"}, "audience": {audience},
	})
	resp, err := c.PostForm(base+"/token", form)
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
	if (a.Token == "") == (a.Error == "") {
		t.Fatalf("the answer has neither or both: %+v", a)
	}
	return a.Error, resp.StatusCode
}
