package identity_test

import (
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"waymark.dev/waypoint/e2e/peers"
)

// What an operator writes in Rego: the call is in the context extensions.
const regoPolicy = `package waymark

called := input.attributes.contextExtensions
chain := json.unmarshal(called["waymark.chain"])
arguments := json.unmarshal(called["waymark.arguments"])

default decision := false

decision := {"allowed": true, "headers": {"x-decided-by": "opa"}, "request_headers_to_remove": ["x-debug"]} if {
	called["waymark.target"] == "list_issues"
	arguments.amount <= 100
	chain[count(chain) - 1] == "agent-butler"
	called["waymark.chain_verified"] == "true"
}

decision if {
	called["waymark.method"] == "tools/call"
	called["waymark.target"] == "get_me"
	called["waymark.user"] == "alice"
}

decision if startswith(called["waymark.principal"], "spiffe://cluster.local/ns/agents/sa/trusted")

decision := "perhaps" if called["waymark.target"] == "odd"

decision := {"allowed": true, "headers": {"authorization": "Bearer another"}} if called["waymark.target"] == "escalate"

decision if called["waymark.intent"] != "use"
`

// Open Policy Agent decides, once about every call of a service and once about those that rules match.
func TestOPA(t *testing.T) {
	program := peers.Module(t, "opa")
	file := filepath.Join(t.TempDir(), "policy.rego")
	if err := os.WriteFile(file, []byte(regoPolicy), 0o600); err != nil {
		t.Fatal(err)
	}
	type want struct {
		name, tool, arguments string
		claims                map[string]any
		account               string
		code                  string
	}
	butler := map[string]any{"scope": "github-readonly", "act": map[string]string{"sub": "agent-butler"}}
	rules := []want{
		{"by argument and chain", "list_issues", `{"amount": 100}`, butler, "agent", ""},
		{"too much", "list_issues", `{"amount": 101}`, butler, "agent", "entitlement_denied"},
		{"no amount", "list_issues", `{}`, butler, "agent", "entitlement_denied"},
		{"another actor", "list_issues", `{"amount": 1}`, map[string]any{"scope": "github-readonly", "act": map[string]string{"sub": "agent-coach"}}, "agent", "entitlement_denied"},
		{"no actor", "list_issues", `{"amount": 1}`, map[string]any{"scope": "github-readonly"}, "agent", "entitlement_denied"},
		{"by user", "get_me", `{}`, nil, "agent", ""},
		{"another user", "get_me", `{}`, map[string]any{"sub": "bob"}, "agent", "entitlement_denied"},
		{"by principal", "list_issues", `{}`, butler, "trusted", ""},
		{"what OPA allows is judged by the rules", "drop", `{}`, butler, "trusted", "entitlement_denied"},
		{"neither yes nor no", "odd", `{}`, butler, "agent", "policy_error"},
		{"a header that nobody may set", "escalate", `{}`, butler, "agent", "policy_error"},
	}
	const asked = `    backendRef: {name: authorizer, namespace: identity, port: 9000}
    timeout: 10s
    arguments: %
`
	always := `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthentication
metadata: {name: opa, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: github-mcp}]
  externalAuthorization:
` + asked
	custom := `apiVersion: waymark.dev/v1alpha1
kind: AgentAuthorizationPolicy
metadata: {name: opa, namespace: tools}
spec:
  targetRefs: [{kind: Service, name: github-mcp}]
  action: CUSTOM
  externalAuthorization:
` + asked + `  rules:
    - to: [{operation: {notTools: [get_issue]}}]
`
	for _, form := range []struct {
		name, policy, arguments string
		rows                    []want
		unmatched               string // what becomes of get_issue, which the rules of CUSTOM leave out
	}{
		{"always", always, "Full", rules, "entitlement_denied"},
		{"CUSTOM", custom, "Full", rules, ""},
		{"without arguments", custom, "None", []want{{"nobody tells it of the amount", "list_issues", `{"amount": 1}`, butler, "agent", "entitlement_denied"}}, ""},
	} {
		t.Run(form.name, func(t *testing.T) {
			p := peers.Start(t, exec.CommandContext(t.Context(), program, "-policy", file))
			at := netip.MustParseAddrPort(p.Await(t, `serves at (\S+);`, 30*time.Second))
			w, tools, idp := authorizedWorld(t, strings.Replace(form.policy, "%", form.arguments, 1), at)
			clients := map[string]*http.Client{"agent": w.client("agent", "10.96.1.1:3000"), "trusted": w.client("trusted", "10.96.1.1:3000")}
			for _, tt := range append(form.rows, want{"a call that the rules of CUSTOM leave out", "get_issue", `{}`, butler, "agent", form.unmatched}) {
				hits := tools.count()
				got := w.callWith(clients[tt.account], "github-mcp:3000", tt.tool, tt.arguments, idp.token(t, tt.claims), "X-Debug", "1", "X-Decided-By", "mallory")
				if got.code != tt.code || (tools.count() > hits) != (tt.code == "") {
					t.Errorf("%s: got %q (%s), %d calls reached the server, want %q", tt.name, got.code, got.reason, tools.count()-hits, tt.code)
				}
				if h, _ := tools.seen(); got.code == "" && tt.tool == "list_issues" && tt.account == "agent" && (h.Get("X-Debug") != "" || strings.Join(h["X-Decided-By"], " ") != "opa") {
					t.Errorf("%s: the server sees %q and %q", tt.name, h["X-Debug"], h["X-Decided-By"])
				}
			}
			p.Stop()
			if got := w.call(clients["agent"], "github-mcp:3000", "get_me", idp.token(t, nil)); got.code != "policy_error" {
				t.Errorf("killed: got %q (%s)", got.code, got.reason)
			}
		})
	}
}
