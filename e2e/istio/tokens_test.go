package istio_test

import (
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"waymark.dev/waypoint/pkg/identity/jwks/jwkstest"
)

// Who is asking, and for whom, in a cluster: keys from a ConfigMap that a Role names, a chain that is bound to the certificate that
// istiod's CA gave the caller, and rules about both.
func tokens(t *testing.T, w *world) {
	p := w.newPlace(t, "tokens", "service")
	vip := p.service(t, nil)
	b := p.startBackend(t, "mcp-0", false)
	way := p.startWaypoint(t, "agents-0")
	p.serve(t, "mcp", way)
	authority := fmt.Sprintf("%s:%d", vip, mcpPort)
	teller, intern := p.caller(t, "teller", way), p.caller(t, "intern", way)
	w.await(t, "attached", func() error { _, err := teller.tryMCP(t, authority); return err })

	key := jwkstest.NewKey()
	w.k.ApplyText(t, keysOf(p.ns, key), `{apiVersion: waymark.dev/v1alpha1, kind: AgentAuthentication, metadata: {name: users, namespace: tokens}, spec: {
  targetRefs: [{kind: Service, name: mcp}],
  issuers: [{issuer: "https://idp.example.com", audiences: [mcp], algorithms: [ES256], jwks: {configMapRef: {name: keys, key: jwks}}}],
  chain: {actors: [{anyOf: ["spiffe://cluster.local/ns/tokens/sa/teller"]}]}}}`,
		`{apiVersion: waymark.dev/v1alpha1, kind: AgentAuthorizationPolicy, metadata: {name: readers, namespace: tokens}, spec: {
  targetRefs: [{kind: Service, name: mcp}],
  rules: [{from: [{source: {actors: ["*/sa/teller"], requestPrincipals: ["https://idp.example.com/alice"]}}], when: [{cel: 'jwt.scope.contains("read")'}]}]}}`)
	var token atomic.Value
	token.Store(alices(key, "teller", "read"))
	connect := func(c *caller) (*mcp.ClientSession, error) {
		client := c.http(t, authority)
		client.Transport = bearer{client.Transport, &token}
		s, err := mcp.NewClient(&mcp.Implementation{Name: "e2e", Version: "1"}, nil).Connect(t.Context(),
			&mcp.StreamableClientTransport{Endpoint: "http://" + authority + "/mcp", HTTPClient: client, DisableStandaloneSSE: true}, nil)
		if err == nil {
			t.Cleanup(func() { s.Close() })
		}
		return s, err
	}
	refusedWith := func(c *caller, what, code, why string) {
		t.Helper()
		w.await(t, what, func() error {
			if s, err := connect(c); err == nil && call(t, s, "read_account") == "ok" {
				return fmt.Errorf("the call passes")
			}
			records, err := os.ReadFile(way.audit)
			if err != nil {
				return err
			}
			lines := strings.Split(strings.TrimSpace(string(records)), "\n")
			if last := lines[len(lines)-1]; !strings.Contains(last, `"`+code+`"`) || !strings.Contains(last, why) {
				return fmt.Errorf("want %s %q in %s", code, why, last)
			}
			return nil
		})
	}

	refusedWith(teller, "the ConfigMap is not for us", "policy_error", "list and watch on configmaps are needed")
	w.k.ApplyText(t, `{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {name: agents-references, namespace: tokens}, rules: [
  {apiGroups: [""], resources: [configmaps], resourceNames: [keys], verbs: [get, list, watch]}]}`)
	w.k.Kubectl(t, "-n", p.ns, "create", "rolebinding", "agents-references", "--role=agents-references", "--serviceaccount="+p.ns+":agents")
	var s *mcp.ClientSession
	w.await(t, "a good token", func() (err error) {
		if s, err = connect(teller); err == nil {
			if got := call(t, s, "read_account"); got != "ok" {
				err = fmt.Errorf("got %q", got)
			}
		}
		return err
	})
	refusedWith(intern, "the token of another workload", "chain_unbound", "is not the caller")
	good := token.Load()
	token.Store(alices(key, "teller", "reader"))
	refusedWith(teller, "another scope", "entitlement_denied", "no ALLOW rule matched")
	token.Store(alices(jwkstest.NewKey(), "teller", "read"))
	refusedWith(teller, "the key of somebody else", "token_invalid", "signature")

	ran := b.bank.Runs("read_account")
	token.Store(good)
	if got := call(t, s, "read_account"); got != "ok" || b.bank.Runs("read_account") != ran+1 {
		t.Errorf("the good token again: %q, ran %d times", got, b.bank.Runs("read_account")-ran)
	}
	next := jwkstest.NewKey()
	w.k.ApplyText(t, keysOf(p.ns, next))
	refusedWith(teller, "the key was replaced", "token_invalid", "signature")
	token.Store(alices(next, "teller", "read"))
	w.await(t, "the new key", func() error {
		if got := call(t, s, "read_account"); got != "ok" {
			return fmt.Errorf("got %q", got)
		}
		return nil
	})
	if records, err := os.ReadFile(way.audit); err != nil || strings.Contains(string(records), fmt.Sprint(token.Load())) {
		t.Errorf("the records: %v, or a token in them", err)
	}
}

// bearer sends a token with each request.
type bearer struct {
	http.RoundTripper
	token *atomic.Value
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", fmt.Sprint("Bearer ", b.token.Load()))
	return b.RoundTripper.RoundTrip(r)
}

func keysOf(ns string, k *jwkstest.Key) string {
	return fmt.Sprintf(`{apiVersion: v1, kind: ConfigMap, metadata: {name: keys, namespace: %s}, data: {jwks: '%s'}}`, ns, k.Set())
}

// alices is a token of hers, for one workload to act with.
func alices(k *jwkstest.Key, account, scope string) string {
	return k.Sign(map[string]any{
		"iss": "https://idp.example.com", "sub": "alice", "aud": "mcp", "scope": scope, "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
		"act": map[string]string{"sub": "spiffe://cluster.local/ns/tokens/sa/" + account},
	})
}
